import time

import numpy as np
import orjson
import pytest

from service.codec import oip
from service.errors import (
    BrokenJsonError,
    HeadserveError,
    InvalidRequestError,
    MissingInputError,
    NoRowsError,
    OutOfRangeError,
    RequestError,
    UnknownHeadError,
    UnknownInputError,
    UnknownKeyError,
    UnsupportedFeatureError,
    UnsupportedTypeError,
    WrongShapeError,
    WrongTypeError,
)
from service.types import HeadSpec, InferResponse, InputSpec, ModelSpec, TensorSpec

HEADS = (
    HeadSpec(
        "a",
        (TensorSpec("probabilities", "float32", (-1, 3)), TensorSpec("classes", "string", (-1, 1))),
        classes=("x", "y", "z"),
    ),
    HeadSpec("b", (TensorSpec("logits", "float32", (-1, 1)), TensorSpec("odd", "complex64", (-1,)))),
)
X = InputSpec("x", "float32", (-1,))
Y = InputSpec("y", "int64", (-1,))
BUDGET = InputSpec("budget", "float32", (-1,), required=False, missing=-1)
PAIRS = InputSpec("pairs", "int8", (-1, 2), required=False, missing=7)
TEXT = InputSpec("text", "string", (-1,))
TABLE = InputSpec("x", "float32", (-1, 2))
COLUMN = InputSpec("x", "float32", (-1, 1))
SCALAR = InputSpec("limit", "float32", ())
ANY = InputSpec("x", "float32", None)
VARIABLE = InputSpec("x", "float32", (-1, -1))


def model(*inputs: InputSpec) -> ModelSpec:
    return ModelSpec("m", 3, inputs, HEADS, {}, {})


def tensor(name: str, shape: list, datatype: str, data: object, **more: object) -> dict:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **more}


def x(data: object, shape: list | None = None) -> dict:
    return tensor("x", [len(data)] if shape is None else shape, "FP32", data)


def decode(message: object, *inputs: InputSpec, tail: bytes = b"", codec: oip.OpenInference | None = None):
    header = message if isinstance(message, bytes) else orjson.dumps(message)
    codec = codec or oip.OpenInference(len(header) if tail else None)
    return codec.decode(header + tail, model(*inputs))


INF = float("inf")


@pytest.mark.parametrize(
    ("entries", "inputs", "expected"),
    [
        pytest.param([x([1, 3])], [X], {"x": [1, 3]}, id="numbers"),
        pytest.param([tensor("y", [1], "INT64", [2]), x([1])], [X, Y], {"x": [1], "y": [2]}, id="in any order"),
        pytest.param([x([[1, 2], [3, 4]], [2, 2])], [TABLE], {"x": [[1, 2], [3, 4]]}, id="nested"),
        pytest.param([x([1, 2, 3, 4], [2, 2])], [TABLE], {"x": [[1, 2], [3, 4]]}, id="flat"),
        pytest.param([x([1, 2], [2])], [COLUMN], {"x": [[1], [2]]}, id="without the last size of 1"),
        pytest.param([x([[1], [2]], [2, 1])], [COLUMN], {"x": [[1], [2]]}, id="with it"),
        pytest.param([x([1, 2], [1, 2, 1])], [ANY], {"x": [[[1], [2]]]}, id="any rank"),
        pytest.param([x([[], []], [2, 0])], [VARIABLE], {"x": [[], []]}, id="rows without values"),
        pytest.param([tensor("limit", [], "FP32", [5])], [SCALAR], {"limit": 5}, id="one value, in a list"),
        pytest.param([tensor("limit", [], "FP32", 5)], [SCALAR], {"limit": 5}, id="one value, bare"),
        pytest.param([x([1, 2])], [X, BUDGET], {"x": [1, 2], "budget": [-1, -1]}, id="absent and optional"),
        pytest.param(
            [x([1, 2]), tensor("budget", [2], "FP32", [None, 5])], [X, BUDGET], {"x": [1, 2], "budget": [-1, 5]}, id="null"
        ),
        pytest.param(
            [x([1, 2]), tensor("pairs", [2, 2], "INT8", [None, [1, 2]])],
            [X, PAIRS],
            {"x": [1, 2], "pairs": [[7, 7], [1, 2]]},
            id="a row of null",
        ),
        pytest.param([tensor("text", [2], "BYTES", ["a", {"b64": "/w=="}])], [TEXT], {"text": [b"a", b"\xff"]}, id="strings"),
        pytest.param([x([1.0]) | {"parameters": {"anything": 1}}], [X], {"x": [1]}, id="unknown parameters are free"),
    ],
)
def test_inputs_in_json(entries, inputs, expected):
    assert {name: array.tolist() for name, array in decode({"inputs": entries}, *inputs).inputs.items()} == expected


