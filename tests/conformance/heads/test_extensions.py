"""What tf.estimator's heads do not have, against formulas in NumPy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import heads
from tests.conformance.heads import graphs
from tests.conformance.heads.cases import VOCABULARY, Batch
from tests.conformance.heads.modes import MODES, Result

pytestmark = pytest.mark.train

SparseTensorValue = tf.compat.v1.SparseTensorValue


def sigmoid_cross_entropy(labels: Any, logits: Any) -> Any:
    return np.log1p(np.exp(np.asarray(logits, np.float64))) - np.asarray(labels) * np.asarray(logits, np.float64)


# --- class weights ---

LOGITS = np.array([[0.5, -1.0, 2.0], [0.0, 1.5, -0.5]], np.float32)
MULTI_HOT = np.array([[1, 0, 1], [0, 1, 1]])
CLASS_WEIGHTS = [2.0, 0.0, 0.5]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size"])
def test_class_weights_weigh_the_classes_of_a_multi_label_loss(mode: str, reduction: str) -> None:
    """`Σ wᵢ·lᵢ / n_classes` for a row, whatever the rows' own weights make of it."""
    rows = np.mean(sigmoid_cross_entropy(MULTI_HOT, LOGITS) * CLASS_WEIGHTS, axis=-1)
    weights = np.array([3.0, 1.0], np.float32)
    head = heads.MultiLabelHead(3, "weight", loss_reduction=reduction, class_weights=np.array(CLASS_WEIGHTS))
    result = MODES[mode](head, [Batch({"weight": weights}, LOGITS, MULTI_HOT)])
    total = np.sum(rows * weights)
    np.testing.assert_allclose(result.losses[0], total if reduction == "sum" else total / 2, rtol=1e-6)
    np.testing.assert_allclose(result.metrics["average_loss"], total / 4, rtol=1e-6)


def test_there_is_a_class_weight_for_each_class() -> None:
    with pytest.raises(ValueError, match=r"class_weights must have one number for each of n_classes=3 .*'tags'.*Given: 2"):
        heads.MultiLabelHead(3, name="tags", class_weights=[1.0, 2.0])


# --- several optimizers ---

# The trunk w is 1, the heads' own weights a and b are 2 and 3; x = 1, labels 0: predictions w·a and w·b.
# L = (wa)² + (wb)²: dL/dw = 2w(a² + b²) = 26, dL/da = 2w²a = 4, dL/db = 2w²b = 6.
START = (1.0, 2.0, 3.0)


def shared_trunk(optimizers: Any, groups: Callable[[Any, Any, Any], Any]) -> Callable[[list[tf.Variable]], Any]:
    def spec(variables: list[tf.Variable]) -> Any:
        w, a, b = variables
        head = heads.MultiHead([heads.RegressionHead(name="a"), heads.RegressionHead(name="b")])
        logits = {"a": tf.matmul(w, a), "b": tf.matmul(w, b)}
        labels = {"a": tf.zeros([1, 1]), "b": tf.zeros([1, 1])}
        return head.create_estimator_spec({}, "train", logits, labels, optimizers(), groups(w, a, b))

    return spec


SGD = {
    "keras": tf.keras.optimizers.SGD,
    "legacy": tf.keras.optimizers.legacy.SGD,
    "v1": tf.compat.v1.train.GradientDescentOptimizer,
}


def numpy_steps(rates: tuple[float, float, float], steps: int) -> list[float]:
    w, a, b = START
    for _ in range(steps):
        gradients = 2 * w * (a**2 + b**2), 2 * w**2 * a, 2 * w**2 * b
        w, a, b = (value - rate * gradient for value, rate, gradient in zip((w, a, b), rates, gradients, strict=True))
    return [w, a, b]


