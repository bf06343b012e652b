"""Every known fault of tf.estimator's heads: what it does there, and what is right.

A test is a scenario that takes the library (`heads` or `tf.estimator`), what comes of it on tf.estimator's heads, a wrong value
or a crash, and what must come of it on ours, with the numbers worked out in view.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

import heads
from tests.conformance.heads import graphs

pytestmark = pytest.mark.train

LOG2 = 0.6931472  # sigmoid cross entropy at logit 0


class Raises(NamedTuple):
    """That a scenario raises: the exception's type, and a pattern its message holds."""

    error: type[Exception]
    message: str


def fault(scenario: Callable[[ModuleType], Any], *, upstream: Any, ours: Any) -> None:
    """Checks that the scenario comes to `upstream` with tf.estimator, and to `ours`, which is something else, with `heads`."""
    assert not same(upstream, ours)
    check(scenario, tf.estimator, upstream)
    check(scenario, heads, ours)


def check(scenario: Callable[[ModuleType], Any], library: ModuleType, expected: Any) -> None:
    if isinstance(expected, Raises):
        with pytest.raises(expected.error, match=expected.message):
            scenario(library)
    else:
        got = scenario(library)
        assert same(got, expected), f"{library.__name__}: expected {expected}, got {got}"


def same(left: Any, right: Any) -> bool:
    """Whether two values of a scenario are equal, floats to six digits."""
    if isinstance(left, Raises) or isinstance(right, Raises):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, float) or isinstance(right, float):
        return left == pytest.approx(right, rel=1e-5, nan_ok=True)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def two(library: ModuleType, head_weights: Any = None) -> Any:
    """Two regressions, a and b, with one logit each."""
    return library.MultiHead([library.RegressionHead(name="a"), library.RegressionHead(name="b")], head_weights)


def zeros(*names: str) -> dict[str, Any]:
    return {name: tf.zeros([1, 1]) for name in names}


# --- loss ---


@pytest.mark.parametrize(
    ("kind", "arguments", "label", "logits", "expected"),
    [
        pytest.param("BinaryClassHead", {}, [[1]], [[0.0]], LOG2, id="binary"),
        pytest.param("MultiClassHead", {"n_classes": 3}, [[1]], [[0.0] * 3], float(np.log(3)), id="multi-class"),
        pytest.param("MultiLabelHead", {"n_classes": 2}, [[1, 0]], [[0.0] * 2], LOG2, id="multi-label"),
        pytest.param("RegressionHead", {}, [[1.0]], [[3.0]], 4.0, id="regression"),
        pytest.param("PoissonRegressionHead", {}, [[1.0]], [[0.0]], 1.0, id="poisson"),
        pytest.param("LogisticRegressionHead", {}, [[1.0]], [[0.0]], LOG2, id="logistic"),
    ],
)
def test_loss_needs_no_features(kind: str, arguments: dict[str, Any], label: Any, logits: Any, expected: float) -> None:
    def scenario(library: ModuleType) -> Any:
        return getattr(library, kind)(**arguments).loss(tf.constant(label), tf.constant(logits)).numpy().tolist()

    fault(scenario, upstream=Raises(AttributeError, "'NoneType' object has no attribute 'values'"), ours=expected)


def test_multi_head_loss_needs_no_features() -> None:
    def scenario(library: ModuleType) -> Any:
        return two(library).loss(zeros("a", "b"), tf.constant([[1.0, 3.0]])).numpy().tolist()

    fault(scenario, upstream=Raises(AttributeError, "'NoneType' object has no attribute 'values'"), ours=1.0 + 9.0)


def test_no_regularization_losses_are_an_empty_list() -> None:
    def scenario(library: ModuleType) -> Any:
        loss = library.RegressionHead().loss(tf.constant([[1.0]]), tf.constant([[3.0]]), {}, regularization_losses=[])
        return loss.numpy().tolist()

    fault(scenario, upstream=Raises(ValueError, "Inputs must be an iterable of at least one Tensor"), ours=4.0)


def test_no_regularization_losses_are_an_empty_list_in_a_training_spec() -> None:
    def scenario(library: ModuleType) -> Any:
        def build() -> Any:
            spec = library.RegressionHead().create_estimator_spec(
                {},
                "train",
                tf.constant([[3.0]]),
                tf.constant([[1.0]]),
                train_op_fn=tf.identity,
                regularization_losses=[],
            )
            return spec.loss

        return graphs.run(build).tolist()

    fault(scenario, upstream=Raises(ValueError, "Inputs must be an iterable of at least one Tensor"), ours=4.0)


def test_losses_leave_the_loss_collection_alone() -> None:
    """tf.estimator's regression adds its loss there, twice over in a training loop that sums the collection."""

    def scenario(library: ModuleType) -> Any:
        with tf.Graph().as_default() as graph:
            library.RegressionHead().loss(tf.zeros([2, 1]), tf.zeros([2, 1]), {})
            return len(graph.get_collection(tf.compat.v1.GraphKeys.LOSSES))

    fault(scenario, upstream=1, ours=0)