@pytest.mark.parametrize("shape", [[5], [5, 1], [1, 5]])
def test_what_is_no_number_is_read_as_tritons_clients_write_it(shape):
    data = "[NaN,Infinity,-Infinity,null,1]" if len(shape) == 1 else "[[NaN],[Infinity],[-Infinity],[null],[1]]"
    data = data if shape != [1, 5] else "[[NaN,Infinity,-Infinity,null,1]]"
    body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": %s, "data": %s}]}' % (str(shape).encode(), data.encode())
    array = decode(body, ANY).inputs["x"]
    np.testing.assert_array_equal(array, np.array([np.nan, INF, -INF, np.nan, 1], np.float32).reshape(shape))


def test_inputs_in_binary():
    entries = [
        {"name": "text", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 9}},
        tensor("y", [2], "INT64", [1, 2]),
        {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
    ]
    tail = b"\1\0\0\0a\0\0\0\0" + np.array([1, np.nan], np.float32).tobytes()
    inputs = decode({"inputs": entries}, X, Y, TEXT, tail=tail).inputs
    np.testing.assert_array_equal(inputs["x"], [1, np.nan])
    assert (inputs["y"].tolist(), inputs["text"].tolist()) == ([1, 2], [b"a", b""])


@pytest.mark.parametrize(
    ("spec", "body", "expected"),
    [
        pytest.param(TABLE, np.array([1, 2], np.float32).tobytes(), [[1, 2]], id="one row"),
        pytest.param(X, np.array([5], np.float32).tobytes(), [5], id="one value"),
        pytest.param(VARIABLE, np.array([1, 2, 3], np.float32).tobytes(), [[1, 2, 3]], id="one size varies"),
        pytest.param(ANY, np.array([1], np.float32).tobytes(), [1], id="any rank"),
        pytest.param(TEXT, b"\xffjpeg", [b"\xffjpeg"], id="a string, as it is"),
        pytest.param(SCALAR, np.array(5, np.float32).tobytes(), 5, id="no rows"),
    ],
)
def test_raw_bodies(spec, body, expected):
    codec = oip.OpenInference(0)
    request = codec.decode(body, model(spec))
    assert request.inputs[spec.name].tolist() == expected
    assert request.outputs == (("a", "probabilities"), ("a", "classes"), ("b", "logits"))
    outputs = {output: np.ones((1, 1), np.float32) for output in request.outputs}
    assert len(codec.encode(InferResponse("m", 3, outputs)).chunks) == 4


@pytest.mark.parametrize(
    ("inputs", "body", "error", "message"),
    [
        pytest.param([X, Y], b"", RequestError, "for models with one input, and 'm' has 'x', 'y'", id="two inputs"),
        pytest.param(
            [TABLE], b"\0" * 24, WrongShapeError, r"shape \[1, 2\] of FP32 takes 8 bytes, but got 24", id="three rows"
        ),
        pytest.param([VARIABLE], b"", WrongShapeError, r"0 values in a raw body make no row of shape \[-1\]", id="nothing"),
        pytest.param([VARIABLE], b"\0" * 6, WrongShapeError, r"takes 4 bytes, but got 6", id="a value cut"),
        pytest.param([InputSpec("x", "float32", (-1, -1, -1))], b"\0" * 8, WrongShapeError, "make no row", id="two sizes vary"),
        pytest.param(
            [InputSpec("x", "string", (-1, 2))], b"", WrongShapeError, r"is one string, but a row has shape \[2\]", id="strings"
        ),
        pytest.param([InputSpec("x", "float32", (-1, -1, 0))], b"\0" * 8, WrongShapeError, "make no row", id="no values"),
        pytest.param([InputSpec("x", "complex64", (-1,))], b"", UnsupportedTypeError, "x' is complex64", id="dtype"),
    ],
)
def test_raw_bodies_that_are_refused(inputs, body, error, message):
    with pytest.raises(error, match=message):
        oip.OpenInference(0).decode(body, model(*inputs))


