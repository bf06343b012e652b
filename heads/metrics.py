"""What is measured in evaluation: metric specs, and the accumulators behind them.

A metric is a fold over batches. Nearly all of a head's metrics are weighted means of different values under different weights:
precision is the mean label where the prediction is positive, recall the mean prediction where the label is. `WeightedMean`
folds those; `CurveArea` folds the areas under the ROC and the precision-recall curve. They are Keras metrics, so that an
`EstimatorSpec`, `tf.keras` and users' code take them; Keras' own compute the same with several times the operations.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

import tensorflow as tf

from heads.keys import MetricKeys
from heads.weights import weighted

_Method = TypeVar("_Method", bound=Callable[..., Any])
_Value = TypeVar("_Value")

THRESHOLDS: Final = 200


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


# Keras rewrites the methods of a metric with AutoGraph at every call. There is no Python `if` on tensors here to rewrite.
as_written: Callable[[_Method], _Method] = tf.autograph.experimental.do_not_convert


def metric_name(key: str) -> str:
    """The name of a metric's Keras object: its key without slashes, which Keras 3 refuses."""
    return key.replace("/", "_")


class Fold(tf.keras.metrics.Metric):
    """Base of the metrics here: one variable of float32 sums, to which every batch is added.

    Args:
        name: the metric's.
        shape: of the sums.
    """

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__(name=name, dtype=tf.float32)
        self.sums = self.add_weight(name="sums", shape=shape, initializer="zeros")

    @as_written
    def reset_state(self) -> None:
        """Forgets all batches."""
        # Keras 2 would assign a scalar.
        self.sums.assign(tf.zeros_like(self.sums))


class WeightedMean(Fold):
    """`Σ w·v / Σ w` over all batches, elementwise, with the weights broadcast to the values; 0 where there is no weight."""

    def __init__(self, name: str = "mean") -> None:
        super().__init__(name, shape=(2,))

    @as_written
    def update_state(self, values: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds a batch of values `[...]` with weights that broadcast to them (1 when left out)."""
        values = tf.cast(values, tf.float32)
        if sample_weight is None:
            sums = [tf.reduce_sum(values), tf.cast(tf.size(values), tf.float32)]
        else:
            weights = tf.zeros_like(values) + tf.cast(sample_weight, tf.float32)
            # A value under weight 0 may be NaN (0/0, a missing label): it has no part in the mean.
            sums = [tf.reduce_sum(tf.math.multiply_no_nan(values, weights)), tf.reduce_sum(weights)]
        self.sums.assign_add(tf.stack(sums))

    @as_written
    def result(self) -> tf.Tensor:
        """The mean so far, a float32 scalar."""
        total, weight = tf.unstack(tf.convert_to_tensor(self.sums))
        return tf.math.divide_no_nan(total, weight)


class MajorityBaseline(WeightedMean):
    """`max(p, 1 - p)` for the mean p of labels in [0, 1]: the accuracy of always answering the more frequent class."""

    @as_written
    def result(self) -> tf.Tensor:
        """The accuracy so far, a float32 scalar."""
        mean = super().result()
        return tf.maximum(mean, 1 - mean)


class CurveArea(Fold):
    """The area under the ROC or the precision-recall curve, from 200 thresholds as `tf.keras.metrics.AUC` has them.

    It sums up two histograms of the probabilities, see `histograms`, from which the counts at every threshold are cumulative
    sums; those are only made when the result is asked for.
    """

    def __init__(self, curve: Literal["ROC", "PR"] = "ROC", name: str = "auc") -> None:
        super().__init__(name, shape=(2 * THRESHOLDS,))
        self.curve = curve

    @as_written
    def update_state(self, counts: tf.Tensor) -> None:
        """Adds the `histograms` of a batch."""
        self.sums.assign_add(counts)

    @as_written
    def result(self) -> tf.Tensor:
        """The area so far, a float32 scalar."""
        # Counts above each threshold; above the last one, 1, there is nothing.
        false, true = tf.unstack(tf.cumsum(tf.reshape(tf.convert_to_tensor(self.sums), [2, THRESHOLDS]), axis=1, reverse=True))
        return _roc_area(true, false) if self.curve == "ROC" else _precision_recall_area(true, false)


def histograms(labels: tf.Tensor, probabilities: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """How often the probabilities fall between two thresholds, for labels 0 and then for labels 1: `[2 * THRESHOLDS]`.

    Args:
        labels: 0 or 1, float32 `[...]`.
        probabilities: `[...]`.
        weights: broadcast to the labels; 1 when left out.
    """
    # Thresholds lie at i/199, and a probability counts as positive strictly above one: bucket i holds (i/199, (i+1)/199].
    bucket = tf.cast(tf.math.ceil(probabilities * (THRESHOLDS - 1)), tf.int32) - 1
    bucket = tf.clip_by_value(bucket, 0, THRESHOLDS - 1) + tf.cast(labels, tf.int32) * THRESHOLDS
    # No weights at all mean 1 to this operation, which takes a quarter of the time of a segment sum.
    counts = tf.constant([], tf.float32) if weights is None else tf.zeros_like(labels) + weights
    return tf.raw_ops.Bincount(arr=bucket, size=2 * THRESHOLDS, weights=counts)


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


def once(values: Callable[[Any], _Value]) -> Callable[[Any], _Value]:
    """`values`, computed once for a batch however many metrics take it."""

    def kept(batch: Any) -> _Value:
        if values not in batch.kept:
            batch.kept[values] = values(batch)
        return cast(_Value, batch.kept[values])

    return kept


def confusion(
    label: Callable[[Any], tf.Tensor], positive: Callable[[Any], tf.Tensor], name: Callable[[str], str] = str
) -> list[MetricSpec]:
    """Accuracy, precision and recall of boolean predictions.

    Args:
        label: labels from a batch, `[...]`; anything but 0 is positive for precision and recall, as Keras counts soft labels.
        positive: booleans from a batch, `[...]`.
        name: a metric's key from `accuracy`, `precision` or `recall`.
    """
    predicted = once(lambda batch: tf.cast(positive(batch), tf.float32))
    actual = once(lambda batch: binary(label(batch)))
    return [
        mean(name(MetricKeys.ACCURACY), lambda b: tf.equal(label(b), predicted(b))),
        MetricSpec(name(MetricKeys.PRECISION), WeightedMean, lambda b: (actual(b), weighted(predicted(b), b.weights))),
        MetricSpec(name(MetricKeys.RECALL), WeightedMean, lambda b: (predicted(b), weighted(actual(b), b.weights))),
    ]


def curve_areas(
    label: Callable[[Any], tf.Tensor], probability: Callable[[Any], tf.Tensor], name: Callable[[str], str] = str
) -> list[MetricSpec]:
    """Areas under the ROC and the precision-recall curve, of labels and probabilities from a batch, both `[...]`.

    Any label but 0 is positive, soft ones too, as in `tf.keras.metrics.AUC`.
    """
    counts = once(lambda batch: histograms(binary(label(batch)), probability(batch), batch.weights))
    return [
        MetricSpec(name(MetricKeys.AUC), lambda key: CurveArea("ROC", key), lambda batch: (counts(batch),)),
        MetricSpec(name(MetricKeys.AUC_PR), lambda key: CurveArea("PR", key), lambda batch: (counts(batch),)),
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
