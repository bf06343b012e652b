"""`SingleHead`: everything that the kinds of head have in common.

A kind of head answers a few hooks, and the rest follows:

* `logits_dimension`: the width of its logits,
* `_encode_labels`: the user's labels → dense numbers that fit the logits,
* `_example_loss`: labels and logits → elementwise losses,
* `_prediction_functions`: key → how that prediction is computed,
* `_metric_specs`: what evaluation measures beside the average loss,
* `_signatures`: what a SavedModel offers.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import tensorflow as tf

from heads import checks, labels, losses, metrics, weights
from heads.head import Head, Metrics
from heads.keys import MetricKeys, PredictionKeys, Reduction, metric_key
from heads.metrics import MetricSpec
from heads.missing import MissingLabels, Sentinel
from heads.signatures import Signature

PredictionFunctions = Mapping[str, Callable[["Predictions"], tf.Tensor]]


class Predictions(Mapping[str, tf.Tensor]):
    """Predictions of one batch by key, each computed when it is first asked for; they may build on one another.

    Attributes:
        logits: checked logits, float32 `[D0, …, DN, logits_dimension]`.
    """

    def __init__(self, logits: tf.Tensor, functions: PredictionFunctions) -> None:
        self.logits = logits
        self._functions = functions
        self._computed: dict[str, tf.Tensor] = {}

    def __getitem__(self, key: str) -> tf.Tensor:
        if key not in self._computed:
            self._computed[key] = self._functions[key](self)
        return self._computed[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


LOGITS: PredictionFunctions = {PredictionKeys.LOGITS: lambda predictions: predictions.logits}


class Batch(NamedTuple):
    """One head's share of a batch, examined once for the loss and for every metric.

    Attributes:
        labels: dense numbers that fit the logits.
        weights: broadcast to the losses; None, which stands for 1, when every row counts the same.
        losses: unweighted, elementwise: `[D0, …, DN, 1]`, or as wide as the labels.
        labelled: how many of the losses have a label, a float32 scalar.
        predictions: by key.
        kept: what several metrics need of the batch, see `heads.metrics.once`.
    """

    labels: tf.Tensor
    weights: tf.Tensor | None
    losses: tf.Tensor
    labelled: tf.Tensor
    predictions: Predictions
    kept: dict[Any, Any]


class Options(TypedDict, total=False):
    """What every kind of head takes beside its own arguments, always by name; see `SingleHead`."""

    missing_label: Sentinel | None
    mask_column: str | None
    forward_features: Sequence[str]


class SingleHead(Head):
    """Base of the kinds of head.

    Args:
        weight_column: name of the feature, or `tf.feature_column.numeric_column`, with a weight for every example.
        loss_reduction: a value of `tf.losses.Reduction` but `NONE`.
        loss_fn: instead of the head's own loss: takes `labels`, `logits` and, if it has that argument, `features`, and returns
            elementwise losses of the same shape as the head's own.
        name: stands in metric keys (`<key>/<name>`) and as the scope of the operations.
        missing_label: a label of this value (NaN, -1, "" …) means that the row has none. Such a row has no part in the loss,
            whose mean is over the rows with a label, nor in any metric. For several labels a row: one of them is enough for
            a classification; a regression leaves out that value alone.
        mask_column: name of a feature, `[D0, …, DN]` or `[D0, …, DN, 1]`, that is not 0 where the row has a label.
        forward_features: names of features that are given out with the predictions, such as the id of a row.

    Raises:
        ValueError: `loss_reduction` or the arguments of `loss_fn` are not valid.
        TypeError: `weight_column` is neither name nor column.
    """

    def __init__(
        self,
        weight_column: Any = None,
        loss_reduction: str = Reduction.SUM_OVER_BATCH_SIZE,
        loss_fn: Callable[..., tf.Tensor] | None = None,
        name: str | None = None,
        *,
        missing_label: Sentinel | None = None,
        mask_column: str | None = None,
        forward_features: Sequence[str] = (),
    ) -> None:
        super().__init__(loss_reduction, name, forward_features)
        self._weight_column = weights.check_column(weight_column)
        self._loss_fn_takes_features = checks.loss_fn(loss_fn)
        self._loss_fn = loss_fn
        self._missing = MissingLabels(missing_label, mask_column)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes by class id; None for a head without classes."""
        return None

    @abstractmethod
    def _encode_labels(self, raw: Any, logits: tf.Tensor) -> tf.Tensor:
        """Dense numeric labels that fit checked logits `[D0, …, DN, logits_dimension]`."""

    @abstractmethod
    def _example_loss(self, encoded: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Unweighted losses `[D0, …, DN, _loss_dimension]` of encoded labels and checked logits."""

    @abstractmethod
    def _prediction_functions(self) -> PredictionFunctions:
        """How each prediction is computed, by key, in the order in which they are given out."""

    @abstractmethod
    def _metric_specs(self) -> list[MetricSpec]:
        """What evaluation measures beside the average loss."""

    @abstractmethod
    def _signatures(self, predictions: Mapping[str, tf.Tensor]) -> dict[str, Signature]:
        """What a SavedModel offers, by kind (`heads.keys.SignatureKeys`); the first is what the head answers by default."""

    @property
    def _label_dimension(self) -> int:
        """Width of dense labels."""
        return 1

    @property
    def _loss_dimension(self) -> int:
        """Width of the elementwise losses."""
        return 1

    @property
    def _metrics_root(self) -> str:
        return self.name or ""

    def _predict(self, logits: Any) -> Predictions:
        return Predictions(checks.logits(logits, self.logits_dimension, self.name), self._prediction_functions())

    def _examine(self, raw: Any, predictions: Predictions, features: Mapping[str, Any] | None) -> Batch:
        logits = predictions.logits
        weight = weights.of_batch(features, self._weight_column, logits, sorted({1, self._loss_dimension}), self.name)
        raw, present = self._fill_missing(raw, logits, features)
        encoded = self._encode_labels(raw, logits)
        loss = self._own_loss(encoded, logits, features) if self._loss_fn else self._example_loss(encoded, logits)
        if present is None:
            return Batch(encoded, weight, loss, tf.cast(tf.size(loss), tf.float32), predictions, {})
        counts = tf.zeros_like(loss) + tf.cast(present, tf.float32)
        return Batch(encoded, weights.weighted(counts, weight), loss, tf.reduce_sum(counts), predictions, {})

    def _fill_missing(self, raw: Any, logits: tf.Tensor, features: Mapping[str, Any] | None) -> tuple[Any, tf.Tensor | None]:
        """Labels that can be encoded, and where the row has one (broadcast to the losses); None when it always does."""
        if not self._missing.possible:
            return raw, None
        mask = self._missing.mask(features, logits, self.name)
        if isinstance(raw, tf.SparseTensor | tf.RaggedTensor):
            if self._missing.sentinel is not None:
                raise ValueError(
                    f"missing_label needs dense labels{checks.of_head(self.name)}: a sparse row without a label looks like one "
                    "with no classes. Use mask_column."
                )
            return raw, mask
        dense = labels.dense(raw, logits, self._label_dimension, self.name)
        filled, present = self._missing.fill(dense, mask, next(iter(self.class_names or ()), None))
        each = self._loss_dimension == self._label_dimension
        return filled, present if each else tf.reduce_all(present, axis=-1, keepdims=True)

    def _own_loss(self, encoded: tf.Tensor, logits: tf.Tensor, features: Mapping[str, Any] | None) -> tf.Tensor:
        assert self._loss_fn is not None
        arguments = {"features": features or {}} if self._loss_fn_takes_features else {}
        own = tf.cast(self._loss_fn(labels=encoded, logits=logits, **arguments), tf.float32)
        width = self._loss_dimension
        message = f"loss_fn must return Tensor of shape [D0, D1, ... DN, {width}]{checks.of_head(self.name)}."
        if own.shape.rank is not None and own.shape.rank != logits.shape.rank:
            raise ValueError(f"{message} logits_shape: {logits.shape}, loss_shape: {own.shape}.")
        return checks.matches(own, logits, [width], message)

    def _batch_loss(self, batch: Batch) -> tf.Tensor:
        return losses.reduce(batch.losses, batch.weights, batch.labelled, self.loss_reduction)

    def _head_losses(self, batch: Batch, path: str) -> dict[str, tf.Tensor]:  # noqa: ARG002 - there is no head within
        return {}

    def _specs(self) -> list[MetricSpec]:
        return [metrics.mean(MetricKeys.LOSS_MEAN, lambda batch: batch.losses), *self._metric_specs()]

    def _make_metrics(self, path: str) -> Metrics:
        keys = {metric_key(spec.key, path): spec for spec in self._specs()}
        return {key: spec.make(metrics.metric_name(key)) for key, spec in keys.items()}

    def _update(self, eval_metrics: Metrics, batch: Batch, path: str) -> None:
        for spec in self._specs():
            eval_metrics[metric_key(spec.key, path)].update_state(*spec.inputs(batch))

    def _export(self, predictions: Predictions) -> dict[str, Signature]:
        signatures = self._signatures(predictions)
        return {"": next(iter(signatures.values())), **signatures}


def of_label(batch: Batch) -> tf.Tensor:
    """A batch's labels: for metric specs."""
    return batch.labels


def of_prediction(key: str) -> Callable[[Batch], tf.Tensor]:
    """What gives a batch's prediction of `key`: for metric specs."""
    return lambda batch: batch.predictions[key]
