import numpy as np
import orjson
import pytest

from service.errors import (
    BrokenJsonError,
    HeadserveError,
    InvalidRequestError,
    MissingInputError,
    NoRowsError,
    RequestError,
    UnknownHeadError,
    UnknownInputError,
    WrongShapeError,
    WrongTypeError,
)
from service.protocols.native import codec as native
from service.types import HeadSpec, InferResponse, InputSpec, ModelSpec, TensorSpec

HEADS = (
    HeadSpec("a", (TensorSpec("logits", "float32", (-1, 1)), TensorSpec("classes", "string", (-1, 1)))),
    HeadSpec("b", (TensorSpec("logits", "float32", (-1, 1)),)),
)


def model(*inputs: InputSpec) -> ModelSpec:
    return ModelSpec("m", 3, inputs, HEADS, {}, {})


X = InputSpec("x", "float32", (-1,))
Y = InputSpec("y", "int64", (-1,))
BUDGET = InputSpec("budget", "float32", (-1,), required=False, missing=-1)
TEXT = InputSpec("text", "string", (-1,))
VECTOR = InputSpec("x", "float32", (-1, 2))
SCALAR = InputSpec("limit", "float32", ())


def decode(request: object, *inputs: InputSpec):
    return native.decode(orjson.dumps(request), model(*inputs))


@pytest.mark.parametrize(
    ("request_", "inputs", "expected"),
    [
        pytest.param({"instances": [{"x": 1, "y": 2}, {"y": 4, "x": 3}]}, [X, Y], {"x": [1, 3], "y": [2, 4]}, id="rows"),
        pytest.param({"inputs": {"x": [1, 3], "y": [2, 4]}}, [X, Y], {"x": [1, 3], "y": [2, 4]}, id="columns"),
        pytest.param({"instances": [1, 2]}, [X], {"x": [1, 2]}, id="bare numbers"),
        pytest.param({"instances": [[1, 2]]}, [VECTOR], {"x": [[1, 2]]}, id="bare lists"),
        pytest.param({"instances": ["a", {"b64": "/w=="}]}, [TEXT], {"text": [b"a", b"\xff"]}, id="bare strings"),
        pytest.param({"instances": [{"b64": "/w=="}]}, [TEXT], {"text": [b"\xff"]}, id="bare bytes"),
        pytest.param({"instances": [{"text": {"b64": "/w=="}}]}, [TEXT], {"text": [b"\xff"]}, id="named bytes"),
        pytest.param({"instances": [{"x": 1}]}, [X], {"x": [1]}, id="one input, named"),
        pytest.param(
            {"instances": [{"x": 1}, {"x": 2, "budget": 5}]},
            [X, BUDGET],
            {"x": [1, 2], "budget": [-1, 5]},
            id="absent in a row",
        ),
        pytest.param({"instances": [{"x": 1, "budget": None}]}, [X, BUDGET], {"x": [1], "budget": [-1]}, id="null in a row"),
        pytest.param({"instances": [{}]}, [BUDGET], {"budget": [-1]}, id="an empty row"),
        pytest.param({"inputs": {"x": [1, 2]}}, [X, BUDGET], {"x": [1, 2], "budget": [-1, -1]}, id="absent column"),
        pytest.param(
            {"inputs": {"x": [1, 2], "budget": None}}, [X, BUDGET], {"x": [1, 2], "budget": [-1, -1]}, id="null column"
        ),
        pytest.param(
            {"inputs": {"x": [1, 2], "budget": [None, 5]}}, [X, BUDGET], {"x": [1, 2], "budget": [-1, 5]}, id="null in a column"
        ),
        pytest.param({"inputs": {"x": [1, 2], "limit": 5}}, [X, SCALAR], {"x": [1, 2], "limit": 5}, id="an input without rows"),
    ],
)
def test_inputs(request_, inputs, expected):
    request = decode(request_, *inputs)
    assert {name: array.tolist() for name, array in request.inputs.items()} == expected


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        pytest.param({}, [("a", "logits"), ("a", "classes")], id="default head"),
        pytest.param({"heads": None, "keys": None}, [("a", "logits"), ("a", "classes")], id="null is absent"),
        pytest.param({"heads": ["b"]}, [("b", "logits")], id="listed head"),
        pytest.param({"heads": "*", "keys": ["logits"]}, [("a", "logits"), ("b", "logits")], id="all heads, one key"),
    ],
)
def test_selection(choice, expected):
    assert list(decode({"instances": [1]} | choice, X).outputs) == expected