@pytest.mark.parametrize(
    ("trunk", "first", "second"),
    [("keras", "keras", "keras"), ("legacy", "legacy", "legacy"), ("v1", "v1", "v1"), ("v1", "keras", "legacy")],
)
def test_every_group_of_variables_moves_at_the_rate_of_its_optimizer(trunk: str, first: str, second: str) -> None:
    rates = (0.01, 0.1, 0.02)
    spec = shared_trunk(
        lambda: {"trunk": SGD[trunk](rates[0]), "a": SGD[first](rates[1]), "b": SGD[second](rates[2])},
        lambda w, a, b: {"trunk": [w], "a": [a], "b": [b]},
    )
    for steps in (1, 3):
        trained = graphs.train(spec, START, steps)
        np.testing.assert_allclose(trained.weights, numpy_steps(rates, steps), rtol=1e-5)
        assert trained.global_step == steps


def test_one_optimizer_may_have_several_variables_of_several_heads() -> None:
    spec = shared_trunk(
        lambda: {"slow": "sgd", "fast": tf.keras.optimizers.SGD(0.1)}, lambda w, a, b: {"slow": [w], "fast": (a, b)}
    )
    # Keras' SGD has a learning rate of 0.01.
    np.testing.assert_allclose(graphs.train(spec, START).weights, numpy_steps((0.01, 0.1, 0.1), 1), rtol=1e-5)


def test_an_estimator_trains_groups_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    rates = (0.01, 0.1, 0.02)

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        variables = [tf.Variable([[value]], name=name) for name, value in zip("wab", START, strict=True)]
        w, a, b = variables
        head = heads.MultiHead([heads.RegressionHead(name="a"), heads.RegressionHead(name="b")])
        x = tf.matmul(features["x"], w)
        optimizers = {name: tf.keras.optimizers.SGD(rate) for name, rate in zip("wab", rates, strict=True)}
        groups = {"w": [w], "a": [a], "b": [b]}
        return head.create_estimator_spec(features, mode, {"a": x @ a, "b": x @ b}, labels, optimizers, groups)

    def input_fn() -> tf.data.Dataset:
        rows = {"x": [[[1.0]]]}, {"a": [[[0.0]]], "b": [[[0.0]]]}
        return tf.data.Dataset.from_tensor_slices(rows).repeat()

    estimator = tf.estimator.Estimator(model_fn, str(tmp_path))
    estimator.train(input_fn, max_steps=1)
    estimator.train(input_fn, max_steps=3)
    trained = [estimator.get_variable_value(name).item() for name in "wab"]
    np.testing.assert_allclose(trained, numpy_steps(rates, 3), rtol=1e-5)
    assert estimator.get_variable_value("global_step") == 3