def test_negative_labels_of_a_poisson_regression_are_refused() -> None:
    def scenario(library: ModuleType) -> Any:
        return library.PoissonRegressionHead().loss(tf.constant([[-2.0]]), tf.constant([[3.0]]), {}).numpy().tolist()

    fault(
        scenario, upstream=float("nan"), ours=Raises(ValueError, r"Labels of a Poisson regression must be >= 0.* Got \[-2\.\]")
    )


# --- metrics ---


def test_eager_multi_head_metrics_accumulate() -> None:
    """Errors of 1 and 3 in two batches: the mean square is (1 + 9) / 2, the mean prediction (1 + 3) / 2."""

    def scenario(library: ModuleType) -> Any:
        head = library.MultiHead([library.RegressionHead(name="a")])
        metrics = head.metrics()
        for logit in (1.0, 3.0):
            metrics = head.update_metrics(metrics, {}, {"a": tf.constant([[logit]])}, zeros("a"))
        return {key: float(metric.result()) for key, metric in metrics.items()}

    right = {"loss/a": 5.0, "average_loss/a": 5.0, "prediction/mean/a": 2.0, "label/mean/a": 0.0}
    fault(scenario, upstream={**right, "average_loss/a": 9.0, "prediction/mean/a": 3.0}, ours=right)


def test_multi_head_metrics_are_all_there_from_the_start() -> None:
    def scenario(library: ModuleType) -> Any:
        return sorted(library.MultiHead([library.RegressionHead(name="a")]).metrics())

    fault(scenario, upstream=["loss/a"], ours=["average_loss/a", "label/mean/a", "loss/a", "prediction/mean/a"])


def test_metrics_are_built_once() -> None:
    """A spec of two heads has the variables of two heads with three means each, and of their two losses."""

    def variables(head: Any, labels: Callable[[], Any]) -> int:
        with tf.Graph().as_default() as graph:
            head.create_estimator_spec({}, "eval", tf.zeros([1, head.logits_dimension]), labels())
            found = [operation for operation in graph.get_operations() if operation.type == "VarHandleOp"]
            # They are all where an Estimator finds them when it starts an evaluation.
            assert len(found) == len(graph.get_collection(tf.compat.v1.GraphKeys.METRIC_VARIABLES))
            assert len(found) == len(tf.compat.v1.local_variables())
            return len(found)

    def scenario(library: ModuleType) -> Any:
        three_means = variables(library.RegressionHead(), lambda: tf.zeros([1, 1]))
        return variables(two(library), lambda: zeros("a", "b")) - 2 * three_means - 2 * three_means // 3

    fault(scenario, upstream=12, ours=0)


def test_accuracy_baseline_of_a_function_can_be_read_outside_it() -> None:
    def scenario(library: ModuleType) -> Any:
        head = library.BinaryClassHead()
        metrics = head.metrics()

        @tf.function
        def step(logits: Any, labels: Any) -> None:
            head.update_metrics(metrics, {}, logits, labels)

        step(tf.constant([[1.0], [2.0], [2.0]]), tf.constant([[1.0], [0.0], [0.0]]))
        step(tf.constant([[1.0]]), tf.constant([[0.0]]))
        return float(metrics["accuracy_baseline"].result())

    fault(scenario, upstream=Raises(TypeError, "is out of scope and cannot be used here"), ours=3 / 4)


def test_thresholds_that_agree_in_six_digits_have_metrics_of_their_own() -> None:
    def scenario(library: ModuleType) -> Any:
        head = library.BinaryClassHead(thresholds=[0.1234567, 0.1234568, 0.5])
        return sorted(key for key in head.metrics() if key.startswith("recall/"))

    fault(
        scenario,
        upstream=["recall/positive_threshold_0.123457", "recall/positive_threshold_0.5"],
        ours=["recall/positive_threshold_0.1234567", "recall/positive_threshold_0.1234568", "recall/positive_threshold_0.5"],
    )


def test_thresholds_that_agree_in_six_digits_measure_their_own() -> None:
    """A probability of 0.12345675 lies above the first threshold alone."""

    def scenario(library: ModuleType) -> Any:
        head = library.MultiLabelHead(2, thresholds=[0.1234567, 0.1234568])
        probability = 0.12345675
        logits = tf.constant([[np.log(probability / (1 - probability)), -9.0]], tf.float32)
        metrics = head.update_metrics(head.metrics(), {}, logits, tf.constant([[1, 0]]))
        return {key: float(metric.result()) for key, metric in metrics.items() if key.startswith("recall/")}

    fault(
        scenario,
        upstream={"recall/positive_threshold_0.123457": 0.0},
        ours={"recall/positive_threshold_0.1234567": 1.0, "recall/positive_threshold_0.1234568": 0.0},
    )


def test_update_metrics_takes_the_mode_that_the_base_class_declares() -> None:
    def scenario(library: ModuleType) -> Any:
        head = library.RegressionHead()
        metrics = head.update_metrics(head.metrics(), {}, tf.constant([[3.0]]), tf.constant([[1.0]]), mode="eval")
        return float(metrics["average_loss"].result())

    fault(scenario, upstream=Raises(TypeError, "unexpected keyword argument 'mode'"), ours=4.0)


# --- construction ---


