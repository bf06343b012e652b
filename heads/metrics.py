"""Metrics of evaluation: metric specs, and the Keras metrics that accumulate them.

A metric is a fold over batches. Nearly all metrics of a head are weighted means of different values under different weights:
precision is the mean label where the prediction is positive, recall the mean prediction where the label is. `WeightedMean`
accumulates those, `CurveArea` the areas under the ROC and the precision-recall curve. Both are Keras metrics, so that
`EstimatorSpec`, `tf.keras` and users' code accept them; those of Keras itself need several times the operations.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

import tensorflow as tf

from heads.keys import MetricKeys, output_key
from heads.weights import weighted

_Method = TypeVar("_Method", bound=Callable[..., Any])
_Value = TypeVar("_Value")

THRESHOLDS: Final = 200


class MetricSpec(NamedTuple):
    """One metric of a head.

    Attributes:
        key: key of the metric without the name of a head.
        make: returns an empty Keras metric of a given name.
        inputs: returns the arguments of `update_state` from a prepared batch.
        head: path of the head inside a `MultiHead`, `<outer>/<inner>`; empty for the head itself.
    """

    key: str
    make: Callable[[str], tf.keras.metrics.Metric]
    inputs: Callable[[Any], tuple[tf.Tensor, ...]]
    head: str = ""

    def inside(self, name: str) -> "MetricSpec":
        """Return this metric as one of a `MultiHead`, whose batch has the batch of this head under `name`."""
        return self._replace(inputs=lambda batch: self.inputs(batch[name]), head=output_key(name, self.head))


# Keras converts the methods of a metric with AutoGraph at every call. These methods have no Python `if` on tensors to convert.
as_written: Callable[[_Method], _Method] = tf.autograph.experimental.do_not_convert


def metric_name(key: str) -> str:
    """Return the name of a Keras metric: the key without slashes, which Keras 3 refuses."""
    return key.replace("/", "_")


class Fold(tf.keras.metrics.Metric):
    """Base class of the metrics: one variable of float32 sums, to which every batch is added.

    Args:
        name: name of the metric.
        shape: shape of the sums.
    """

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__(name=name, dtype=tf.float32)
        self.sums = self.add_weight(name="sums", shape=shape, initializer="zeros", dtype=self.dtype)

    @as_written
    def reset_state(self) -> None:
        """Set all sums to 0."""
        # The method of Keras 2 assigns a scalar.
        self.sums.assign(tf.zeros_like(self.sums))


class WeightedMean(Fold):
    """The mean `Σ w·v / Σ w` of the values of all batches, with weights that broadcast to the values; 0 without weight."""

    def __init__(self, name: str = "mean") -> None:
        super().__init__(name, shape=(2,))

    @as_written
    def update_state(self, values: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Add a batch of values `[...]` with weights that broadcast to them; 1 by default."""
        values = tf.cast(values, tf.float32)
        if sample_weight is None:
            sums = [tf.reduce_sum(values), tf.cast(tf.size(values), tf.float32)]
        else:
            weights = tf.zeros_like(values) + tf.cast(sample_weight, tf.float32)
            # A value under weight 0 can be NaN (0/0, a missing label), and does not count.
            sums = [tf.reduce_sum(tf.math.multiply_no_nan(values, weights)), tf.reduce_sum(weights)]
        self.sums.assign_add(tf.stack(sums))

    @as_written
    def result(self) -> tf.Tensor:
        """Return the mean so far, a float32 scalar."""
        total, weight = tf.unstack(tf.convert_to_tensor(self.sums))
        return tf.math.divide_no_nan(total, weight)


class MajorityBaseline(WeightedMean):
    """The accuracy of always predicting the more frequent class: `max(p, 1 - p)` for the mean p of labels in [0, 1]."""

    @as_written
    def result(self) -> tf.Tensor:
        """Return the accuracy so far, a float32 scalar."""
        mean = super().result()
        return tf.maximum(mean, 1 - mean)


class CurveArea(Fold):
    """The area under the ROC or the precision-recall curve, from the 200 thresholds of `tf.keras.metrics.AUC`.

    The sums are two histograms of the probabilities, see `histograms`. `result` computes the counts at every threshold, which
    are cumulative sums of the histograms.
    """

    def __init__(self, curve: Literal["ROC", "PR"] = "ROC", name: str = "auc") -> None:
        super().__init__(name, shape=(2 * THRESHOLDS,))
        self.curve = curve

    @as_written
    def update_state(self, counts: tf.Tensor) -> None:
        """Add the `histograms` of a batch."""
        self.sums.assign_add(counts)

    @as_written
    def result(self) -> tf.Tensor:
        """Return the area so far, a float32 scalar."""
        # Counts above each threshold; no probability is above the last one, 1.
        false, true = tf.unstack(tf.cumsum(tf.reshape(tf.convert_to_tensor(self.sums), [2, THRESHOLDS]), axis=1, reverse=True))
        return _roc_area(true, false) if self.curve == "ROC" else _precision_recall_area(true, false)