@pytest.mark.parametrize(
    ("optimizers", "groups", "message"),
    [
        pytest.param(
            lambda: {"trunk": "sgd", "a": "sgd"},
            lambda w, a, b: {"trunk": [w], "b": [b]},
            r"must have the names of the optimizers, \['a', 'trunk'\]. Given: \['b', 'trunk'\]",
            id="other-names",
        ),
        pytest.param(
            lambda: {"trunk": "sgd"}, lambda w, a, b: [w, a, b], "must have the names of the optimizers.*list", id="list"
        ),
        pytest.param(
            lambda: {"trunk": "sgd", "a": "sgd"},
            lambda w, a, b: {"trunk": [w, a], "a": [a]},
            "must name every variable once",
            id="twice",
        ),
        pytest.param(lambda: {"trunk": "sgd"}, lambda w, a, b: {"trunk": w}, "should be a list or a tuple", id="no-list"),
        pytest.param(
            lambda: {"trunk": "sgd", "a": 0.1},
            lambda w, a, b: {"trunk": [w], "a": [a]},
            "The given optimizer is not",
            id="rate",
        ),
    ],
)
def test_groups_that_do_not_fit_are_refused(optimizers: Any, groups: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        graphs.train(shared_trunk(optimizers, groups), START)


# --- learned loss weights ---


def every_kind() -> list[Any]:
    """All kinds of head with two logits each, where they can have two, and what their losses count."""
    return [
        (heads.BinaryClassHead(name="binary"), 1.0),
        (heads.MultiClassHead(3, name="class"), 1.0),
        (heads.MultiLabelHead(3, name="labels"), 1.0),
        (heads.RegressionHead(name="square"), 0.5),
        (heads.RegressionHead(name="own", loss_fn=lambda labels, logits: tf.abs(labels - logits)), 1.0),
        (heads.PoissonRegressionHead(name="count"), 1.0),
        (heads.LogisticRegressionHead(name="share"), 1.0),
    ]


LABELS = {
    "binary": [[1.0]],
    "class": [[2]],
    "labels": [[1, 0, 1]],
    "square": [[3.0]],
    "own": [[3.0]],
    "count": [[2.0]],
    "share": [[0.25]],
}


def test_uncertainties_start_as_the_sum_of_losses_with_half_of_a_squared_error() -> None:
    kinds = every_kind()
    head = heads.MultiHead([kind for kind, _ in kinds], "uncertainty")
    logits = {kind.name: tf.ones([1, kind.logits_dimension]) for kind, _ in kinds}
    parts = [factor * float(kind.loss(tf.constant(LABELS[kind.name]), logits[kind.name])) for kind, factor in kinds]
    np.testing.assert_allclose(head.loss({k: tf.constant(v) for k, v in LABELS.items()}, logits), sum(parts), rtol=1e-6)


def test_uncertainties_weigh_by_their_variance_and_cost_half_their_logarithm() -> None:
    """`Σ exp(-sᵢ)·cᵢ·Lᵢ + sᵢ/2`, Kendall, Gal and Cipolla (2018), equations 7 and 10."""
    head = heads.MultiHead([heads.RegressionHead(name="a"), heads.BinaryClassHead(name="b")], "uncertainty")
    for variable, value in zip(head.loss_weight_variables, (0.7, -0.3), strict=True):
        variable.assign(value)
    labels = {"a": tf.constant([[1.0]]), "b": tf.constant([[1]])}
    with tf.GradientTape() as tape:
        loss = head.loss(labels, tf.constant([[3.0, 0.0]]))
    expected = np.exp(-0.7) * 0.5 * 4 + 0.7 / 2 + np.exp(0.3) * np.log(2) - 0.3 / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    gradients = tape.gradient(loss, head.loss_weight_variables)
    np.testing.assert_allclose(gradients, [-np.exp(-0.7) * 2 + 0.5, -np.exp(0.3) * np.log(2) + 0.5], rtol=1e-5)


def test_uncertainties_are_the_same_in_a_function_and_outside_it() -> None:
    head = heads.MultiHead([heads.RegressionHead(name="a")], "uncertainty")
    loss = tf.function(lambda logits: head.loss({"a": tf.zeros([1, 1])}, logits))
    assert float(loss(tf.constant([[2.0]]))) == 2.0
    (variable,) = head.loss_weight_variables
    variable.assign(1.0)
    np.testing.assert_allclose(loss(tf.constant([[2.0]])), np.exp(-1) * 2 + 0.5, rtol=1e-6)
    np.testing.assert_allclose(head.loss({"a": tf.zeros([1, 1])}, tf.constant([[2.0]])), np.exp(-1) * 2 + 0.5, rtol=1e-6)


def test_an_estimator_trains_uncertainties_and_evaluates_with_them(tmp_path: Path) -> None:
    """One row, label 0, prediction w = 2: L = 4, ds = -exp(-s)·½·4 + ½, dw = exp(-s)·½·2w."""
    head = heads.MultiHead([heads.RegressionHead(name="my head")], "uncertainty")

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        w = tf.Variable([[2.0]], name="w")
        return head.create_estimator_spec(features, mode, features["x"] @ w, labels, tf.keras.optimizers.SGD(0.1), [w])

    def input_fn() -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(({"x": [[[1.0]]]}, {"my head": [[[0.0]]]})).repeat(2)

    estimator = tf.estimator.Estimator(model_fn, str(tmp_path))
    estimator.train(input_fn, steps=2)
    w, s = 2.0, 0.0
    for _ in range(2):
        w, s = w - 0.1 * np.exp(-s) * w, s - 0.1 * (0.5 - np.exp(-s) * w**2 / 2)
    np.testing.assert_allclose(estimator.get_variable_value("log_variance/my_head"), s, rtol=1e-5)
    np.testing.assert_allclose(estimator.get_variable_value("w"), [[w]], rtol=1e-5)
    evaluated = estimator.evaluate(input_fn)
    np.testing.assert_allclose(evaluated["loss"], np.exp(-s) * w**2 / 2 + s / 2, rtol=1e-5)
    np.testing.assert_allclose(evaluated["loss/my head"], w**2, rtol=1e-5)


def test_head_weights_of_another_word_are_refused() -> None:
    with pytest.raises(ValueError, match=r"head_weights must be numbers, None or .uncertainty.\. Given: 'certainty'"):
        heads.MultiHead([heads.RegressionHead(name="a")], "certainty")


# --- missing labels ---

ROWS = 6
KEPT = np.array([True, False, True, True, False, True])
NONE = np.zeros(ROWS, bool)
WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0, 1.5, 0.25], np.float32)

