"""`Head`: what turns a network's logits into a loss, metrics and predictions.

The verbs that users call — `loss`, `predictions`, `metrics`, `update_metrics`, `create_estimator_spec` — are written here,
once. They rest on what every head can do with a batch, which `heads.single_head.SingleHead` answers for one head and
`heads.multi_head.MultiHead` as a loop over several:

* `_predict`: logits → predictions by key,
* `_examine`: labels and predictions → a batch, examined once for the loss and for every metric,
* `_batch_loss`, `_head_losses`: the loss of a batch, and those of the heads within,
* `_make_metrics`, `_update`: empty metrics, and adding a batch to them,
* `_export`: what a SavedModel offers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from heads import checks
from heads.keys import MetricKeys, metric_key
from heads.metrics import WeightedMean, metric_name
from heads.optimizers import train_op
from heads.signatures import Signature

Metrics = dict[str, tf.keras.metrics.Metric]


class Head(ABC):
    """Base of all heads.

    Args:
        loss_reduction: a value of `tf.losses.Reduction` but `NONE`.
        name: stands in metric keys (`<key>/<name>`) and as the scope of the operations.
        forward_features: names of features that are given out with the predictions of a spec.

    Raises:
        ValueError: `loss_reduction` is not valid.
    """

    def __init__(self, loss_reduction: str, name: str | None, forward_features: Sequence[str] = ()) -> None:
        self._loss_reduction = checks.loss_reduction(loss_reduction)
        self._name = name
        self._forward_features = (forward_features,) if isinstance(forward_features, str) else tuple(forward_features)

    @property
    def name(self) -> str | None:
        """The head's name."""
        return self._name

    @property
    def loss_reduction(self) -> str:
        """How elementwise losses become one number: a value of `tf.losses.Reduction`."""
        return self._loss_reduction

    @property
    @abstractmethod
    def logits_dimension(self) -> int:
        """Width of the last dimension of the logits."""

    def loss(
        self,
        labels: Any,
        logits: Any,
        features: Mapping[str, Any] | None = None,
        mode: str | None = None,
        regularization_losses: Sequence[tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """The regularized training loss, a float32 scalar.

        Args:
            labels: see the kind of head; `MultiHead` takes a dictionary by head name.
            logits: `[D0, …, DN, logits_dimension]`; `MultiHead` also takes a dictionary by head name.
            features: by name; only needed with a weight column, or a `loss_fn` that takes them.
            mode: not used; TRAIN and EVAL have the same loss.
            regularization_losses: scalars that are added after the reduction.

        Raises:
            ValueError: labels, logits or weights are known now not to fit.
            tf.errors.InvalidArgumentError: when the graph runs, for what is only known then.
        """
        del mode
        with tf.name_scope("losses"):
            return self._total_loss(self._examine(labels, self._predict(logits), features), regularization_losses)

    def predictions(self, logits: Any, keys: Sequence[Any] | None = None) -> dict[Any, tf.Tensor]:
        """Predictions by key.

        Args:
            logits: as for `loss`.
            keys: which ones; None or empty means all.

        Raises:
            ValueError: the head has no prediction of that key, or the logits do not fit.
        """
        with tf.name_scope("predictions"):
            predictions = self._predict(logits)
            return {key: predictions[key] for key in self._select(predictions, keys or list(predictions))}

    def metrics(self, regularization_losses: Sequence[tf.Tensor] | None = None) -> Metrics:
        """New, empty metrics by key; with `regularization_losses` there is one for their sum."""
        with tf.name_scope("metrics"):
            made = self._make_metrics(self._metrics_root)
            if regularization_losses is not None:
                key = metric_key(MetricKeys.LOSS_REGULARIZATION, self.name)
                made[key] = WeightedMean(metric_name(key))
            return made

    def update_metrics(
        self,
        eval_metrics: Metrics,
        features: Mapping[str, Any] | None,
        logits: Any,
        labels: Any,
        regularization_losses: Sequence[tf.Tensor] | None = None,
        mode: str | None = None,
    ) -> Metrics:
        """`eval_metrics`, as `metrics` made them, after a batch was added; the arguments are those of `loss`."""
        del mode
        with tf.name_scope("metrics"):
            return self._add_batch(eval_metrics, self._examine(labels, self._predict(logits), features), regularization_losses)

    def create_estimator_spec(
        self,
        features: Mapping[str, Any],
        mode: str,
        logits: Any,
        labels: Any = None,
        optimizer: Any = None,
        trainable_variables: Any = None,
        train_op_fn: Callable[[tf.Tensor], Any] | None = None,
        update_ops: Sequence[Any] | None = None,
        regularization_losses: Sequence[tf.Tensor] | None = None,
    ) -> Any:
        """The `tf.estimator.EstimatorSpec` that a `model_fn` returns.

        Args:
            features: by name.
            mode: a value of `tf.estimator.ModeKeys`.
            logits: as for `loss`.
            labels: as for `loss`; needed in TRAIN and EVAL.
            optimizer: minimizes the loss in TRAIN: a Keras optimizer (new or legacy), a `tf.compat.v1.train.Optimizer`, or the
                name of a Keras optimizer. It moves the global step. Or a dictionary of those, by any names: the trunk's and
                each head's variables can have optimizers and learning rates of their own.
            trainable_variables: list or tuple of what `optimizer` changes, or a dictionary of those by the same names.
            train_op_fn: instead of `optimizer`: takes the loss and returns the train op.
            update_ops: list or tuple of operations that run with every training step.
            regularization_losses: scalars added to the loss.

        Raises:
            ValueError: both or neither of `optimizer` and `train_op_fn` are given in TRAIN, the mode is none of the three, or
                labels or logits do not fit.
        """
        from heads.estimator import build_spec

        def step(loss: tf.Tensor) -> Any:
            own = self._own_variables()
            return train_op(loss, self.loss_reduction, optimizer, trainable_variables, train_op_fn, update_ops, own)

        return build_spec(self, features, mode, logits, labels, regularization_losses, step)

    def _select(self, predictions: Mapping[Any, tf.Tensor], keys: Sequence[Any]) -> Sequence[Any]:
        """`keys`, each one the key of a prediction."""
        for key in keys:
            if key not in predictions:
                raise ValueError(
                    f"Prediction key must be in PredictionKeys, given: {key}. Valid prediction keys include "
                    f"{list(predictions)}{checks.of_head(self.name)}."
                )
        return keys

    def _total_loss(self, batch: Any, regularization_losses: Sequence[tf.Tensor] | None) -> tf.Tensor:
        loss = self._batch_loss(batch)
        return loss + tf.add_n(list(regularization_losses)) if regularization_losses else loss

    def _add_batch(self, eval_metrics: Metrics, batch: Any, regularization_losses: Sequence[tf.Tensor] | None) -> Metrics:
        self._update(eval_metrics, batch, self._metrics_root)
        if regularization_losses is not None:
            key = metric_key(MetricKeys.LOSS_REGULARIZATION, self.name)
            eval_metrics[key].update_state(tf.add_n(list(regularization_losses)) if regularization_losses else 0.0)
        return eval_metrics

    def _forwarded(self) -> tuple[str, ...]:
        """Names of the features that a spec gives out with the predictions."""
        return self._forward_features

    def _own_variables(self) -> list[tf.Variable]:
        """Variables of the head itself that have to be trained."""
        return []

    @property
    def _uncertainty_factor(self) -> float:
        """How this head's loss counts under `UncertaintyWeights`."""
        return 1.0

    @property
    @abstractmethod
    def _metrics_root(self) -> str:
        """What the keys of this head's metrics end in."""

    @abstractmethod
    def _predict(self, logits: Any) -> Mapping[Any, tf.Tensor]:
        """Predictions by key, each computed when it is first asked for."""

    @abstractmethod
    def _examine(self, labels: Any, predictions: Any, features: Mapping[str, Any] | None) -> Any:
        """The batch that `_batch_loss` and `_update` take; `predictions` are those of `_predict`."""

    @abstractmethod
    def _batch_loss(self, batch: Any) -> tf.Tensor:
        """The weighted, reduced loss of an examined batch, without regularization."""

    @abstractmethod
    def _head_losses(self, batch: Any, path: str) -> dict[str, tf.Tensor]:
        """Losses of the heads within, by their names under `path`."""

    @abstractmethod
    def _make_metrics(self, path: str) -> Metrics:
        """Empty metrics with keys for a head that is called `path`."""

    @abstractmethod
    def _update(self, eval_metrics: Metrics, batch: Any, path: str) -> None:
        """Adds an examined batch to the metrics of a head that is called `path`."""

    @abstractmethod
    def _export(self, predictions: Any) -> dict[str, Signature]:
        """What a SavedModel offers, by signature name; the name of the default one is empty."""