def test_heads_may_be_a_generator() -> None:
    def scenario(library: ModuleType) -> Any:
        return library.MultiHead(library.RegressionHead(name=name) for name in "ab").name

    fault(scenario, upstream="", ours="a_b")


def test_heads_may_be_an_array() -> None:
    def scenario(library: ModuleType) -> Any:
        return library.MultiHead(np.array([library.RegressionHead(name=name) for name in "ab"])).name

    fault(scenario, upstream=Raises(ValueError, "truth value of an array .* is ambiguous"), ours="a_b")


@pytest.mark.parametrize(
    ("weights", "crash"),
    [
        pytest.param(lambda: np.array([1.0, 2.0]), Raises(ValueError, "truth value of an array"), id="array"),
        pytest.param(lambda: (weight for weight in (1.0, 2.0)), Raises(TypeError, "has no len"), id="generator"),
    ],
)
def test_head_weights_may_be_any_iterable(weights: Callable[[], Any], crash: Raises) -> None:
    def scenario(library: ModuleType) -> Any:
        return two(library, weights()).loss(zeros("a", "b"), tf.constant([[1.0, 3.0]]), {}).numpy().tolist()

    fault(scenario, upstream=crash, ours=1 * 1.0 + 2 * 9.0)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [pytest.param("BinaryClassHead", {}, id="binary"), pytest.param("MultiLabelHead", {"n_classes": 3}, id="multi-label")],
)
def test_thresholds_may_be_an_array(kind: str, arguments: dict[str, Any]) -> None:
    def scenario(library: ModuleType) -> Any:
        head = getattr(library, kind)(thresholds=np.array([0.25, 0.5]), **arguments)
        return sorted(key for key in head.metrics() if key.startswith("precision/"))

    fault(
        scenario,
        upstream=Raises(ValueError, "truth value of an array"),
        ours=["precision/positive_threshold_0.25", "precision/positive_threshold_0.5"],
    )


def test_two_heads_of_one_name_are_refused() -> None:
    """tf.estimator gives both of them the logits of the second: 2² + 2² instead of 1² + 2²."""

    def scenario(library: ModuleType) -> Any:
        head = library.MultiHead([library.RegressionHead(name="a"), library.RegressionHead(name="a")])
        return head.loss(zeros("a"), tf.constant([[1.0, 2.0]]), {}).numpy().tolist()

    fault(scenario, upstream=8.0, ours=Raises(ValueError, r"names of heads must differ .*\['a', 'a'\]"))


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        # The signature `predict` would be that head's classification, `serving_default` the first head's regression.
        pytest.param("predict", {"predict": "PredictOutput", "serving_default": "RegressionOutput"}, id="predict"),
        pytest.param(
            "serving_default", {"predict": "PredictOutput", "serving_default": "ClassificationOutput"}, id="serving_default"
        ),
    ],
)
def test_names_of_signatures_are_refused_as_names_of_heads(name: str, taken: dict[str, str]) -> None:
    def scenario(library: ModuleType) -> Any:
        head = library.MultiHead([library.RegressionHead(name="a"), library.BinaryClassHead(name=name)])
        with tf.Graph().as_default():
            outputs = head.create_estimator_spec({}, "infer", tf.zeros([1, 2])).export_outputs
        return {key: type(outputs[key]).__name__ for key in ("predict", "serving_default")}

    fault(scenario, upstream=taken, ours=Raises(ValueError, f"must not be named '{name}'"))


@pytest.mark.parametrize("name", ["my head", "_private", "größe", "50%"])
@pytest.mark.parametrize("mode", ["train", "eval", "infer"])
def test_a_name_need_not_be_a_scope(name: str, mode: str) -> None:
    def scenario(library: ModuleType) -> Any:
        def build() -> Any:
            head = library.RegressionHead(name=name)
            labels = None if mode == "infer" else tf.constant([[1.0]])
            arguments = {"train_op_fn": lambda _: tf.no_op()} if mode == "train" else {}
            return head.create_estimator_spec({}, mode, tf.constant([[3.0]]), labels, **arguments).predictions["predictions"]

        return graphs.run(build).tolist()

    fault(scenario, upstream=Raises(ValueError, "is not a valid root scope name"), ours=[[3.0]])


def test_mixed_reductions_are_refused_at_construction() -> None:
    def scenario(library: ModuleType) -> Any:
        heads_ = [library.RegressionHead(name="a"), library.RegressionHead(name="b", loss_reduction="sum")]
        return library.MultiHead(heads_).name

    fault(scenario, upstream="a_b", ours=Raises(ValueError, "The loss_reduction must be the same for different heads"))


@pytest.mark.parametrize("names", [["ant"], ["ant", "bee", "cat"]], ids=len)
def test_the_vocabulary_of_two_classes_has_two_names(names: list[str]) -> None:
    def scenario(library: ModuleType) -> Any:
        return library.BinaryClassHead(label_vocabulary=names).logits_dimension

    fault(scenario, upstream=1, ours=Raises(ValueError, r"Length of label_vocabulary must be n_classes \(2\)"))