IDS = np.array([0, 1, 1, 0, 1, 1])
NAMES = np.array(VOCABULARY, object)[[0, 1, 3, 2, 1, 0]][:, None]
TWO_NAMES = np.array(VOCABULARY[:2], object)[IDS][:, None]


def sparse(values: Any) -> Any:
    rows = [[0], [1, 2], [], [3], [0, 3], [2]]
    indices = [(row, place) for row, classes in enumerate(rows) for place in range(len(classes))]
    flat = [value for classes in rows for value in classes]
    dtype = np.int64 if values is None else object
    return SparseTensorValue(
        np.array(indices, np.int64),
        np.array(flat if values is None else [values[i].encode() for i in flat], dtype),
        np.array([ROWS, 2], np.int64),
    )


# Head, labels of all rows, and what says that a row has none: a sentinel, or None for a mask.
MISSING = {
    "binary-minus-one": (heads.BinaryClassHead, IDS[:, None], -1),
    "binary-flat-float-nan": (heads.BinaryClassHead, IDS.astype(np.float32), float("nan")),
    "binary-names-empty": (lambda **k: heads.BinaryClassHead(label_vocabulary=VOCABULARY[:2], **k), TWO_NAMES, ""),
    "binary-mask": (lambda **k: heads.BinaryClassHead(thresholds=[0.3], **k), IDS[:, None], None),
    "class-minus-one": (lambda **k: heads.MultiClassHead(4, **k), np.array([[0], [1], [3], [2], [1], [0]]), -1),
    "class-99": (lambda **k: heads.MultiClassHead(4, **k), np.array([0, 1, 3, 2, 1, 0], np.int32), 99),
    "class-names-empty": (lambda **k: heads.MultiClassHead(4, label_vocabulary=VOCABULARY, **k), NAMES, ""),
    "class-names-mask": (lambda **k: heads.MultiClassHead(4, label_vocabulary=VOCABULARY, thresholds=[0.3], **k), NAMES, None),
    "labels-minus-one": (lambda **k: heads.MultiLabelHead(4, **k), np.eye(4, dtype=np.int64)[[0, 1, 3, 2, 1, 0]], -1),
    "labels-nan": (lambda **k: heads.MultiLabelHead(4, **k), np.eye(4, dtype=np.float32)[[0, 1, 3, 2, 1, 0]], float("nan")),
    "labels-bool-mask": (lambda **k: heads.MultiLabelHead(4, **k), np.eye(4, dtype=bool)[[0, 1, 3, 2, 1, 0]], None),
    "labels-sparse-mask": (lambda **k: heads.MultiLabelHead(4, **k), sparse(None), None),
    "labels-sparse-names-mask": (
        lambda **k: heads.MultiLabelHead(4, label_vocabulary=VOCABULARY, classes_for_class_based_metrics=[1], **k),
        sparse(VOCABULARY),
        None,
    ),
    "regression-nan": (heads.RegressionHead, np.arange(6, dtype=np.float32)[:, None], float("nan")),
    "regression-minus-one": (heads.RegressionHead, np.arange(6), -1),
    "regression-two-mask": (lambda **k: heads.RegressionHead(2, **k), np.arange(12, dtype=np.float32).reshape(6, 2), None),
    "poisson-nan": (heads.PoissonRegressionHead, np.arange(6, dtype=np.float32)[:, None], float("nan")),
    "poisson-minus-one": (heads.PoissonRegressionHead, np.arange(6)[:, None], -1),
    "logistic-nan": (heads.LogisticRegressionHead, np.linspace(0, 1, 6, dtype=np.float32), float("nan")),
    "logistic-mask": (heads.LogisticRegressionHead, np.linspace(0, 1, 6, dtype=np.float32)[:, None], None),
}


