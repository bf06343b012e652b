from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from heads import metrics
from heads.metrics import CurveArea, MajorityBaseline, MetricSpec, WeightedMean

Batch = tuple[Any, Any, Any]


class TestWeightedMean:
    def test_is_0_at_first(self) -> None:
        assert float(WeightedMean().result()) == 0.0

    def test_weighs_examples_not_batches(self) -> None:
        mean = WeightedMean()
        mean.update_state(tf.constant([[1.0], [2.0]]), tf.constant([[1.0], [3.0]]))
        mean.update_state(tf.constant([[4.0]]), tf.constant([[4.0]]))
        assert float(mean.result()) == (1 + 6 + 16) / 8

    def test_takes_a_weight_of_1_where_none_is_given(self) -> None:
        mean = WeightedMean()
        mean.update_state(tf.constant([[True], [False], [True]]))
        mean.update_state(tf.constant([0, 0, 1, 1, 1]))
        assert float(mean.result()) == 5 / 8

    def test_broadcasts_weights(self) -> None:
        mean = WeightedMean()
        mean.update_state(tf.constant([[1.0, 3.0], [5.0, 7.0]]), tf.constant([[1.0], [2.0]]))
        assert float(mean.result()) == pytest.approx((4 + 24) / 6)

    def test_leaves_out_what_is_nan_under_weight_0(self) -> None:
        mean = WeightedMean()
        mean.update_state(tf.constant([np.nan, 3.0]), tf.constant([0.0, 1.0]))
        assert float(mean.result()) == 3.0

    def test_takes_empty_batches_and_starts_anew_when_reset(self) -> None:
        mean = WeightedMean()
        mean.update_state(tf.constant([3.0]))
        mean.update_state(tf.zeros([0, 1]), tf.zeros([0, 1]))
        assert float(mean.result()) == 3.0
        mean.reset_state()
        assert float(mean.result()) == 0.0


def test_the_majority_baseline_is_that_of_the_more_frequent_class_over_all_batches() -> None:
    baseline = MajorityBaseline()
    baseline.update_state(tf.constant([[1.0], [1.0]]), tf.constant([[1.0], [1.0]]))
    assert float(baseline.result()) == 1.0
    baseline.update_state(tf.constant([[0.0]]), tf.constant([[6.0]]))
    assert float(baseline.result()) == 6 / 8


def area(curve: Literal["ROC", "PR"], batches: list[Batch]) -> float:
    """Return our area from labels, probabilities and weights."""
    ours = CurveArea(curve)
    for labels, probabilities, weights in batches:
        given = None if weights is None else tf.constant(weights, tf.float32)
        ours.update_state(metrics.histograms(metrics.binary(labels), tf.constant(probabilities, tf.float32), given))
    return float(ours.result())


def keras_area(curve: Literal["ROC", "PR"], batches: list[Batch]) -> float:
    theirs = tf.keras.metrics.AUC(curve=curve)
    for labels, probabilities, weights in batches:
        # Keras' own reads any label but 0 as positive in Keras 2, and refuses soft ones nowhere.
        flat = np.broadcast_to(1.0 if weights is None else weights, np.shape(labels)).ravel()
        theirs.update_state(np.ravel(labels) != 0, np.ravel(probabilities), flat)
    return float(theirs.result())


def random(seed: int, rows: int, weighted: bool = False, digits: int | None = None) -> Batch:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (rows, 1))
    probabilities = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    probabilities = probabilities if digits is None else np.round(probabilities, digits)
    return labels, probabilities.astype(np.float32), rng.uniform(0.1, 5, (rows, 1)).astype(np.float32) if weighted else None


# Keras divides the unit interval at i/199.
ON_THRESHOLDS = (np.arange(200, dtype=np.float32) / np.float32(199))[:, None]