def test_a_wrong_width_of_the_logits_is_told_the_right_way_round() -> None:
    def scenario(library: ModuleType) -> Any:
        head = library.MultiHead([library.RegressionHead(name="a"), library.RegressionHead(2, name="b")])
        return head.predictions(tf.zeros([2, 4]))

    fault(
        scenario,
        upstream=Raises(ValueError, r"\[1, 2\]. The last dimension of the logits tensor should equal 4 but is 3"),
        ours=Raises(ValueError, r"\[1, 2\]. The last dimension of the logits tensor should equal 3 but is 4"),
    )


# --- labels ---

THREE = ["ant", "bee", "cat"]


def names_of_two(library: ModuleType) -> tuple[Any, Any, Any]:
    return library.BinaryClassHead(label_vocabulary=THREE[:2]), [["elk"]], [[0.0]]


def names_of_three(library: ModuleType) -> tuple[Any, Any, Any]:
    return library.MultiClassHead(3, label_vocabulary=THREE), [["elk"]], [[0.0] * 3]


def sparse_names(library: ModuleType) -> tuple[Any, Any, Any]:
    return library.MultiLabelHead(3, label_vocabulary=THREE), ["elk"], [[0.0] * 3]


LOOKUPS = [
    pytest.param(names_of_two, id="binary"),
    pytest.param(names_of_three, id="multi-class"),
    pytest.param(sparse_names, id="multi-label-sparse"),
]


def as_label(value: Any, known: Callable[[Any], Any]) -> Any:
    flat = isinstance(value[0], str)
    return tf.SparseTensor([[0, 0]], known(value), [1, 1]) if flat else known(value)


@pytest.mark.parametrize("make", LOOKUPS)
def test_an_unknown_label_is_named(make: Any) -> None:
    def scenario(library: ModuleType) -> Any:
        head, label, logits = make(library)
        return head.loss(as_label(label, tf.constant), tf.constant(logits), {}).numpy().tolist()

    crash = (
        Raises(tf.errors.InvalidArgumentError, "Indices are not valid")
        if make is sparse_names
        else Raises(ValueError, "^Labels must be >= 0$")
    )
    fault(scenario, upstream=crash, ours=Raises(ValueError, r"Labels must be in label_vocabulary \['ant', 'bee'.*elk"))


@pytest.mark.parametrize("make", LOOKUPS)
def test_an_unknown_label_is_named_when_the_graph_runs(make: Any) -> None:
    def scenario(library: ModuleType) -> Any:
        def build() -> Any:
            head, label, logits = make(library)
            return head.loss(as_label(label, graphs.later), tf.constant(logits), {})

        return graphs.run(build).tolist()

    # Without a word, tf.estimator takes a sparse unknown name for no class at all.
    silent_or_vague = LOG2 if make is sparse_names else Raises(tf.errors.InvalidArgumentError, "Labels must be >= 0")
    ours = Raises(tf.errors.InvalidArgumentError, r"(?s)Labels must be in label_vocabulary .*ant.*bee.*elk")
    fault(scenario, upstream=silent_or_vague, ours=ours)


def test_sparse_names_without_a_vocabulary_are_refused_with_the_fix() -> None:
    def scenario(library: ModuleType) -> Any:
        return library.MultiLabelHead(3).loss(tf.SparseTensor([[0, 0]], ["ant"], [1, 1]), tf.zeros([1, 3]), {})

    fault(
        scenario,
        upstream=Raises(TypeError, "'NoneType' object is not iterable"),
        ours=Raises(ValueError, r"should be integer.*string.*Give the head a label_vocabulary"),
    )


def test_a_vocabulary_outlives_the_graph_for_losses() -> None:
    def scenario(library: ModuleType) -> Any:
        head = library.MultiClassHead(3, label_vocabulary=THREE)
        arguments = ([["bee"]], [[0.0, 1.0, 0.0]], {})
        graphs.run(lambda: head.loss(tf.constant(arguments[0]), tf.constant(arguments[1]), {}))
        return head.loss(*map(tf.constant, arguments[:2]), {}).numpy().tolist()

    expected = np.log(2 + np.e) - 1
    fault(scenario, upstream=Raises(TypeError, "hash_table.* is out of scope"), ours=expected)


def test_a_vocabulary_outlives_the_graph_for_predictions() -> None:
    def scenario(library: ModuleType) -> Any:
        head = library.MultiClassHead(3, label_vocabulary=THREE)
        graphs.run(lambda: head.predictions(tf.zeros([1, 3]))["classes"])
        return head.predictions(tf.constant([[0.0, 1.0, 0.0]]))["classes"].numpy().tolist()

    fault(scenario, upstream=Raises(TypeError, "hash_table.* is out of scope"), ours=[[b"bee"]])


def test_multi_hot_labels_may_be_booleans() -> None:
    def scenario(library: ModuleType) -> Any:
        return library.MultiLabelHead(2).loss(tf.constant([[True, False]]), tf.constant([[0.0, 9.0]]), {}).numpy().tolist()

    # Class 0 is right with probability 1/2, class 1 wrong by log(1 + exp 9).
    fault(scenario, upstream=Raises(TypeError, "bool"), ours=(LOG2 + np.log1p(np.exp(9.0))) / 2)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_class_ids_may_have_any_integer_dtype(dtype: str) -> None:
    def scenario(library: ModuleType) -> Any:
        return library.MultiClassHead(3).loss(tf.constant([[1]], dtype), tf.constant([[0.0, 1.0, 0.0]]), {}).numpy().tolist()

    fault(scenario, upstream=Raises(tf.errors.InvalidArgumentError, "Value for attr 'Tlabels'"), ours=np.log(2 + np.e) - 1)