def histograms(labels: tf.Tensor, probabilities: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Return the number of probabilities between each two thresholds, for labels 0 and then for labels 1: `[2 * THRESHOLDS]`.

    Args:
        labels: 0 or 1, float32 `[...]`.
        probabilities: `[...]`.
        weights: broadcast to the labels; 1 by default.
    """
    # The thresholds are i/199, and a probability strictly above one is positive there: bucket i has (i/199, (i+1)/199].
    bucket = tf.cast(tf.math.ceil(probabilities * (THRESHOLDS - 1)), tf.int32) - 1
    bucket = tf.clip_by_value(bucket, 0, THRESHOLDS - 1) + tf.cast(labels, tf.int32) * THRESHOLDS
    # For this operation, no weights mean 1. It takes a quarter of the time of a segment sum.
    counts = tf.zeros([0]) if weights is None else tf.zeros_like(labels) + weights
    return tf.raw_ops.Bincount(arr=bucket, size=2 * THRESHOLDS, weights=counts)


def _roc_area(true: tf.Tensor, false: tf.Tensor) -> tf.Tensor:
    """Return the sum of the trapezoids under the true positive rate over the false positive rate."""
    rate, false_rate = tf.math.divide_no_nan(true, true[0]), tf.math.divide_no_nan(false, false[0])
    return tf.reduce_sum((false_rate[:-1] - false_rate[1:]) * (rate[:-1] + rate[1:]) / 2)


def _precision_recall_area(true: tf.Tensor, false: tf.Tensor) -> tf.Tensor:
    """Return the interpolated area under precision over recall.

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
    """Return 0 for label 0 and 1 for any other, float32, shape as `labels`."""
    return tf.cast(tf.not_equal(tf.cast(labels, tf.float32), 0), tf.float32)


def mean(key: str, values: Callable[[Any], tf.Tensor], make: type[WeightedMean] = WeightedMean) -> MetricSpec:
    """Return the spec for the mean of `values`, a function of a prepared batch, under the weights of the batch."""
    return MetricSpec(key, make, lambda batch: (values(batch), batch.weights))


def once(values: Callable[[Any], _Value]) -> Callable[[Any], _Value]:
    """Return `values` as a function that computes its result once for each batch, for metrics that share it."""

    def cached(batch: Any) -> _Value:
        if values not in batch.cache:
            batch.cache[values] = values(batch)
        return cast(_Value, batch.cache[values])

    return cached


def confusion(
    label: Callable[[Any], tf.Tensor], positive: Callable[[Any], tf.Tensor], name: Callable[[str], str] = str
) -> list[MetricSpec]:
    """Return the specs for accuracy, precision and recall of boolean predictions.

    Args:
        label: labels from a batch, `[...]`; any label but 0 is positive for precision and recall, as in Keras.
        positive: booleans from a batch, `[...]`.
        name: key of a metric from `accuracy`, `precision` or `recall`.
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
    """Return the specs for the areas under the ROC and the precision-recall curve.

    Args:
        label: labels from a batch, `[...]`; any label but 0 is positive, as in `tf.keras.metrics.AUC`.
        probability: probabilities from a batch, `[...]`.
        name: key of a metric from `auc` or `auc_precision_recall`.
    """
    counts = once(lambda batch: histograms(binary(label(batch)), probability(batch), batch.weights))
    return [
        MetricSpec(name(MetricKeys.AUC), lambda key: CurveArea("ROC", key), lambda batch: (counts(batch),)),
        MetricSpec(name(MetricKeys.AUC_PR), lambda key: CurveArea("PR", key), lambda batch: (counts(batch),)),
    ]


def threshold_names(thresholds: tuple[float, ...]) -> list[str]:
    """Return thresholds as text for metric keys: short (`%g`), or with all digits if two would look the same."""
    short = [f"{threshold:g}" for threshold in thresholds]
    return [repr(threshold) if short.count(f"{threshold:g}") > 1 else f"{threshold:g}" for threshold in thresholds]


def at_thresholds(
    thresholds: tuple[float, ...], label: Callable[[Any], tf.Tensor], probability: Callable[[Any], tf.Tensor]
) -> list[MetricSpec]:
    """Return the specs for accuracy, precision and recall at each threshold; a probability above it is positive."""

    def at(threshold: float, text: str) -> list[MetricSpec]:
        return confusion(label, lambda batch: probability(batch) > threshold, lambda key: MetricKeys.at_threshold(key, text))

    pairs = zip(thresholds, threshold_names(thresholds), strict=True)
    return [spec for threshold, text in pairs for spec in at(threshold, text)]


def of_classes(
    class_ids: tuple[int, ...],
    vocabulary: tuple[str, ...] | None,
    label: Callable[[Any], tf.Tensor],
    probability: Callable[[Any], tf.Tensor],
) -> list[MetricSpec]:
    """Return the specs for mean probability and AUCs of single classes, from labels and probabilities `[..., n_classes]`."""

    def of_class(class_id: int) -> list[MetricSpec]:
        def column(values: Callable[[Any], tf.Tensor]) -> Callable[[Any], tf.Tensor]:
            return lambda batch: values(batch)[..., class_id : class_id + 1]

        def name(key: str) -> str:
            return MetricKeys.at_class(key, class_id, vocabulary[class_id] if vocabulary else None)

        own = column(probability)
        return [mean(name(MetricKeys.PROBABILITY_MEAN), own), *curve_areas(column(label), own, name)]

    return [spec for class_id in class_ids for spec in of_class(class_id)]