AREAS = {
    "random": [random(0, 100)],
    "weighted": [random(1, 100, weighted=True)],
    "several-batches": [random(2, 50), random(3, 1), random(4, 80)],
    "several-weighted-batches": [random(5, 50, weighted=True), random(6, 1, weighted=True), random(7, 80, weighted=True)],
    "ties": [random(8, 300, weighted=True, digits=1)],
    "perfect": [([[0], [0], [1], [1]], [[0.1], [0.2], [0.8], [0.9]], None)],
    "reversed": [([[1], [1], [0], [0]], [[0.1], [0.2], [0.8], [0.9]], None)],
    "constant": [([[0], [1], [1]], [[0.5], [0.5], [0.5]], None)],
    "0-and-1": [([[0], [1], [0], [1]], [[0.0], [1.0], [1.0], [0.0]], [[1.0], [2.0], [3.0], [4.0]])],
    "all-0": [([[0], [1]], [[0.0], [0.0]], None)],
    "all-1": [([[0], [1]], [[1.0], [1.0]], None)],
    "on-thresholds": [(np.arange(200)[:, None] % 3 == 0, ON_THRESHOLDS, None)],
    "next-to-thresholds": [
        (np.arange(200)[:, None] % 3 == 0, np.nextafter(ON_THRESHOLDS, np.float32(0)), None),
        (np.arange(200)[:, None] % 2 == 0, np.minimum(np.nextafter(ON_THRESHOLDS, np.float32(1)), 1), None),
    ],
    "no-positives": [([[0], [0]], [[0.1], [0.9]], None)],
    "no-negatives": [([[1], [1]], [[0.1], [0.9]], None)],
    "weight-0": [([[0], [1]], [[0.9], [0.1]], [[0.0], [0.0]])],
    "weight-0-for-some": [([[0], [1], [1]], [[0.9], [0.1], [0.95]], [[1.0], [0.0], [1.0]])],
    "many-classes": [(np.eye(4)[[0, 1, 3]], np.linspace(0.05, 0.95, 12).reshape(3, 4), [[1.0], [2.0], [3.0]])],
    "rank-3": [(np.arange(12).reshape(2, 3, 2) % 2, np.linspace(0, 1, 12).reshape(2, 3, 2), None)],
    "soft-labels": [([[0.0], [0.3], [0.9]], [[0.2], [0.7], [0.1]], None)],
    "small-weights": [(*random(10, 50)[:2], np.linspace(1e-4, 2e-3, 50)[:, None])],
    "negative-weights": [(*random(11, 40)[:2], np.linspace(3, -1, 40)[:, None])],
    "empty-batch": [random(9, 20), ([[]], [[]], None)],
    "nothing": [],
}


@pytest.mark.parametrize("batches", [pytest.param(batches, id=name) for name, batches in AREAS.items()])
@pytest.mark.parametrize("curve", ["ROC", "PR"])
def test_areas_are_those_of_keras(curve: Literal["ROC", "PR"], batches: list[Batch]) -> None:
    np.testing.assert_allclose(area(curve, batches), keras_area(curve, batches), rtol=1e-5, atol=1e-6)


def test_probabilities_beyond_0_and_1_count_in_the_first_and_the_last_interval() -> None:
    counts = metrics.histograms(tf.constant([0.0, 0.0, 1.0]), tf.constant([1.02, -0.02, 1.02])).numpy()
    assert np.flatnonzero(counts).tolist() == [0, 199, 399]


def test_an_area_starts_at_0_when_reset() -> None:
    ours = CurveArea()
    assert ours.curve == "ROC"
    ours.update_state(metrics.histograms(tf.constant([0.0, 1.0]), tf.constant([0.9, 0.1])))
    ours.reset_state()
    ours.update_state(metrics.histograms(tf.constant([0.0, 1.0]), tf.constant([0.1, 0.9])))
    assert float(ours.result()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "roc", "pr"),
    [
        ("perfect", 1.0, 1.0),
        ("reversed", 0.0, None),
        ("constant", 0.5, 2 / 3),
        ("no-positives", 0.0, 0.0),
        ("no-negatives", 0.0, 1.0),
    ],
)
def test_known_areas(name: str, roc: float, pr: float | None) -> None:
    assert area("ROC", AREAS[name]) == pytest.approx(roc, abs=1e-6)
    if pr is not None:
        assert area("PR", AREAS[name]) == pytest.approx(pr, abs=1e-6)