def test_labels_in_a_graph_may_be_lists() -> None:
    def scenario(library: ModuleType) -> Any:
        return graphs.run(lambda: library.MultiLabelHead(2).loss([[1, 0]], tf.zeros([1, 2]), {})).tolist()

    fault(scenario, upstream=Raises(AttributeError, "'list' object has no attribute 'dtype'"), ours=LOG2)


# --- predictions ---


@pytest.mark.parametrize(
    ("kind", "arguments", "key", "row"),
    [
        pytest.param("BinaryClassHead", {}, "all_class_ids", [0, 1], id="binary-ids"),
        pytest.param("BinaryClassHead", {}, "all_classes", [b"0", b"1"], id="binary-classes"),
        pytest.param("BinaryClassHead", {"label_vocabulary": THREE[:2]}, "all_classes", [b"ant", b"bee"], id="binary-names"),
        pytest.param("MultiClassHead", {"n_classes": 3}, "all_class_ids", [0, 1, 2], id="multi-class-ids"),
        pytest.param(
            "MultiClassHead",
            {"n_classes": 3, "label_vocabulary": THREE},
            "all_classes",
            [b"ant", b"bee", b"cat"],
            id="multi-class-names",
        ),
        pytest.param("MultiLabelHead", {"n_classes": 3}, "classes", [b"0", b"1", b"2"], id="multi-label-classes"),
    ],
)
def test_every_example_has_its_classes_at_rank_3(kind: str, arguments: dict[str, Any], key: str, row: list[Any]) -> None:
    def scenario(library: ModuleType) -> Any:
        head = getattr(library, kind)(**arguments)
        return head.predictions(tf.zeros([2, 4, head.logits_dimension]))[key].numpy().tolist()

    fault(scenario, upstream=[row] * 2, ours=[[row] * 4] * 2)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("RegressionHead", 2.0, id="regression"),
        pytest.param("PoissonRegressionHead", np.exp(2.0), id="poisson"),
        pytest.param("LogisticRegressionHead", 1 / (1 + np.exp(-2.0)), id="logistic"),
    ],
)
def test_regressions_take_prediction_keys(kind: str, expected: float) -> None:
    def scenario(library: ModuleType) -> Any:
        predictions = getattr(library, kind)().predictions(tf.constant([[2.0]]), keys=["predictions"])
        return {key: value.numpy().tolist() for key, value in predictions.items()}

    crash = Raises(TypeError, "unexpected keyword argument 'keys'")
    fault(scenario, upstream=crash, ours={"predictions": [[expected]]})


KEYS_OF_A = ["logits", "logistic", "probabilities", "class_ids", "classes", "all_class_ids", "all_classes"]
ALL_OF_TWO = [*(("a", key) for key in KEYS_OF_A), ("b", "predictions"), ("b", "logits")]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        pytest.param([("a", "logistic")], [("a", "logistic")], id="of-one-head"),
        pytest.param([("b", "predictions"), ("a", "classes")], [("b", "predictions"), ("a", "classes")], id="in-their-order"),
        pytest.param(["logits"], [("a", "logits"), ("b", "logits")], id="bare-key-of-both"),
        pytest.param(["predictions"], [("b", "predictions")], id="bare-key-of-one"),
        pytest.param(["nonsense"], Raises(ValueError, "must be in PredictionKeys, given: nonsense"), id="unknown-key"),
        pytest.param([("b", "logistic")], Raises(ValueError, "must be in PredictionKeys"), id="of-the-other-head"),
        pytest.param([("c", "logits")], Raises(ValueError, "must be in PredictionKeys"), id="unknown-head"),
    ],
)
def test_multi_head_takes_prediction_keys(keys: list[Any], expected: Any) -> None:
    def scenario(library: ModuleType) -> Any:
        head = library.MultiHead([library.BinaryClassHead(name="a"), library.PoissonRegressionHead(name="b")])
        return list(head.predictions(tf.constant([[1.0, 2.0]]), keys=keys))

    fault(scenario, upstream=ALL_OF_TWO, ours=expected)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(heads.BinaryClassHead, id="binary"),
        pytest.param(lambda: heads.MultiClassHead(3), id="multi-class"),
        pytest.param(lambda: heads.MultiLabelHead(3), id="multi-label"),
        pytest.param(heads.RegressionHead, id="regression"),
        pytest.param(heads.PoissonRegressionHead, id="poisson"),
        pytest.param(heads.LogisticRegressionHead, id="logistic"),
        pytest.param(lambda: heads.SequentialHeadWrapper(heads.RegressionHead()), id="sequential"),
        pytest.param(lambda: two(heads), id="multi-head"),
    ],
)
def test_every_head_honours_and_checks_prediction_keys(head: Callable[[], Any]) -> None:
    made = head()
    logits = tf.zeros([1, 1, made.logits_dimension])
    every = list(made.predictions(logits))
    assert [list(made.predictions(logits, keys=[key])) for key in every] == [[key] for key in every]
    assert list(made.predictions(logits, keys=[])) == every
    with pytest.raises(ValueError, match="Prediction key must be in PredictionKeys, given: odds"):
        made.predictions(logits, keys=[every[0], "odds"])


