"""`MultiHead`: several heads on one network, each verb a loop over them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from heads import checks
from heads.head import Head, Metrics
from heads.keys import MetricKeys, SignatureKeys, metric_key, output_key
from heads.loss_weights import UNCERTAINTY, FixedWeights, LossWeights, UncertaintyWeights
from heads.metrics import WeightedMean, metric_name
from heads.signatures import Predict, Signature

_RESERVED = (SignatureKeys.DEFAULT, SignatureKeys.PREDICT)


class HeadPredictions(Mapping[tuple[str, str], tf.Tensor]):
    """Predictions of several heads by (head name, key); those of a `MultiHead` within have the name `<outer>/<inner>`.

    Attributes:
        parts: the predictions of each head.
    """

    def __init__(self, parts: Mapping[str, Mapping[Any, tf.Tensor]]) -> None:
        self.parts = parts
        self._where = {qualified(name, key): (name, key) for name, part in parts.items() for key in part}

    def __getitem__(self, key: tuple[str, str]) -> tf.Tensor:
        name, own = self._where[key]
        return self.parts[name][own]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


def qualified(name: str, key: Any) -> tuple[str, str]:
    """(head, key) of a prediction that head `name` calls `key`."""
    return (output_key(name, key[0]), key[1]) if isinstance(key, tuple) else (name, key)


class MultiHead(Head):
    """Several heads for one network.

    The loss is the weighted sum of the heads' losses, the metrics are those of every head and its loss, and predictions have
    keys (head name, prediction key). A SavedModel serves the first head by default.

    `predictions` takes keys (head name, key), or a key alone for that of every head that has it. Labels are a dictionary by
    head name. Logits are one, too, or a tensor `[D0, …, DN, logits_dimension]`, which is divided along its last dimension in
    the order of the heads.

    >>> from heads import BinaryClassHead, RegressionHead
    >>> head = MultiHead([BinaryClassHead(name="sold"), RegressionHead(name="price")], head_weights=[1.0, 0.5])
    >>> labels = {"sold": tf.constant([1]), "price": tf.constant([5.0])}
    >>> round(float(head.loss(labels, tf.constant([[0.0, 2.0]]))), 4)  # 0.6931 + 0.5 · 3²
    5.1931

    Args:
        heads: the heads, in order, each with a name of its own; any iterable. A `MultiHead` among them is one head, and the
            heads in it are called `<its name>/<theirs>`.
        head_weights: a weight for each head's loss; 1 for all when left out. "uncertainty" learns them, see
            `heads.loss_weights.UncertaintyWeights`; the optimizer of `create_estimator_spec` trains them with the network, and
            `loss_weight_variables` gives them to a training loop of one's own.
        forward_features: names of features that are given out with the predictions of a spec, such as the id of a row.

    Raises:
        ValueError: there is no head, a name is missing, reserved (`predict`, `serving_default`) or there twice, the weights are
            not as many as the heads, or the heads' `loss_reduction` differ.
    """

    def __init__(
        self,
        heads: Iterable[Head],
        head_weights: Iterable[float] | str | None = None,
        *,
        forward_features: Sequence[str] = (),
    ) -> None:
        self._heads = tuple(heads) if heads is not None else ()
        if not self._heads:
            raise ValueError(f"Must specify heads. Given: {heads}")
        names = [head.name for head in self._heads]
        for head, name in zip(self._heads, names, strict=True):
            if not name:
                raise ValueError(f"All given heads must have name specified. Given: {head}")
            if name in _RESERVED:
                raise ValueError(f"A head must not be named {name!r}: a SavedModel's signature has that name. Rename the head.")
        if len(set(names)) < len(names):
            raise ValueError(f"The names of heads must differ from one another. Given: {names}")
        within = [f"{b!r} in {a!r}" for a in names for b in names if str(b).startswith(f"{a}/")]
        if within:
            raise ValueError(f"A head's name must not begin with another's and a slash: {within}. Signatures would collide.")
        reductions = {str(head.name): head.loss_reduction for head in self._heads}
        if len(set(reductions.values())) > 1:
            raise ValueError(f"The loss_reduction must be the same for different heads. Given: {reductions}")
        super().__init__(self._heads[0].loss_reduction, "_".join(map(str, names)), forward_features)
        self._loss_weights = self._weigh(head_weights)

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads, in order."""
        return self._heads

    @property
    def loss_weight_variables(self) -> list[tf.Variable]:
        """The log variances that `head_weights="uncertainty"` learns; none otherwise."""
        return self._own_variables()

    def _weigh(self, head_weights: Iterable[float] | str | None) -> LossWeights:
        if isinstance(head_weights, str):
            if head_weights != UNCERTAINTY:
                raise ValueError(f'head_weights must be numbers, None or "{UNCERTAINTY}". Given: {head_weights!r}')
            return UncertaintyWeights([name for name, _ in self._named()], [h._uncertainty_factor for h in self._heads])
        return FixedWeights(head_weights, len(self._heads))

    @property
    def logits_dimension(self) -> int:
        """The sum of the heads' widths."""
        return sum(head.logits_dimension for head in self._heads)

    def _select(self, predictions: Mapping[Any, tf.Tensor], keys: Sequence[Any]) -> Sequence[Any]:
        # A key without a head's name is that of every head that has it.
        return super()._select(
            predictions, [full for key in keys for full in ([k for k in predictions if k[1] == key] or [key])]
        )

    def _by_head(self, value: Any, what: str) -> dict[str, Any]:
        """`value` as a dictionary by head name, with every head in it."""
        if not isinstance(value, Mapping):
            raise ValueError(f"{what} must be a dict. Given: {value}. Key them by head name: {[h.name for h in self._heads]}")
        missing = sorted(str(head.name) for head in self._heads if head.name not in value)
        if missing:
            raise ValueError(f"{what} has missing values for head(s): {missing}. Given: {sorted(value)}")
        return {str(head.name): value[head.name] for head in self._heads}

    def _split(self, logits: Any) -> dict[str, Any]:
        if isinstance(logits, Mapping):
            return self._by_head(logits, "logits")
        logits = tf.cast(logits, tf.float32)
        sizes = [head.logits_dimension for head in self._heads]
        if logits.shape.rank is not None and logits.shape[-1] not in (sum(sizes), None):
            raise ValueError(
                f"Could not split logits of shape {logits.shape} among the heads with individual logits dimensions: {sizes}. "
                f"The last dimension of the logits tensor should equal {sum(sizes)} but is {logits.shape[-1]}."
            )
        logits = checks.logits(logits, sum(sizes), self.name)
        return dict(zip((str(head.name) for head in self._heads), tf.split(logits, sizes, axis=-1), strict=True))

    def _predict(self, logits: Any) -> HeadPredictions:
        by_head = self._split(logits)
        return HeadPredictions({str(head.name): head._predict(by_head[str(head.name)]) for head in self._heads})

    def _examine(self, labels: Any, predictions: Any, features: Mapping[str, Any] | None) -> dict[str, Any]:
        by_head = self._by_head(labels, "labels")
        return {name: head._examine(by_head[name], predictions.parts[name], features) for name, head in self._named()}

    def _batch_loss(self, batch: Any) -> tf.Tensor:
        return self._loss_weights.combine([head._batch_loss(batch[name]) for name, head in self._named()])

    def _forwarded(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*super()._forwarded(), *(name for head in self._heads for name in head._forwarded())]))

    def _own_variables(self) -> list[tf.Variable]:
        return [*self._loss_weights.variables(), *(variable for head in self._heads for variable in head._own_variables())]

    def _head_losses(self, batch: Any, path: str) -> dict[str, tf.Tensor]:
        by_head = {}
        for name, head in self._named():
            by_head[output_key(path, name)] = head._batch_loss(batch[name])
            by_head |= head._head_losses(batch[name], output_key(path, name))
        return by_head

    @property
    def _metrics_root(self) -> str:
        # The keys end in the names of the heads within, not in the joined name.
        return ""

    def _make_metrics(self, path: str) -> Metrics:
        made: Metrics = {}
        for name, head in self._named():
            key = metric_key(MetricKeys.LOSS, output_key(path, name))
            made |= {key: WeightedMean(metric_name(key)), **head._make_metrics(output_key(path, name))}
        return made

    def _update(self, eval_metrics: Metrics, batch: Any, path: str) -> None:
        for name, head in self._named():
            key = metric_key(MetricKeys.LOSS, output_key(path, name))
            eval_metrics[key].update_state(head._batch_loss(batch[name]))
            head._update(eval_metrics, batch[name], output_key(path, name))

    def _export(self, predictions: Any) -> dict[str, Signature]:
        exported: dict[str, Signature] = {}
        for name, head in self._named():
            own = head._export(predictions.parts[name])
            exported |= {output_key(name, key) if key else name: signature for key, signature in own.items()}
        every = Predict({output_key(*key): tensor for key, tensor in predictions.items()})
        return {"": exported[str(self._heads[0].name)], **exported, SignatureKeys.PREDICT: every}

    def _named(self) -> Iterator[tuple[str, Head]]:
        return ((str(head.name), head) for head in self._heads)