ALL = (("a", "probabilities"), ("a", "classes"), ("b", "logits"))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        pytest.param({}, ALL, id="all that the protocol can carry"),
        pytest.param({"outputs": []}, ALL, id="an empty list"),
        pytest.param(
            {"outputs": [{"name": "b/logits"}, {"name": "a/classes"}]},
            [("a", "classes"), ("b", "logits")],
            id="in the model's order",
        ),
        pytest.param({"parameters": {"heads": "*"}}, ALL, id="all heads"),
        pytest.param({"parameters": {"heads": "a"}}, ALL[:2], id="a head"),
        pytest.param({"parameters": {"heads": "b, a", "keys": "logits,classes"}}, [ALL[1], ALL[2]], id="heads and keys"),
        pytest.param({"parameters": {"heads": ["a"], "keys": ["classes"]}}, [ALL[1]], id="lists"),
        pytest.param({"parameters": {"keys": "classes"}}, [ALL[1]], id="keys of whichever head"),
        pytest.param({"parameters": {"priority": 1, "triton_x": "y", "own": True}}, ALL, id="other parameters"),
    ],
)
def test_selection(members, expected):
    assert decode({"inputs": [x([1])]} | members, X).outputs == tuple(expected)


def test_one_plain_signature_keeps_its_names():
    heads = (HeadSpec("default", (TensorSpec("value", "float32", (-1, 1)),)),)
    plain = ModelSpec("m", 1, (X,), heads, {}, {}, sources={("default", "value"): ("serving_default", "value")})
    assert plain.output_names == {"value": ("default", "value")}
    own = ModelSpec("m", 1, (X,), heads, {}, {}, sources={("default", "value"): ("default/predict", "value")})
    assert own.output_names == {"default/value": ("default", "value")}
    carded = ModelSpec("m", 1, (X,), heads, {}, {}, sources={("default", "value"): ("predict", "default/value")})
    assert carded.output_names == {"default/value": ("default", "value")}


def test_the_deadline():
    before = time.monotonic()
    deadline = decode({"inputs": [x([1])], "parameters": {"timeout": 2_000_000}}, X).deadline
    assert before + 2 <= deadline <= time.monotonic() + 2
    assert decode({"inputs": [x([1])], "parameters": {"timeout": 0}}, X).deadline is None


def broken(**members: object) -> dict:
    return {"inputs": [x([1.0, 2.0]) | members]}