MISSING_PARAMETERS = [pytest.param(*case, id=name) for name, case in MISSING.items()]


def marked(labels: Any, keep: np.ndarray, sentinel: Any) -> Any:
    """`labels`, with the sentinel in the rows that are not kept; with a mask, what stands there does not matter."""
    if sentinel is None:
        return labels
    labels = labels.copy()
    labels[~keep] = sentinel
    return labels


def only(value: Any, keep: np.ndarray) -> Any:
    """The rows that are kept."""
    if not isinstance(value, SparseTensorValue):
        return value[keep]
    chosen = keep[value.indices[:, 0]]
    indices = value.indices[chosen]
    indices[:, 0] = (np.cumsum(keep) - 1)[indices[:, 0]]
    return SparseTensorValue(indices, value.values[chosen], np.array([keep.sum(), value.dense_shape[1]], np.int64))


def missing_head(make: Any, sentinel: Any, **arguments: Any) -> Any:
    marks = {"mask_column": "has_label"} if sentinel is None else {"missing_label": sentinel}
    return make(weight_column="weight", **marks, **arguments)


def logits_for(head: Any) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(ROWS, head.logits_dimension)).astype(np.float32)


def features(keep: np.ndarray) -> dict[str, Any]:
    return {"weight": WEIGHTS, "has_label": keep}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("make", "labels", "sentinel"), MISSING_PARAMETERS)
def test_rows_without_a_label_might_as_well_not_be_there(make: Any, labels: Any, sentinel: Any, mode: str) -> None:
    """Loss and metrics of two batches with such rows equal those of the same batches without them."""
    reduction = "sum" if mode == "function" else "sum_over_batch_size"
    head = missing_head(make, sentinel, loss_reduction=reduction)
    plain = make(weight_column="weight", loss_reduction=reduction)
    logits = logits_for(head)
    with_gaps = [Batch(features(keep), logits, marked(labels, keep, sentinel)) for keep in (KEPT, ~KEPT)]
    without = [Batch({"weight": WEIGHTS[keep]}, logits[keep], only(labels, keep)) for keep in (KEPT, ~KEPT)]
    assert_same_but_predictions(MODES[mode](head, with_gaps), MODES[mode](plain, without))


