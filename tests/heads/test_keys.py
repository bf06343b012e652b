import re

import pytest
import tensorflow as tf

from heads.keys import MetricKeys, Reduction, metric_key, output_key, scope_name


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param(metric_key("auc", "tags"), "auc/tags", id="metric"),
        pytest.param(metric_key("label/mean", "a/b"), "label/mean/a/b", id="metric-of-nested-head"),
        pytest.param(metric_key("auc", None), "auc", id="metric-without-name"),
        pytest.param(metric_key("auc", ""), "auc", id="metric-with-empty-name"),
        pytest.param(output_key("tags", "logits"), "tags/logits", id="output"),
        pytest.param(output_key(None, "logits"), "logits", id="output-without-name"),
        pytest.param(output_key("", "logits"), "logits", id="output-with-empty-name"),
        pytest.param(MetricKeys.at_threshold("recall", "0.5"), "recall/positive_threshold_0.5", id="threshold"),
        pytest.param(MetricKeys.at_class("auc", 2, None), "auc/class2", id="class-by-id"),
        pytest.param(MetricKeys.at_class("auc", 2, "ant"), "auc/ant", id="class-by-name"),
    ],
)
def test_published_names(written: str, expected: str) -> None:
    assert written == expected


def test_reductions_are_those_of_tensorflow() -> None:
    everything = {"auto", "sum", "sum_over_batch_size", "none"}
    assert set(Reduction.all()) == everything - {"none"}
    if hasattr(tf, "estimator"):  # Keras 3 lists them nowhere.
        assert set(tf.losses.Reduction.all()) == everything
    assert [Reduction.is_mean(reduction) for reduction in ("auto", "sum", "sum_over_batch_size")] == [True, False, True]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tags", "tags"),
        ("a/b-c.d", "a/b-c.d"),
        ("my head", "my_head"),
        ("größe", "gr__e"),
        ("_private", "head_private"),
        ("-5", "head-5"),
        ("", "head"),
        (None, "head"),
    ],
)
def test_scopes(name: str | None, expected: str) -> None:
    assert scope_name(name) == expected
    assert re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*", scope_name(name)), "TensorFlow takes nothing else"