@pytest.mark.parametrize(
    ("message", "error", "text"),
    [
        pytest.param(b" ", RequestError, "The body is empty; send", id="empty"),
        pytest.param(b"{\n1", BrokenJsonError, "line 2, column 1", id="broken"),
        pytest.param(b'{"a": NaN,\n 1}', BrokenJsonError, "line 2, column 2", id="broken behind a NaN"),
        pytest.param(b'[NaN, "\\ud800"]', BrokenJsonError, "surrogates not allowed", id="half a character"),
        pytest.param(b"[NaN" + b"[" * 200_000, BrokenJsonError, "no JSON", id="too deep behind a NaN"),
        pytest.param(b"[NaN, " + b"1" * 5000 + b"]", BrokenJsonError, "no JSON", id="too many digits behind a NaN"),
        pytest.param(b'["NaN", \xff]', BrokenJsonError, "no JSON", id="no text"),
        pytest.param([1], RequestError, "Expected an object such as .*, but got a list of 1", id="no object"),
        pytest.param({}, RequestError, "'inputs': expected a list of tensors, but got null", id="no inputs"),
        pytest.param({"inputs": [1]}, RequestError, "tensor 0: expected an object with a 'name'", id="no tensor"),
        pytest.param({"inputs": [{"name": 1}]}, RequestError, "tensor 0: expected an object with a 'name'", id="no name"),
        pytest.param({"inputs": [x([1]), x([1])]}, RequestError, "'x' is given twice", id="twice"),
        pytest.param({"inputs": []}, MissingInputError, "Input 'x' is missing; .* has datatype FP32", id="missing"),
        pytest.param(broken(name="z"), UnknownInputError, "no input 'z'; the model takes 'x', 'budget'", id="unknown"),
        pytest.param(
            broken(datatype="FP64"), WrongTypeError, "expected datatype FP32, but got the string 'FP64'", id="datatype"
        ),
        pytest.param(broken(datatype=None), WrongTypeError, "expected datatype FP32, but got null", id="no datatype"),
        pytest.param(broken(shape=[2, 1]), WrongShapeError, r"expected shape \[-1\], .* but got \[2, 1\]", id="rank"),
        pytest.param(broken(shape=[3]), WrongShapeError, r"shape \[3\] takes 3 values, but got 2", id="too few values"),
        pytest.param(broken(shape=[2**60]), WrongShapeError, "values, but got 2", id="huge"),
        pytest.param(broken(shape=[0]), NoRowsError, "'x' has no rows", id="no rows"),
        pytest.param(broken(shape=[-1]), WrongShapeError, r"list of at most 32 sizes, but got \[-1\]", id="negative"),
        pytest.param(broken(shape=[True]), WrongShapeError, r"sizes, but got \[True\]", id="a truth value for a size"),
        pytest.param(broken(shape="2"), WrongShapeError, "sizes, but got the string '2'", id="no shape"),
        pytest.param(broken(data=["a", 1]), WrongTypeError, "row 0: expected a number, but got the string 'a'", id="type"),
        pytest.param(broken(data=[1, 1e39]), OutOfRangeError, "row 1: expected a number from", id="range"),
        pytest.param(broken(data=5), WrongShapeError, "Input 'x'", id="no list"),
        pytest.param(broken(data={}), WrongTypeError, "Input 'x'", id="an object"),
        pytest.param(
            {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}, MissingInputError, "expected 'data'", id="no data"
        ),
        pytest.param(broken(parameters=[]), RequestError, "'parameters' to be an object, but got a list", id="parameters"),
        pytest.param(broken(parameters={"binary_data_size": 8}), RequestError, "has both 'data' and", id="both"),
        pytest.param(
            broken(parameters={"binary_data_size": -1}), RequestError, "binary_data_size to be a number of bytes", id="size"
        ),
        pytest.param(
            broken(parameters={"shared_memory_region": "r"}),
            UnsupportedFeatureError,
            "shared memory is not",
            id="shared memory",
        ),
        pytest.param(
            {"inputs": [x([1]), tensor("budget", [2], "FP32", [1, 2])]}, WrongShapeError, "expected 1 rows, .* got 2", id="rows"
        ),
        pytest.param(broken() | {"id": 7}, RequestError, "'id': expected a string, but got the number 7", id="id"),
        pytest.param(broken() | {"parameters": 1}, RequestError, "request: expected 'parameters'", id="request's parameters"),
        pytest.param(
            broken() | {"parameters": {"timeout": -1}}, RequestError, "timeout: expected a number of µs|micro", id="timeout"
        ),
        pytest.param(broken() | {"parameters": {"binary_data_output": 1}}, RequestError, "true or false, but got", id="flag"),
        pytest.param(broken() | {"parameters": {"heads": "c"}}, UnknownHeadError, "no head 'c'", id="head"),
        pytest.param(broken() | {"parameters": {"heads": 1}}, InvalidRequestError, "names with commas", id="heads"),
        pytest.param(broken() | {"outputs": {}}, RequestError, "'outputs': expected a list", id="outputs"),
        pytest.param(
            broken() | {"outputs": [{}]}, RequestError, "'outputs', tensor 0: expected an object", id="no output name"
        ),
        pytest.param(
            broken() | {"outputs": [{"name": "a/clases"}]}, UnknownKeyError, "Did you mean 'a/classes'", id="unknown output"
        ),
        pytest.param(
            broken() | {"outputs": [{"name": "a/classes"}] * 2}, InvalidRequestError, "lists 'a/classes' 2 times", id="2×"
        ),
        pytest.param(
            broken() | {"outputs": [{"name": "a/classes"}], "parameters": {"keys": "classes"}},
            RequestError,
            "got both",
            id="both ways",
        ),
        pytest.param(
            broken() | {"outputs": [{"name": "a/classes", "parameters": {"classification": -1}}]},
            RequestError,
            "number of classes as the parameter classification",
            id="classification",
        ),
        pytest.param(
            broken() | {"outputs": [{"name": "a/classes", "parameters": {"shared_memory_region": "r"}}]},
            UnsupportedFeatureError,
            "shared memory",
            id="answers in shared memory",
        ),
    ],
)
def test_what_is_refused(message, error, text):
    with pytest.raises(error, match=text):
        decode(message, X, BUDGET)


