"""Rows of features for models that parse `tf.Example`s; TensorFlow parses the result."""

import re

import orjson
import pytest

from service.errors import RequestError
from service.protocols.native import codec as native
from service.types import HeadSpec, InputSpec, ModelSpec, SignatureTensors, TensorSpec

PARSED = {
    "serving_default": SignatureTensors(
        "tensorflow/serving/predict",
        {"examples": "input:0"},
        {"y": "y:0"},
        {
            "examples": (
                InputSpec("x", "float32", (2,)),
                InputSpec("grid", "int64", (2, 2), required=False),
                InputSpec("tags", "string", (-1,), required=False),
            )
        },
    )
}


def parsing(tensors=PARSED) -> ModelSpec:
    """A model that parses `tf.Example`s."""
    inputs, heads = (InputSpec("examples", "string", (-1,)),), (HeadSpec("default", (TensorSpec("y", "float32", (-1, 1)),)),)
    return ModelSpec("m", 1, inputs, heads, {}, {}, sources={("default", "y"): ("serving_default", "y")}, tensors=tensors)


def rows_of(instances: list, spec: ModelSpec) -> list[bytes]:
    return native.decode(orjson.dumps({"instances": instances}), spec).inputs["examples"].tolist()


def test_rows_of_features_are_serialized():
    import tensorflow as tf

    rows = rows_of([{"x": [1, 2.5], "grid": [[1, 2], [3, 4]], "tags": "a"}, {"tags": [], "x": [0, 0], "grid": None}], parsing())
    first, second = (tf.train.Example.FromString(row).features.feature for row in rows)
    assert list(first["x"].float_list.value) == [1, 2.5]
    assert list(first["grid"].int64_list.value) == [1, 2, 3, 4]
    assert list(first["tags"].bytes_list.value) == [b"a"]
    assert list(second["x"].float_list.value) == [0, 0]
    assert "grid" not in second


@pytest.mark.parametrize(
    "instances", [["YQ==", "b"], [{"b64": "YQ=="}], [{"examples": {"b64": "YQ=="}}]], ids=["bare", "bare bytes", "by name"]
)
def test_serialized_examples_are_unchanged(instances):
    assert rows_of(instances, parsing()) == rows_of(instances, parsing({}))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param({"y": 1}, "Row 1: There is no input 'y'; the model takes 'x', 'grid', 'tags'", id="unknown"),
        pytest.param({"tag": [], "x": [0, 0]}, "Did you mean 'tags'", id="nearly known"),
        pytest.param({"tags": []}, "Row 1: Input 'x' is missing; it is required and has dtype float32", id="missing"),
        pytest.param(
            {"x": None}, "Row 1, feature 'x': expected a number, a string, true or false, or a list, but got null", id="null"
        ),
        pytest.param(
            {"x": [[1, 2], [3]]}, "Row 1, feature 'x': expected 2 values, as in the first list, but got 1", id="ragged"
        ),
        pytest.param(3, "Row 1: expected an object with 'x', 'grid', 'tags', but got the number 3", id="not an object"),
        pytest.param({"b64": "YQ=="}, "Row 1: There is no input 'b64'", id="serialized beside features"),
    ],
)
def test_refused_rows(row, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        rows_of([{"x": [1, 2]}, row], parsing())


def test_columns_of_features():
    rows = [{"x": [1, 2], "tags": ["a"]}, {"x": [3, 4], "tags": None}]
    columns = {name: [row[name] for row in rows] for name in ("x", "tags")}
    body = orjson.dumps({"inputs": columns})
    assert native.decode(body, parsing()).inputs["examples"].tolist() == rows_of(rows, parsing())
    serialized = {"examples": ["a", {"b64": "YQ=="}]}
    assert native.decode(orjson.dumps({"inputs": serialized}), parsing()).inputs["examples"].tolist() == [b"a", b"a"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        pytest.param({"x": [[1, 2]], "y": [1]}, "There is no input 'y'", id="unknown"),
        pytest.param({"tags": [[]]}, "Input 'x' is missing", id="missing"),
        pytest.param({"x": 1}, "Column 'x': expected a list of values, but got the number 1", id="not a column"),
        pytest.param({"x": [[1, 2]], "tags": []}, "'x' has 1 rows and 'tags' has 0", id="lengths"),
        pytest.param({"x": [], "tags": []}, "The columns are empty", id="empty"),
    ],
)
def test_refused_columns(columns, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        native.decode(orjson.dumps({"inputs": columns}), parsing())