def assert_same_but_predictions(ours: Result, expected: Result) -> None:
    np.testing.assert_allclose(ours.losses, expected.losses, rtol=1e-5)
    assert ours.metrics.keys() == expected.metrics.keys()
    for key, value in expected.metrics.items():
        np.testing.assert_allclose(ours.metrics[key], value, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize(("make", "labels", "sentinel"), MISSING_PARAMETERS)
def test_a_batch_without_any_label_has_loss_0_and_moves_no_metric(make: Any, labels: Any, sentinel: Any) -> None:
    head = missing_head(make, sentinel)
    logits = logits_for(head)
    full, empty = (Batch(features(keep), logits, marked(labels, keep, sentinel)) for keep in (~NONE, NONE))
    (once, nothing, both) = (MODES["eager"](head, data) for data in ([full], [empty], [full, empty]))
    assert nothing.losses == [0.0]
    assert all(np.isfinite(value) for value in nothing.metrics.values())
    assert both.metrics == once.metrics


@pytest.mark.parametrize(("make", "labels", "sentinel"), MISSING_PARAMETERS)
def test_a_row_without_a_label_has_gradient_0(make: Any, labels: Any, sentinel: Any) -> None:
    head = missing_head(make, sentinel)
    logits = tf.constant(logits_for(head))
    given = marked(labels, KEPT, sentinel)
    given = tf.SparseTensor(*given) if isinstance(given, SparseTensorValue) else tf.constant(given)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = head.loss(given, logits, {"weight": tf.constant(WEIGHTS), "has_label": tf.constant(KEPT)})
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~KEPT], 0)
    assert np.any(gradient[KEPT] != 0, axis=-1).all()


def test_no_kind_of_head_is_missing_from_the_missing_labels() -> None:
    kinds = {type(make()).__name__ for make, _, _ in MISSING.values()}
    assert kinds == {name for name in heads.__all__ if name.endswith("Head")} - {"Head", "SingleHead", "MultiHead"}


def test_a_regression_leaves_out_the_missing_value_alone() -> None:
    """Errors of 1, 2 and 4, the fourth value has none: the mean is over three."""
    head = heads.RegressionHead(2, missing_label=float("nan"))
    labels = tf.constant([[0.0, 0.0], [np.nan, 0.0]])
    logits = tf.constant([[1.0, 2.0], [8.0, 4.0]])
    assert float(head.loss(labels, logits)) == pytest.approx((1 + 4 + 16) / 3)
    metrics = head.update_metrics(head.metrics(), None, logits, labels)
    assert float(metrics["average_loss"].result()) == pytest.approx((1 + 4 + 16) / 3)
    assert float(metrics["prediction/mean"].result()) == pytest.approx((1 + 2 + 4) / 3)


def test_one_missing_class_takes_the_whole_row_of_a_multi_label_head() -> None:
    head = heads.MultiLabelHead(2, missing_label=-1)
    assert float(head.loss(tf.constant([[1, -1], [1, 0]]), tf.constant([[9.0, 9.0], [0.0, 0.0]]))) == pytest.approx(np.log(2))


def test_ragged_labels_may_have_a_mask() -> None:
    head = heads.MultiLabelHead(3, label_vocabulary=VOCABULARY[:3], mask_column="known")
    labels = tf.ragged.constant([["ant", "cat"], [], ["bee"]])
    loss = head.loss(labels, tf.zeros([3, 3]) + 1, {"known": tf.constant([True, False, True])})
    expected = np.mean(sigmoid_cross_entropy([[1, 0, 1], [0, 1, 0]], np.ones([2, 3])))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("form", ["sparse", "ragged"])
def test_a_sentinel_among_labels_without_one_for_each_row_is_refused(form: str) -> None:
    ragged = tf.ragged.constant([[0], [1]])
    labels = ragged.to_sparse() if form == "sparse" else ragged
    with pytest.raises(ValueError, match=r"missing_label needs dense labels \(head 'tags'\).*Use mask_column"):
        heads.MultiLabelHead(2, missing_label=-1, name="tags").loss(labels, tf.zeros([2, 2]))


def test_sentinel_and_mask_may_both_say_so() -> None:
    head = heads.RegressionHead(missing_label=-1, mask_column="known")
    known = tf.constant([[1], [1], [0]])
    # Only the first row has a label by both.
    assert float(head.loss(tf.constant([[1.0], [-1.0], [5.0]]), tf.zeros([3, 1]), {"known": known})) == 1.0


def test_a_mask_that_is_no_feature_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"mask_column 'known' must be among the features \(head 'a'\).*Given features: \['x'\]"
    ):
        heads.RegressionHead(mask_column="known", name="a").loss([[1.0]], [[1.0]], {"x": 1})


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask shape must be \[D0, D1, ... DN\] or .*got \(3, 1\)"):
        heads.RegressionHead(mask_column="known").loss([[1.0]], [[1.0]], {"known": tf.ones([3, 1])})