@pytest.mark.parametrize(
    ("size", "tail", "header_length", "text"),
    [
        pytest.param(8, b"\0" * 4, None, "says 8 bytes, but 4 are left at byte 0", id="cut"),
        pytest.param(8, b"\0" * 12, None, "4 bytes are left behind the last binary tensor", id="too much"),
        pytest.param(4, b"\0" * 4, None, r"shape \[2\] of FP32 takes 8 bytes, but got 4", id="another size than the shape's"),
        pytest.param(8, b"\0" * 8, 10_000, "says that the JSON has 10000 bytes, but the body has", id="a header too long"),
        pytest.param(8, b"\0" * 8, 10, "The body is no JSON", id="a header too short"),
    ],
)
def test_binary_bodies_that_are_refused(size, tail, header_length, text):
    header = orjson.dumps(
        {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": size}}]}
    )
    with pytest.raises(RequestError, match=text):
        oip.OpenInference(header_length or len(header)).decode(header + tail, model(X))


def test_rows_without_values_cost_nothing():
    """Nothing in the body would bound them, and each would have to be batched."""
    with pytest.raises(WrongShapeError, match="too large for no values at all"):
        decode({"inputs": [x([], [10**9, 0])]}, VARIABLE)


def encoded(message: dict, outputs: dict, spec: ModelSpec | None = None):
    codec = oip.OpenInference()
    codec.decode(orjson.dumps({"inputs": [x([1])]} | message), spec or model(X))
    return codec.encode(InferResponse("m", 3, outputs))


PROBABILITIES = np.array([[0.2, 0.7, 0.1], [0.5, np.nan, 0.5]], np.float32)
CLASSES = np.array([[b"y"], [b"\xff"]], object)
OUTPUTS = {("a", "probabilities"): PROBABILITIES, ("a", "classes"): CLASSES}


def test_answers_in_json():
    answer = encoded({"id": "7", "parameters": {"heads": "a"}}, OUTPUTS)
    assert answer.headers == ((b"content-type", b"application/json"),)
    assert orjson.loads(b"".join(answer.chunks)) == {
        "model_name": "m",
        "model_version": "3",
        "id": "7",
        "outputs": [
            {"name": "a/probabilities", "datatype": "FP32", "shape": [2, 3], "data": [0.2, 0.7, 0.1, 0.5, None, 0.5]},
            {"name": "a/classes", "datatype": "BYTES", "shape": [2, 1], "data": ["y", {"b64": "/w=="}]},
        ],
    }


def test_answers_come_in_the_order_asked_for():
    outputs = [{"name": "a/classes"}, {"name": "a/probabilities"}]
    answer = orjson.loads(encoded({"outputs": outputs}, OUTPUTS).chunks[0])
    assert [entry["name"] for entry in answer["outputs"]] == ["a/classes", "a/probabilities"]


def test_answers_in_binary_are_the_arrays_themselves():
    outputs = [{"name": "a/probabilities"}, {"name": "a/classes", "parameters": {"binary_data": False}}]
    answer = encoded({"outputs": outputs, "parameters": {"binary_data_output": True}}, OUTPUTS)
    header, chunk = answer.chunks
    assert np.shares_memory(np.frombuffer(chunk, np.uint8), PROBABILITIES)
    assert answer.headers == (
        (b"content-type", b"application/octet-stream"),
        (b"Inference-Header-Content-Length", b"%d" % len(header)),
    )
    first, second = orjson.loads(header)["outputs"]
    assert first == {"name": "a/probabilities", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
    assert second["data"] == ["y", {"b64": "/w=="}]


@pytest.mark.parametrize(
    ("array", "count", "expected"),
    [
        pytest.param(PROBABILITIES, 2, [["0.7:1:y", "0.2:0:x"], ["0.5:0:x", "0.5:2:z"]], id="the largest, with labels"),
        pytest.param(PROBABILITIES[1:], 9, [["0.5:0:x", "0.5:2:z", "nan:1:y"]], id="NaN last, and no more than there are"),
        pytest.param(np.array([[1, 5]]), 1, [["5:1"]], id="other numbers of classes have no labels"),
        pytest.param(np.array([1.5, 2.5], np.float16), 1, [["1.5:0"], ["2.5:0"]], id="one value a row"),
        pytest.param(np.array([[[1, 2]], [[4, 3]]], np.uint8), 1, [["2:1"], ["4:0"]], id="deeper"),
    ],
)
def test_classification(array, count, expected):
    outputs = [{"name": "a/probabilities", "parameters": {"classification": count}}]
    (entry,) = orjson.loads(encoded({"outputs": outputs}, {("a", "probabilities"): array}).chunks[0])["outputs"]
    assert (entry["datatype"], entry["shape"]) == ("BYTES", list(np.shape(expected)))
    assert entry["data"] == [text for row in expected for text in row]


def test_classification_is_for_numbers():
    outputs = [{"name": "a/classes", "parameters": {"classification": 1}}]
    with pytest.raises(InvalidRequestError, match="classification is for numbers"):
        encoded({"outputs": outputs}, OUTPUTS)


def test_an_output_that_the_protocol_cannot_carry():
    with pytest.raises(UnsupportedTypeError, match="'b/odd' is complex64"):
        encoded({"outputs": [{"name": "b/odd"}]}, {("b", "odd"): np.ones(1, np.complex64)})


def test_errors():
    answer = oip.encode_error(HeadserveError("Wrong.", row=1))
    assert (answer.chunks, answer.headers) == ((b'{"error":"Wrong."}',), ((b"content-type", b"application/json"),))
