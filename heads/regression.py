"""`RegressionHead` and its kin, `PoissonRegressionHead` and `LogisticRegressionHead`: one or several numbers."""

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import tensorflow as tf

from heads import checks, labels, losses, metrics
from heads.keys import MetricKeys, PredictionKeys, Reduction, SignatureKeys
from heads.metrics import MetricSpec
from heads.signatures import Predict, Regress, Signature
from heads.single_head import LOGITS, Options, PredictionFunctions, SingleHead, of_label, of_prediction


class RegressionHead(SingleHead):
    """`label_dimension` numbers, by squared error.

    Logits are `[D0, …, DN, label_dimension]`. Labels are numbers of the same shape; for `label_dimension=1` the last dimension
    may be left out.

    >>> head = RegressionHead(name="price")
    >>> logits = tf.constant([[1.0], [2.0]])
    >>> float(head.loss(tf.constant([1.0, 5.0]), logits))  # (0² + 3²) / 2
    4.5
    >>> sorted(head.metrics())
    ['average_loss/price', 'label/mean/price', 'prediction/mean/price']

    Args:
        label_dimension: how many numbers per example.
        weight_column: feature with weights `[D0, …, DN]`, `[D0, …, DN, 1]` or `[D0, …, DN, label_dimension]`.
        loss_fn: instead of squared error; returns `[D0, …, DN, label_dimension]`.
        inverse_link_fn: makes a prediction from logits, for a generalized linear model; the identity when left out. `loss_fn`
            must match it.
        loss_reduction, name, **options: see `SingleHead`.

    Raises:
        ValueError: `label_dimension`, `loss_reduction` or `loss_fn` is not valid.
    """

    def __init__(
        self,
        label_dimension: int = 1,
        weight_column: Any = None,
        loss_reduction: str = Reduction.SUM_OVER_BATCH_SIZE,
        loss_fn: Callable[..., tf.Tensor] | None = None,
        inverse_link_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
        name: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(weight_column, loss_reduction, loss_fn, name, **options)
        if label_dimension < 1:
            raise ValueError(f"Invalid label_dimension {label_dimension}. It must be at least 1{checks.of_head(name)}.")
        self._width = int(label_dimension)
        self._inverse_link_fn = inverse_link_fn

    @property
    def logits_dimension(self) -> int:
        """The number of values per example."""
        return self._width

    @property
    def _label_dimension(self) -> int:
        return self._width

    @property
    def _loss_dimension(self) -> int:
        return self._width

    @property
    def _uncertainty_factor(self) -> float:
        return 0.5 if self._loss_fn is None else 1.0

    def _encode_labels(self, raw: Any, logits: tf.Tensor) -> tf.Tensor:
        dense = labels.dense(raw, logits, self._width, self.name)
        if dense.dtype == tf.string:
            raise ValueError(f"Labels dtype should be numeric. Instead got string{checks.of_head(self.name)}.")
        return tf.cast(dense, tf.float32)

    def _example_loss(self, encoded: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return losses.squared_error(encoded, logits)

    def _prediction_functions(self) -> PredictionFunctions:
        link = self._inverse_link_fn
        if link is None:
            return {PredictionKeys.PREDICTIONS: lambda p: p.logits}
        return {PredictionKeys.PREDICTIONS: lambda p: link(p.logits), **LOGITS}

    def _metric_specs(self) -> list[MetricSpec]:
        return [
            metrics.mean(MetricKeys.PREDICTION_MEAN, of_prediction(PredictionKeys.PREDICTIONS)),
            metrics.mean(MetricKeys.LABEL_MEAN, of_label),
        ]

    def _signatures(self, predictions: Mapping[str, tf.Tensor]) -> dict[str, Signature]:
        return {
            SignatureKeys.REGRESS: Regress(predictions[PredictionKeys.PREDICTIONS]),
            SignatureKeys.PREDICT: Predict(predictions),
        }


class PoissonRegressionHead(RegressionHead):
    """`label_dimension` counts, by the Poisson loss of a log-linear model: predictions are `exp(logits)`.

    Logits and labels are as for `RegressionHead`; labels must not be negative.

    >>> head = PoissonRegressionHead(compute_full_loss=False)
    >>> float(head.loss(tf.constant([3.0]), tf.constant([[0.0]])))  # exp(0) - 0·3
    1.0

    Args:
        label_dimension: how many numbers per example.
        weight_column: feature with weights `[D0, …, DN]`, `[D0, …, DN, 1]` or `[D0, …, DN, label_dimension]`.
        compute_full_loss: whether the loss has Stirling's approximation of `log(z!)`, which does not depend on the logits.
        loss_reduction, name, **options: see `SingleHead`.

    Raises:
        ValueError: `label_dimension` or `loss_reduction` is not valid.
    """

    def __init__(
        self,
        label_dimension: int = 1,
        weight_column: Any = None,
        loss_reduction: str = Reduction.SUM_OVER_BATCH_SIZE,
        compute_full_loss: bool = True,
        name: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(label_dimension, weight_column, loss_reduction, inverse_link_fn=tf.math.exp, name=name, **options)
        self._compute_full_loss = compute_full_loss

    def _encode_labels(self, raw: Any, logits: tf.Tensor) -> tf.Tensor:
        message = f"Labels of a Poisson regression must be >= 0{checks.of_head(self.name)}: they are counts."
        return checks.in_range(super()._encode_labels(raw, logits), None, message)

    @property
    def _uncertainty_factor(self) -> float:
        return 1.0

    def _example_loss(self, encoded: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return losses.poisson(encoded, logits, full=self._compute_full_loss)


class LogisticRegressionHead(RegressionHead):
    """A probability, by sigmoid cross entropy: predictions are `sigmoid(logits)`.

    It differs from `BinaryClassHead` in that it speaks of numbers, not of classes: labels are in [0, 1], predictions are
    `predictions` and `logits`, and the default signature is a regression.

    >>> float(LogisticRegressionHead().predictions(tf.constant([[0.0]]))["predictions"][0, 0])
    0.5

    Args:
        weight_column: feature with weights `[D0, …, DN]` or `[D0, …, DN, 1]`.
        loss_reduction, name, **options: see `SingleHead`.

    Raises:
        ValueError: `loss_reduction` is not valid.
    """

    def __init__(
        self,
        weight_column: Any = None,
        loss_reduction: str = Reduction.SUM_OVER_BATCH_SIZE,
        name: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(1, weight_column, loss_reduction, inverse_link_fn=tf.math.sigmoid, name=name, **options)

    def _encode_labels(self, raw: Any, logits: tf.Tensor) -> tf.Tensor:
        message = f"Labels must be in range [0, 1]{checks.of_head(self.name)}."
        return checks.in_range(super()._encode_labels(raw, logits), 1, message)

    @property
    def _uncertainty_factor(self) -> float:
        return 1.0

    def _example_loss(self, encoded: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return losses.sigmoid_cross_entropy(encoded, logits)