# --- a MultiHead in a MultiHead ---


def nested(library: ModuleType, leaf: str = "c") -> Any:
    return library.MultiHead([two(library), library.RegressionHead(name=leaf)])


def nested_labels(leaf: str = "c") -> dict[str, Any]:
    return {"a_b": zeros("a", "b"), **zeros(leaf)}


def test_predictions_of_nested_heads_have_flat_keys() -> None:
    def scenario(library: ModuleType) -> Any:
        return {key: value.numpy().item() for key, value in nested(library).predictions(tf.constant([[1.0, 2.0, 3.0]])).items()}

    fault(
        scenario,
        upstream={("a_b", ("a", "predictions")): 1.0, ("a_b", ("b", "predictions")): 2.0, ("c", "predictions"): 3.0},
        ours={("a_b/a", "predictions"): 1.0, ("a_b/b", "predictions"): 2.0, ("c", "predictions"): 3.0},
    )


def test_metrics_of_nested_heads_have_unique_keys() -> None:
    """Two heads are called a, at different depths, with losses of 1 and 9."""

    def scenario(library: ModuleType) -> Any:
        def build() -> Any:
            logits = tf.constant([[1.0, 2.0, 3.0]])
            return nested(library, "a").create_estimator_spec({}, "eval", logits, nested_labels("a"))

        return {key: value for key, value in graphs.evaluate(build).items() if "loss" in key}

    fault(
        scenario,
        # The inner a's average is lost, and which of the two losses stands there is luck.
        upstream={"loss/a_b": 5.0, "loss/a": 1.0, "average_loss/a": 9.0, "loss/b": 4.0, "average_loss/b": 4.0},
        ours={
            "loss/a_b": 5.0,
            "loss/a_b/a": 1.0,
            "average_loss/a_b/a": 1.0,
            "loss/a_b/b": 4.0,
            "average_loss/a_b/b": 4.0,
            "loss/a": 9.0,
            "average_loss/a": 9.0,
        },
    )


def test_eager_metrics_of_nested_heads_accumulate() -> None:
    def scenario(library: ModuleType) -> Any:
        head = nested(library)
        metrics = head.metrics()
        for logits in ([[1.0, 2.0, 3.0]], [[3.0, 4.0, 5.0]]):
            metrics = head.update_metrics(metrics, {}, tf.constant(logits), nested_labels())
        return sorted(float(metric.result()) for key, metric in metrics.items() if key.startswith("average_loss"))

    # Squares of 1 and 3, 2 and 4, 3 and 5.
    fault(scenario, upstream=[9.0, 16.0, 25.0], ours=[5.0, 10.0, 17.0])


def test_summaries_of_nested_heads_have_unique_tags() -> None:
    def scenario(library: ModuleType) -> Any:
        def build() -> None:
            logits, labels = tf.constant([[1.0, 2.0, 3.0]]), nested_labels()
            nested(library).create_estimator_spec({}, "train", logits, labels, train_op_fn=lambda _: tf.no_op())

        return graphs.summaries(build)

    fault(
        scenario,
        upstream={"loss": 5.0, "loss_1": 14.0, "loss/a": 1.0, "loss/b": 4.0, "loss/c": 9.0},
        ours={"loss": 14.0, "loss/a_b": 5.0, "loss/a_b/a": 1.0, "loss/a_b/b": 4.0, "loss/c": 9.0},
    )


def test_an_eval_spec_of_nested_heads_can_be_exported() -> None:
    from tensorflow_estimator.python.estimator.export import export_lib

    def scenario(library: ModuleType) -> Any:
        with tf.Graph().as_default():
            spec = nested(library).create_estimator_spec({}, "eval", tf.zeros([1, 3]), nested_labels())
            exported = export_lib.EvalOutput(spec.loss, spec.predictions, spec.eval_metric_ops)
            definition = exported.as_signature_def({"x": tf.compat.v1.placeholder(tf.float32)})
            return sorted(name for name in definition.outputs if name.startswith("predictions"))

    fault(
        scenario,
        upstream=Raises(TypeError, "expected str instance, tuple found"),
        ours=["predictions/a_b/a/predictions", "predictions/a_b/b/predictions", "predictions/c/predictions"],
    )


def test_signatures_of_nested_heads_are_paths() -> None:
    """As in tf.estimator."""

    def scenario(library: ModuleType) -> Any:
        with tf.Graph().as_default():
            outputs = nested(library).create_estimator_spec({}, "infer", tf.zeros([1, 3])).export_outputs
        return sorted(outputs), sorted(outputs["predict"].outputs)

    names = [
        "a_b",
        *(f"a_b/{name}" for name in ("a", "a/predict", "a/regression", "b", "b/predict", "b/regression", "predict")),
    ]
    expected = (
        [*names, "c", "c/predict", "c/regression", "predict", "serving_default"],
        ["a_b/a/predictions", "a_b/b/predictions", "c/predictions"],
    )
    check(scenario, tf.estimator, expected)
    check(scenario, heads, expected)