@pytest.mark.parametrize(
    ("thresholds", "names"),
    [
        pytest.param((0.5, 0.25), ["0.5", "0.25"], id="short"),
        pytest.param((1 / 3,), ["0.333333"], id="six-digits"),
        pytest.param((0.1234567, 0.1234568, 0.5), ["0.1234567", "0.1234568", "0.5"], id="that-look-the-same"),
    ],
)
def test_thresholds_have_names_of_their_own(thresholds: tuple[float, ...], names: list[str]) -> None:
    assert metrics.threshold_names(thresholds) == names


@pytest.mark.parametrize(
    ("make", "arguments", "name"),
    [
        (WeightedMean, (), "mean"),
        (WeightedMean, ("x",), "x"),
        (MajorityBaseline, ("x",), "x"),
        (CurveArea, (), "auc"),
        (CurveArea, ("PR", "x"), "x"),
    ],
)
def test_a_metric_and_its_sums_have_names(make: type[metrics.Fold], arguments: tuple[str, ...], name: str) -> None:
    metric = make(*arguments)
    assert metric.name == name
    assert metric.sums.name.partition(":")[0] == "sums"


def test_sums_are_float32_whatever_the_floats_of_keras() -> None:
    floats = tf.keras.backend.floatx()
    tf.keras.backend.set_floatx("float64")
    try:
        mean = WeightedMean()
    finally:
        tf.keras.backend.set_floatx(floats)
    assert (mean.dtype, tf.as_dtype(mean.sums.dtype)) == ("float32", tf.float32)


class Prepared(NamedTuple):
    """What the specs read of a prepared batch."""

    labels: np.ndarray[Any, Any]
    probabilities: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any] | None
    cache: dict[Any, Any]