def test_heads_of_one_network_may_have_labels_in_different_rows() -> None:
    """Each head's mean is over its own rows: (4 + 0) / 1 and (1 + 9) / 2."""
    head = heads.MultiHead([heads.RegressionHead(name=name, missing_label=float("nan")) for name in "ab"])
    labels = {"a": tf.constant([[0.0], [np.nan], [np.nan]]), "b": tf.constant([[np.nan], [0.0], [0.0]])}
    logits = tf.constant([[2.0, 7.0], [7.0, 1.0], [7.0, 3.0]])
    assert float(head.loss(labels, logits)) == 4 + 5
    metrics = head.update_metrics(head.metrics(), {}, logits, labels)
    assert {key: float(metric.result()) for key, metric in metrics.items() if "loss" in key} == {
        "loss/a": 4.0,
        "average_loss/a": 4.0,
        "loss/b": 5.0,
        "average_loss/b": 5.0,
    }


def test_steps_of_sequences_may_have_no_label() -> None:
    head = heads.SequentialHeadWrapper(heads.RegressionHead(missing_label=float("nan")))
    labels = tf.constant([[[0.0], [np.nan]], [[0.0], [9.0]]])
    mask = {"sequence_length_mask": tf.constant([[True, True], [True, False]])}
    assert float(head.loss(labels, tf.constant([[[1.0], [5.0]], [[3.0], [5.0]]]), mask)) == (1 + 9) / 2


# --- forwarded features ---