# --- sequences ---

MASK = {"sequence_length_mask": [[True, True], [True, False]]}
STEPS = [[[1.0], [2.0]], [[3.0], [9.0]]]  # the 9 is no step


def sequential(library: ModuleType, head: Any, **arguments: Any) -> Any:
    """The wrapper, which tf.estimator has and does not export."""
    from tensorflow_estimator.python.estimator.head import sequential_head

    return (library if library is heads else sequential_head).SequentialHeadWrapper(head, **arguments)


def mask() -> dict[str, Any]:
    return {name: tf.constant(value) for name, value in MASK.items()}


def test_the_sequential_loss_takes_labels_first() -> None:
    """As every head does: labels 1 at logits 5, 10 and 15."""

    def scenario(library: ModuleType) -> Any:
        return (
            sequential(library, library.BinaryClassHead())
            .loss(tf.ones([2, 2, 1]), tf.constant(STEPS) * 5, mask())
            .numpy()
            .tolist()
        )

    expected = np.mean(np.log1p(np.exp([-5.0, -10.0, -15.0])))
    fault(scenario, upstream=Raises(ValueError, "Labels must be <= 2 - 1"), ours=expected)


def test_a_sequential_regression_predicts() -> None:
    def scenario(library: ModuleType) -> Any:
        predictions = sequential(library, library.RegressionHead()).predictions(tf.constant(STEPS))
        return predictions["predictions"].numpy().tolist()

    fault(scenario, upstream=Raises(TypeError, "unexpected keyword argument 'keys'"), ours=STEPS)


# Row 1 stands before row 0: in order the labels are 1, 2, 3.
UNSORTED = [[1, 0, 0], [0, 0, 0], [0, 1, 0]], [3.0, 1.0, 2.0]


def test_sparse_sequences_of_rank_3_are_put_in_order() -> None:
    def scenario(library: ModuleType) -> Any:
        labels = tf.SparseTensor(*UNSORTED, [2, 2, 1])
        loss = sequential(library, library.RegressionHead()).loss(labels=labels, logits=tf.constant(STEPS), features=mask())
        return loss.numpy().tolist()

    # Unsorted, 3, 1, 2 come against 1, 2, 3: (4 + 1 + 1) / 3.
    fault(scenario, upstream=2.0, ours=0.0)


def test_sparse_sequences_of_rank_3_may_have_a_shape_of_later() -> None:
    """As `tf.io.parse_example` gives them."""

    def scenario(library: ModuleType) -> Any:
        def build() -> Any:
            labels = tf.SparseTensor(*UNSORTED, graphs.later(np.array([2, 2, 1])))
            return sequential(library, library.RegressionHead()).loss(
                labels=labels, logits=tf.constant(STEPS) + 1, features=mask()
            )

        return graphs.run(build).tolist()

    fault(scenario, upstream=Raises(TypeError, "NOT CONVERTIBLE TO TENSOR"), ours=1.0)


@pytest.mark.parametrize(
    ("make", "labels", "width", "expected"),
    [
        # Errors of 1, 2 and 3.
        pytest.param(lambda lib: lib.RegressionHead(), [[0.0, 0.0], [0.0]], 1, 14 / 3, id="numbers"),
        pytest.param(
            lambda lib: lib.BinaryClassHead(label_vocabulary=THREE[:2]), [["ant", "bee"], ["bee"]], 1, None, id="names"
        ),
        pytest.param(lambda lib: lib.MultiLabelHead(2), [[[0], []], [[0, 1]]], 2, None, id="classes-of-a-step"),
    ],
)
def test_labels_of_sequences_may_be_ragged(make: Any, labels: Any, width: int, expected: float | None) -> None:
    logits = np.repeat(STEPS, width, axis=-1).astype(np.float32)

    def scenario(library: ModuleType) -> Any:
        head = sequential(library, make(library))
        return head.loss(labels=tf.ragged.constant(labels), logits=tf.constant(logits), features=mask()).numpy().tolist()

    if expected is None:
        # Sigmoid cross entropy of logits 1, 2, 3 with labels 0, 1, 1 and, in two classes, [1, 0], [0, 0], [1, 1].
        steps = np.array([[1.0], [2.0], [3.0]]) * np.ones(width)
        truth = np.array([[0.0], [1.0], [1.0]]) if width == 1 else np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
        expected = float(np.mean(np.log1p(np.exp(steps)) - truth * steps))
    fault(scenario, upstream=Raises(ValueError, "expected to be a `Tensor` or  `SparseTensor`"), ours=expected)


def test_the_mask_of_sequences_is_exported() -> None:
    def scenario(library: ModuleType) -> Any:
        with tf.Graph().as_default():
            head = sequential(library, library.RegressionHead(name="a"))
            spec = head.create_estimator_spec(mask(), "infer", tf.constant(STEPS))
            return sorted(spec.predictions), sorted(spec.export_outputs["predict"].outputs)

    predictions = ["predictions", "sequence_length_mask"]
    fault(scenario, upstream=(predictions, ["predictions"]), ours=(predictions, predictions))


# --- training ---