def prepared(seed: int, columns: int, weighted: bool) -> Prepared:
    """Return 50 rows with labels 0, 0.5 (soft), 1 and probabilities that depend on them."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 0.5, 1], (50, columns)).astype(np.float32)
    probabilities = np.clip(rng.normal(0.3 + 0.4 * labels, 0.2), 0, 1).astype(np.float32)
    weights = rng.uniform(0.1, 5, (50, 1)).astype(np.float32) if weighted else None
    return Prepared(labels, probabilities, weights, {})


def label_of(batch: Prepared) -> tf.Tensor:
    return tf.constant(batch.labels)


def probability_of(batch: Prepared) -> tf.Tensor:
    return tf.constant(batch.probabilities)


def evaluated(specs: list[MetricSpec], batches: list[Prepared]) -> dict[str, float]:
    """Return the values of the metrics by key."""
    values = {}
    for spec in specs:
        metric = spec.make(metrics.metric_name(spec.key))
        assert metric.name == metrics.metric_name(spec.key)
        for batch in batches:
            metric.update_state(*spec.inputs(batch))
        values[spec.key] = float(metric.result())
    return values


def all_rows(batches: list[Prepared]) -> tuple[Any, Any, Any]:
    """Return labels, probabilities and weights of all batches."""
    labels = np.concatenate([batch.labels for batch in batches])
    weights = [np.broadcast_to(1 if batch.weights is None else batch.weights, batch.labels.shape) for batch in batches]
    return labels, np.concatenate([batch.probabilities for batch in batches]), np.concatenate(weights)


def confusion_of(batches: list[Prepared], threshold: float, name: str = "{}") -> dict[str, float]:
    """Return accuracy, precision and recall, computed with NumPy."""
    labels, probabilities, weights = all_rows(batches)
    positive, actual = probabilities > threshold, labels != 0
    return {
        name.format("accuracy"): np.average(labels == positive, weights=weights),
        name.format("precision"): np.average(actual, weights=weights * positive),
        name.format("recall"): np.average(positive, weights=weights * actual),
    }


def areas_of(batches: list[Prepared], column: slice = slice(None), name: str = "{}") -> dict[str, float]:
    """Return the areas under both curves, computed with Keras."""
    rows = [tuple(values[:, column] for values in all_rows(batches))]
    return {name.format("auc"): keras_area("ROC", rows), name.format("auc_precision_recall"): keras_area("PR", rows)}


@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "unweighted"])
class TestSpecs:
    def test_mean(self, weighted: bool) -> None:
        batches = [prepared(20, 2, weighted), prepared(21, 2, weighted)]
        specs = [metrics.mean("label/mean", label_of), metrics.mean("accuracy_baseline", label_of, MajorityBaseline)]
        labels, _, weights = all_rows(batches)
        expected = np.average(labels, weights=weights)
        values = {"label/mean": expected, "accuracy_baseline": max(expected, 1 - expected)}
        assert evaluated(specs, batches) == pytest.approx(values, rel=1e-5)

    def test_confusion(self, weighted: bool) -> None:
        batches = [prepared(22, 1, weighted), prepared(23, 1, weighted)]
        specs = metrics.confusion(label_of, lambda batch: probability_of(batch) > 0.4)
        assert evaluated(specs, batches) == pytest.approx(confusion_of(batches, 0.4), rel=1e-5)

    def test_curve_areas(self, weighted: bool) -> None:
        batches = [prepared(24, 2, weighted), prepared(25, 2, weighted)]
        specs = metrics.curve_areas(label_of, probability_of)
        assert evaluated(specs, batches) == pytest.approx(areas_of(batches), rel=1e-5)

    def test_at_thresholds(self, weighted: bool) -> None:
        batches = [prepared(26, 3, weighted), prepared(27, 3, weighted)]
        batches[0].probabilities[:10] = 0.25  # a probability on the threshold is negative
        specs = metrics.at_thresholds((0.25, 0.7), label_of, probability_of)
        expected = {
            key: value
            for threshold in (0.25, 0.7)
            for key, value in confusion_of(batches, threshold, f"{{}}/positive_threshold_{threshold}").items()
        }
        assert evaluated(specs, batches) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize(
        ("vocabulary", "names"), [(None, {0: "class0", 2: "class2"}), (("a", "b", "c"), {0: "a", 2: "c"})], ids=["ids", "names"]
    )
    def test_of_classes(self, weighted: bool, vocabulary: tuple[str, ...] | None, names: dict[int, str]) -> None:
        batches = [prepared(28, 3, weighted), prepared(29, 3, weighted)]
        specs = metrics.of_classes((0, 2), vocabulary, label_of, probability_of)
        _, probabilities, weights = all_rows(batches)
        expected = {}
        for column, name in names.items():
            mean = np.average(probabilities[:, column], weights=weights[:, column])
            expected |= {f"probability_mean/{name}": mean}
            expected |= areas_of(batches, slice(column, column + 1), f"{{}}/{name}")
        assert evaluated(specs, batches) == pytest.approx(expected, rel=1e-5)


def test_a_metric_inside_multi_heads_reads_the_batch_of_its_head() -> None:
    batch = prepared(30, 1, True)
    spec = metrics.mean("label/mean", label_of).inside("inner").inside("outer")
    values, weights = spec.inputs({"outer": {"inner": batch}})
    assert (spec.key, spec.head, weights is batch.weights) == ("label/mean", "outer/inner", True)
    np.testing.assert_array_equal(values, batch.labels)


def test_a_shared_value_is_computed_once_for_each_batch() -> None:
    computed = []
    share = metrics.once(lambda batch: computed.append(batch) or len(computed))
    one, other = prepared(31, 1, False), prepared(32, 1, False)
    assert [share(batch) for batch in (one, one, other, one)] == [1, 1, 2, 1]
    assert computed == [one, other]


def test_names_of_metrics_have_no_slashes() -> None:
    assert metrics.metric_name("loss/a_b/a") == "loss_a_b_a"
