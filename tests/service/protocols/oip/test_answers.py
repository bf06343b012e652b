"""Answers: tensors in JSON and in binary, classifications, errors."""

import numpy as np
import orjson
import pytest

from service.errors import HeadserveError, InvalidRequestError, UnsupportedTypeError
from service.protocols.oip import codec as oip
from service.protocols.oip.paths import V2
from service.types import InferResponse, ModelSpec
from tests.service.protocols.oip.oip_messages import X, model, x


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


def test_outputs_are_in_the_requested_order():
    outputs = [{"name": "a/classes"}, {"name": "a/probabilities"}]
    answer = orjson.loads(encoded({"outputs": outputs}, OUTPUTS).chunks[0])
    assert [entry["name"] for entry in answer["outputs"]] == ["a/classes", "a/probabilities"]


def test_binary_answers_are_not_copied():
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
        pytest.param(PROBABILITIES, 2, [["0.7:1:y", "0.2:0:x"], ["0.5:0:x", "0.5:2:z"]], id="largest, with labels"),
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


def test_classification_needs_numbers():
    outputs = [{"name": "a/classes", "parameters": {"classification": 1}}]
    with pytest.raises(InvalidRequestError, match="classification needs numbers"):
        encoded({"outputs": outputs}, OUTPUTS)


def test_an_output_without_a_datatype():
    with pytest.raises(UnsupportedTypeError, match="'b/odd' is complex64"):
        encoded({"outputs": [{"name": "b/odd"}]}, {("b", "odd"): np.ones(1, np.complex64)})


def test_errors():
    _, answer = V2.problem(HeadserveError("Wrong.", row=1))
    assert (answer.chunks, answer.headers) == ((b'{"error":"Wrong."}',), ((b"content-type", b"application/json"),))