@pytest.mark.parametrize(
    ("request_", "inputs", "error", "message"),
    [
        pytest.param([1], [X], RequestError, "Expected an object .* got a list of 1", id="not an object"),
        pytest.param(
            {"instances": [1], "head": "a"},
            [X],
            RequestError,
            "Unknown member 'head'.*Did you mean 'heads'",
            id="unknown member",
        ),
        pytest.param({}, [X], RequestError, "either 'instances' .* got neither", id="neither"),
        pytest.param({"instances": [1], "inputs": {"x": [1]}}, [X], RequestError, "got both", id="both"),
        pytest.param({"instances": []}, [X], NoRowsError, "empty", id="no rows"),
        pytest.param({"instances": None}, [X], WrongTypeError, "a list of rows, but got null", id="null rows"),
        pytest.param({"instances": {"x": 1}}, [X], WrongTypeError, "a list of rows, but got an object", id="rows as an object"),
        pytest.param(
            {"instances": [1]}, [X, Y], WrongTypeError, "Row 0: expected an object with 'x', 'y'", id="bare with two inputs"
        ),
        pytest.param({"instances": [{"x": 1}, 2]}, [X], WrongTypeError, "Row 1: expected an object", id="mixed rows"),
        pytest.param(
            {"instances": [{"x": 1, "y": 1}, {"x": 1}]},
            [X, Y],
            MissingInputError,
            "Row 1: Input 'y' is missing",
            id="missing input",
        ),
        pytest.param(
            {"instances": [{"x": 1, "z": 1}]},
            [X],
            UnknownInputError,
            "Row 0: There is no input 'z'; the model takes 'x'",
            id="unknown input",
        ),
        pytest.param({"instances": [{"txt": "a"}]}, [TEXT], UnknownInputError, "Did you mean 'text'", id="misspelt input"),
        pytest.param(
            {"instances": [{"x": 1, "limit": 1}]},
            [X, SCALAR],
            WrongShapeError,
            "'limit' has no rows; use 'inputs'",
            id="an input without rows",
        ),
        pytest.param({"inputs": [1]}, [X], WrongTypeError, "an object of columns", id="columns are no object"),
        pytest.param({"inputs": {"x": []}}, [X], NoRowsError, "'x' is empty", id="empty column"),
        pytest.param(
            {"inputs": {"x": [1, 2], "y": [1]}},
            [X, Y],
            WrongShapeError,
            "'x' has 2 rows and 'y' has 1",
            id="columns of two lengths",
        ),
        pytest.param({"inputs": {"x": [1]}}, [X, Y], MissingInputError, "Input 'y' is missing", id="missing column"),
        pytest.param({"inputs": {"x": None}}, [X], MissingInputError, "null", id="null column"),
        pytest.param({"inputs": {}}, [BUDGET], NoRowsError, "no rows", id="no column at all"),
        pytest.param(
            {"instances": [1], "heads": "a"},
            [X],
            InvalidRequestError,
            "'heads': expected a list .* the string 'a'",
            id="heads is not a list",
        ),
        pytest.param(
            {"instances": [1], "heads": [1]},
            [X],
            InvalidRequestError,
            "'heads': expected a list of names",
            id="heads are no names",
        ),
        pytest.param(
            {"instances": [1], "keys": "*"}, [X], InvalidRequestError, "'keys': expected a list", id="keys is not a list"
        ),
        pytest.param(
            {"instances": [1], "heads": ["c"]}, [X], UnknownHeadError, "no head 'c'; it has 'a', 'b'", id="unknown head"
        ),
    ],
)
def test_refusals(request_, inputs, error, message):
    with pytest.raises(error, match=message) as caught:
        decode(request_, *inputs)
    assert type(caught.value) is error


def test_json_is_strict():
    with pytest.raises(BrokenJsonError, match=r"line 1, column 16\. JSON has no NaN") as caught:
        native.decode(b'{"instances": [NaN]}', model(X))
    assert caught.value.details == {"line": 1, "column": 16}


def test_answer():
    outputs = {("b", "logits"): np.array([[0.1]], np.float32), ("a", "classes"): np.array([[b"x"]], object)}
    answer = b"".join(native.encode(InferResponse("m", 3, outputs)).chunks)
    assert answer == b'{"model":"m","version":3,"predictions":{"b":{"logits":[[0.1]]},"a":{"classes":[["x"]]}}}'


def test_problem():
    problem = orjson.loads(native.encode_error(UnknownHeadError("No head 'c'.", head="c", expected=("a",), row=None)).chunks[0])
    assert problem == {
        "type": "urn:headserve:error:unknown_head",
        "title": "Unknown head",
        "status": 422,
        "detail": "No head 'c'.",
        "code": "unknown_head",
        "error": "No head 'c'.",
        "head": "c",
        "expected": ["a"],
    }


def test_a_problem_without_details():
    assert orjson.loads(native.encode_error(HeadserveError("x")).chunks[0])["status"] == 500