def predict(head: Any, width: int, given: dict[str, Any] | None = None) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Predictions and the outputs of every predict signature, run on two rows."""

    def build() -> Any:
        features = {name: tf.constant(value) for name, value in (given or {"id": [7, 8], "key": [["p"], ["q"]]}).items()}
        spec = head.create_estimator_spec(features, "infer", tf.zeros([2, width]))
        outputs = {name: dict(output.outputs) for name, output in spec.export_outputs.items() if hasattr(output, "outputs")}
        return dict(spec.predictions), outputs

    predictions, outputs = graphs.run(build)
    return predictions, outputs


def test_features_are_given_out_with_predictions() -> None:
    predictions, outputs = predict(heads.RegressionHead(forward_features=["id", "key"]), 1)
    assert list(predictions) == ["predictions", "id", "key"]
    assert predictions["id"].tolist() == outputs["predict"]["id"].tolist() == [7, 8]
    assert predictions["key"].tolist() == outputs["predict"]["key"].tolist() == [[b"p"], [b"q"]]


def test_a_multi_head_gives_out_its_features_and_those_of_its_heads_once() -> None:
    parts = [heads.RegressionHead(name="a", forward_features="id"), heads.BinaryClassHead(name="b", forward_features=["id"])]
    predictions, outputs = predict(heads.MultiHead(parts, forward_features=["key"]), 2)
    assert {key for key in predictions if isinstance(key, str)} == {"id", "key"}
    assert set(outputs) == {"predict", "a/predict", "b/predict"}
    assert set(outputs["predict"]) >= {"id", "key", "a/predictions", "b/logistic"}
    assert outputs["a/predict"]["id"].tolist() == [7, 8]


def test_losses_and_evaluation_do_not_have_the_features() -> None:
    head = heads.RegressionHead(forward_features=["id"])
    assert list(head.predictions([[1.0]])) == ["predictions"]
    assert list(graphs.evaluate(lambda: head.create_estimator_spec({}, "eval", tf.zeros([1, 1]), tf.ones([1, 1])))) == [
        "average_loss",
        "prediction/mean",
        "label/mean",
    ]


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        pytest.param(["id", "odd"], {"id": [1, 2]}, r"Missing: \['odd'\]. Given features: \['id'\]", id="missing"),
        pytest.param(["logits"], {"logits": [1, 2]}, r"must not have the names of predictions: \['logits'\]", id="clash"),
    ],
)
def test_features_that_can_not_be_given_out_are_refused(names: list[str], given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predict(heads.BinaryClassHead(forward_features=names), 1, given)


def test_a_feature_must_not_have_the_name_of_an_output_of_a_multi_head() -> None:
    head = heads.MultiHead([heads.RegressionHead(name="a")], forward_features=["a/predictions"])
    with pytest.raises(ValueError, match=r"must not have the names of predictions: \['a/predictions'\]"):
        predict(head, 1, {"a/predictions": [1, 2]})


# --- per-class and per-threshold metrics of a multi-class head ---

CLASS_LOGITS = np.random.default_rng(5).normal(size=(40, 4)).astype(np.float32) * 2
CLASS_IDS = np.random.default_rng(6).integers(0, 4, (40, 1))
EXTRA = {"thresholds": [0.2, 0.5], "classes_for_class_based_metrics": ["bee", 3], "label_vocabulary": VOCABULARY}


def area_under_roc(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> float:
    """How probable it is that a positive has a higher probability than a negative, both drawn by their weights."""
    positive = truth == 1
    higher = probabilities[positive][:, None] > probabilities[~positive]
    pairs = weights[positive][:, None] * weights[~positive]
    return float(np.sum(pairs * higher) / np.sum(pairs))


@pytest.mark.parametrize("mode", MODES)
def test_a_multi_class_head_measures_each_class_against_the_others(mode: str) -> None:
    names = np.array(VOCABULARY, object)[CLASS_IDS]
    weights = np.random.default_rng(8).uniform(0.2, 3, 40).astype(np.float32)
    data = [
        Batch({"weight": weights[part]}, CLASS_LOGITS[part], names[part])
        for part in (slice(0, 15), slice(15, 16), slice(16, 40))
    ]
    metrics = MODES[mode](heads.MultiClassHead(4, "weight", **EXTRA), data).metrics
    probabilities = np.exp(CLASS_LOGITS) / np.exp(CLASS_LOGITS).sum(-1, keepdims=True)
    truth = np.eye(4)[CLASS_IDS[:, 0]]
    for threshold in (0.2, 0.5):
        positive, each = probabilities > threshold, weights[:, None] * np.ones(4)
        suffix = f"positive_threshold_{threshold:g}"
        hits = np.sum(each * positive * truth)
        expected = {
            f"accuracy/{suffix}": np.sum(each * (positive == truth)) / np.sum(each),
            f"precision/{suffix}": hits / np.sum(each * positive),
            f"recall/{suffix}": hits / np.sum(each * truth),
        }
        for key, value in expected.items():
            np.testing.assert_allclose(metrics[key], value, rtol=1e-5, err_msg=key)
    for class_id, name in ((1, "bee"), (3, "dog")):
        mean = np.average(probabilities[:, class_id], weights=weights)
        np.testing.assert_allclose(metrics[f"probability_mean/{name}"], mean, rtol=1e-5)
        # 200 thresholds against every one.
        area = area_under_roc(truth[:, class_id], probabilities[:, class_id], weights)
        np.testing.assert_allclose(metrics[f"auc/{name}"], area, atol=0.01)
        for curve, key in (("ROC", "auc"), ("PR", "auc_precision_recall")):
            keras = tf.keras.metrics.AUC(curve=curve)
            keras.update_state(truth[:, class_id], probabilities[:, class_id], weights)
            np.testing.assert_allclose(metrics[f"{key}/{name}"], keras.result(), rtol=1e-5)


def test_metrics_of_classes_without_names_have_their_numbers() -> None:
    head = heads.MultiClassHead(3, classes_for_class_based_metrics=[2], name="kind")
    assert sorted(key for key in head.metrics() if "class2" in key) == [
        "auc/class2/kind",
        "auc_precision_recall/class2/kind",
        "probability_mean/class2/kind",
    ]