def square(library: ModuleType, optimizer: Callable[[], Any]) -> Callable[[list[tf.Variable]], Any]:
    """The TRAIN spec of (w·1 - 3)²: its gradient is 2(w - 3)."""

    def spec(variables: list[tf.Variable]) -> Any:
        logits, labels = tf.matmul([[1.0]], variables[0]), tf.constant([[3.0]])
        return library.RegressionHead().create_estimator_spec({}, "train", logits, labels, optimizer(), variables)

    return spec


# w: 1 → 1 + 0.1·4 = 1.4 → 1.4 + 0.1·3.2 = 1.72
TWO_STEPS = graphs.Trained([1.72], 2)


def rounded(trained: graphs.Trained) -> graphs.Trained:
    return trained._replace(weights=[round(weight, 5) for weight in trained.weights])


def test_the_global_step_moves_with_an_optimizer_of_its_own_count() -> None:
    def scenario(library: ModuleType) -> Any:
        return rounded(graphs.train(square(library, lambda: tf.keras.optimizers.legacy.SGD(0.1)), steps=2))

    fault(scenario, upstream=TWO_STEPS._replace(global_step=0), ours=TWO_STEPS)


def test_the_global_step_moves_once_with_an_optimizer_that_is_tied_to_it() -> None:
    """What users of tf.estimator's heads had to write still counts right."""

    def tied() -> Any:
        optimizer = tf.keras.optimizers.legacy.SGD(0.1)
        optimizer.iterations = tf.compat.v1.train.get_or_create_global_step()
        return optimizer

    for library in (tf.estimator, heads):
        assert rounded(graphs.train(square(library, tied), steps=2)) == TWO_STEPS


@pytest.mark.parametrize(
    ("optimizer", "crash"),
    [
        pytest.param(lambda: tf.keras.optimizers.SGD(0.1), Raises(AttributeError, "get_updates"), id="keras"),
        pytest.param(
            lambda: tf.compat.v1.train.GradientDescentOptimizer(0.1),
            Raises(ValueError, "not a tf.keras.optimizers.Optimizer instance"),
            id="v1",
        ),
    ],
)
def test_every_kind_of_optimizer_trains(optimizer: Callable[[], Any], crash: Raises) -> None:
    def scenario(library: ModuleType) -> Any:
        return rounded(graphs.train(square(library, optimizer), steps=2))

    fault(scenario, upstream=crash, ours=TWO_STEPS)


def test_an_optimizer_may_be_named() -> None:
    """Keras' SGD has a learning rate of 0.01: w = 1 + 0.04."""

    def scenario(library: ModuleType) -> Any:
        return rounded(graphs.train(square(library, lambda: "sgd")))

    fault(
        scenario,
        upstream=Raises(ValueError, "Received optimizer of type <class 'str'>"),
        ours=graphs.Trained([1.04], 1),
    )


@pytest.fixture(scope="module")
def replicated() -> dict[str, Any]:
    """What one step on two replicas left, by library, reduction and optimizer; see `two_replicas.py`."""
    script = Path(__file__).with_name("two_replicas.py")
    done = subprocess.run([sys.executable, "-W", "ignore", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


# Two replicas with the rows x = 1 and x = 2 each, w = 1 and labels 3: errors -2 and -1, so that the gradient of a replica's
# sum of squares is 2·(-2)·1 + 2·(-1)·2 = -8, that of its mean -4. The replicas' gradients add up; the learning rate is 0.1.
BY_REDUCTION = {"sum": (5.0, 1 + 0.1 * 16), "sum_over_batch_size": (2.5, 1 + 0.1 * 8 / 2), "auto": (2.5, 1 + 0.1 * 8 / 2)}


def test_auto_is_scaled_with_the_replicas_like_the_mean_it_stands_for(replicated: dict[str, Any]) -> None:
    def scenario(library: ModuleType) -> Any:
        return replicated[f"{library.__name__.split('.')[0]} auto legacy"]["weight"]

    fault(scenario, upstream=1 + 0.1 * 8, ours=1 + 0.1 * 8 / 2)


@pytest.mark.parametrize("optimizer", ["legacy", "v1"])
@pytest.mark.parametrize("reduction", heads.Reduction.all())
def test_one_step_on_two_replicas(replicated: dict[str, Any], reduction: str, optimizer: str) -> None:
    loss, weight = BY_REDUCTION[reduction]
    expected = {"losses": [loss, loss], "weight": weight, "global_step": 1}
    assert same(replicated[f"heads {reduction} {optimizer}"], expected)
    if reduction != "auto" and optimizer == "legacy":
        assert same(replicated[f"tensorflow_estimator {reduction} {optimizer}"], expected)


def test_keras_optimizers_on_several_replicas_are_refused_with_the_fix(replicated: dict[str, Any]) -> None:
    assert "tf.keras.optimizers.legacy" in replicated["heads sum keras"]["error"]


def test_learned_loss_weights_are_trained_on_two_replicas(replicated: dict[str, Any]) -> None:
    """Loss L = 2.5 of factor ½ on each replica: d/ds (½·exp(-s)·L + s/2) = -½·2.5 + ½ = -0.75, averaged; s = 0.1·0.75."""
    assert same(replicated["heads uncertainty"]["log_variance"], 0.075)
