"""What is measured in evaluation: metric specs, and the accumulators behind them.

A metric is a fold over batches. Nearly all of a head's metrics are weighted means of different values under different weights:
precision is the mean label where the prediction is positive, recall the mean prediction where the label is. `WeightedMean`
folds those; `CurveArea` folds the areas under the ROC and the precision-recall curve. They are Keras metrics, so that an
`EstimatorSpec`, `tf.keras` and users' code take them; Keras' own compute the same with several times the operations.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import tensorflow as tf

from heads.keys import MetricKeys


class MetricSpec(NamedTuple):
    """One metric of a head.

    Attributes:
        key: the metric's key, without the head's name.
        make: an empty accumulator, from its name.
        inputs: `update_state`'s arguments, from an examined batch (`heads.head.Batch`).
    """

    key: str
    make: Callable[[str], tf.keras.metrics.Metric]
    inputs: Callable[[Any], tuple[tf.Tensor, ...]]


def metric_name(key: str) -> str:
    """The name of a metric's Keras object: its key without slashes, which Keras 3 refuses."""
    return key.replace("/", "_")


class WeightedMean(tf.keras.metrics.Metric):
    """`Σ w·v / Σ w` over all batches, elementwise, with the weights broadcast to the values; 0 where there is no weight."""

    def __init__(self, name: str = "mean") -> None:
        super().__init__(name=name, dtype=tf.float32)
        self.total = self.add_weight(name="total", shape=(), initializer="zeros")
        self.weight = self.add_weight(name="weight", shape=(), initializer="zeros")

    def update_state(self, values: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds a batch of values `[...]` with weights that broadcast to them (1 when left out)."""
        values = tf.cast(values, tf.float32)
        weights = tf.ones_like(values) if sample_weight is None else tf.zeros_like(values) + tf.cast(sample_weight, tf.float32)
        # A value under weight 0 may be NaN (0/0, a missing label): it has no part in the mean.
        self.total.assign_add(tf.reduce_sum(tf.math.multiply_no_nan(values, weights)))
        self.weight.assign_add(tf.reduce_sum(weights))

    def result(self) -> tf.Tensor:
        """The mean so far, a float32 scalar."""
        return tf.math.divide_no_nan(tf.convert_to_tensor(self.total), tf.convert_to_tensor(self.weight))


class MajorityBaseline(WeightedMean):
    """`max(p, 1 - p)` for the mean p of labels in [0, 1]: the accuracy of always answering the more frequent class."""

    def result(self) -> tf.Tensor:
        """The accuracy so far, a float32 scalar."""
        mean = super().result()
        return tf.maximum(mean, 1 - mean)


class CurveArea(tf.keras.metrics.Metric):
    """The area under the ROC or the precision-recall curve, from 200 thresholds as `tf.keras.metrics.AUC` has them.

    It keeps two histograms of the probabilities, one of the positive and one of the negative labels, from which the counts at
    every threshold are cumulative sums; those are only made when the result is asked for.
    """

    THRESHOLDS: Final = 200

    def __init__(self, curve: Literal["ROC", "PR"] = "ROC", name: str = "auc") -> None:
        super().__init__(name=name, dtype=tf.float32)
        self.curve = curve
        self.positives = self.add_weight(name="positives", shape=(self.THRESHOLDS,), initializer="zeros")
        self.negatives = self.add_weight(name="negatives", shape=(self.THRESHOLDS,), initializer="zeros")

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds a batch of labels and probabilities, both `[...]`, with weights that broadcast to them.

        Any label but 0 is positive, soft ones too, as in `tf.keras.metrics.AUC`.
        """
        labels, probabilities = binary(y_true), tf.cast(y_pred, tf.float32)
        weights = tf.ones_like(labels) if sample_weight is None else tf.zeros_like(labels) + tf.cast(sample_weight, tf.float32)
        # Thresholds lie at i/199, and a probability counts as positive strictly above one: bucket i holds (i/199, (i+1)/199].
        bucket = tf.cast(tf.math.ceil(probabilities * (self.THRESHOLDS - 1)), tf.int32) - 1
        bucket = tf.reshape(tf.clip_by_value(bucket, 0, self.THRESHOLDS - 1), [-1])

        def histogram(counts: tf.Tensor) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(tf.reshape(counts, [-1]), bucket, self.THRESHOLDS)

        self.positives.assign_add(histogram(labels * weights))
        self.negatives.assign_add(histogram((1 - labels) * weights))

    def result(self) -> tf.Tensor:
        """The area so far, a float32 scalar."""
        # Counts above each threshold; above the last one, 1, there is nothing.
        true = _above(tf.convert_to_tensor(self.positives))
        false = _above(tf.convert_to_tensor(self.negatives))
        return _roc_area(true, false) if self.curve == "ROC" else _precision_recall_area(true, false)


def _above(histogram: tf.Tensor) -> tf.Tensor:
    return tf.cumsum(histogram, reverse=True)


def _roc_area(true: tf.Tensor, false: tf.Tensor) -> tf.Tensor:
    """Trapezoids under the true positive rate over the false positive rate."""
    rate, false_rate = tf.math.divide_no_nan(true, true[0]), tf.math.divide_no_nan(false, false[0])
    return tf.reduce_sum((false_rate[:-1] - false_rate[1:]) * (rate[:-1] + rate[1:]) / 2)


def _precision_recall_area(true: tf.Tensor, false: tf.Tensor) -> tf.Tensor:
    """The area under precision over recall, interpolated.

    After Davis and Goadrich, "The Relationship Between Precision-Recall and ROC Curves" (2006).
    Between two thresholds the true positives TP and the positive predictions P = TP + FP both change linearly, so precision
    TP/P does not: with slope = ΔTP/ΔP and TP = intercept + slope·P, its integral over TP is
    slope·(ΔTP + intercept·log(P₁/P₂)).
    """
    predicted = true + false
    step, above = true[:-1] - true[1:], predicted[1:]
    slope = tf.math.divide_no_nan(step, tf.maximum(predicted[:-1] - above, 0))
    intercept = true[1:] - slope * above
    ratio = tf.where(
        tf.logical_and(predicted[:-1] > 0, above > 0), tf.math.divide_no_nan(predicted[:-1], above), tf.ones_like(above)
    )
    area = slope * (step + intercept * tf.math.log(ratio))
    return tf.reduce_sum(tf.math.divide_no_nan(area, tf.maximum(true[0], 0)))


def binary(labels: tf.Tensor) -> tf.Tensor:
    """1 for every label but 0, float32, shape as `labels`."""
    return tf.cast(tf.not_equal(tf.cast(labels, tf.float32), 0), tf.float32)


def mean(key: str, values: Callable[[Any], tf.Tensor]) -> MetricSpec:
    """The mean of `values` under the batch's weights."""
    return MetricSpec(key, WeightedMean, lambda batch: (values(batch), batch.weights))


def confusion(
    label: Callable[[Any], tf.Tensor], positive: Callable[[Any], tf.Tensor], name: Callable[[str], str] = str
) -> list[MetricSpec]:
    """Accuracy, precision and recall of boolean predictions.

    Args:
        label: labels from a batch, `[...]`; anything but 0 is positive for precision and recall, as Keras counts soft labels.
        positive: booleans from a batch, `[...]`.
        name: a metric's key from `accuracy`, `precision` or `recall`.
    """

    def predicted(batch: Any) -> tf.Tensor:
        return tf.cast(positive(batch), tf.float32)

    return [
        mean(name(MetricKeys.ACCURACY), lambda b: tf.equal(tf.cast(label(b), tf.float32), predicted(b))),
        MetricSpec(name(MetricKeys.PRECISION), WeightedMean, lambda b: (binary(label(b)), predicted(b) * b.weights)),
        MetricSpec(name(MetricKeys.RECALL), WeightedMean, lambda b: (predicted(b), binary(label(b)) * b.weights)),
    ]


def curve_areas(
    label: Callable[[Any], tf.Tensor], probability: Callable[[Any], tf.Tensor], name: Callable[[str], str] = str
) -> list[MetricSpec]:
    """Areas under the ROC and the precision-recall curve, of labels and probabilities from a batch, both `[...]`."""

    def inputs(batch: Any) -> tuple[tf.Tensor, ...]:
        return label(batch), probability(batch), batch.weights

    return [
        MetricSpec(name(MetricKeys.AUC), lambda key: CurveArea("ROC", key), inputs),
        MetricSpec(name(MetricKeys.AUC_PR), lambda key: CurveArea("PR", key), inputs),
    ]


def threshold_names(thresholds: tuple[float, ...]) -> list[str]:
    """How thresholds stand in metric keys: by `%g`, and with all their digits where two would look the same."""
    short = [f"{threshold:g}" for threshold in thresholds]
    return [name if short.count(name) == 1 else repr(threshold) for name, threshold in zip(short, thresholds, strict=True)]


def at_thresholds(
    thresholds: tuple[float, ...], label: Callable[[Any], tf.Tensor], probability: Callable[[Any], tf.Tensor]
) -> list[MetricSpec]:
    """Accuracy, precision and recall at each of `thresholds`: a probability strictly above one is a positive prediction."""

    def at(threshold: float, written: str) -> list[MetricSpec]:
        return confusion(label, lambda batch: probability(batch) > threshold, lambda key: MetricKeys.at_threshold(key, written))

    pairs = zip(thresholds, threshold_names(thresholds), strict=True)
    return [spec for threshold, written in pairs for spec in at(threshold, written)]


def of_classes(
    class_ids: tuple[int, ...],
    vocabulary: tuple[str, ...] | None,
    label: Callable[[Any], tf.Tensor],
    probability: Callable[[Any], tf.Tensor],
) -> list[MetricSpec]:
    """Mean probability and areas under the curves of single classes, from labels and probabilities `[..., n_classes]`."""

    def of_class(class_id: int) -> list[MetricSpec]:
        def column(values: Callable[[Any], tf.Tensor]) -> Callable[[Any], tf.Tensor]:
            return lambda batch: values(batch)[..., class_id : class_id + 1]

        def name(key: str) -> str:
            return MetricKeys.at_class(key, class_id, vocabulary[class_id] if vocabulary else None)

        own = column(probability)
        return [mean(name(MetricKeys.PROBABILITY_MEAN), own), *curve_areas(column(label), own, name)]

    return [spec for class_id in class_ids for spec in of_class(class_id)]
