"""TensorFlow Serving's REST API, fact by fact: a request, and the answer that its clients rely on.

Where headserve answers otherwise on purpose, the case says `better`.
"""

import gzip
import json
import re
from typing import Any

import httpx
import pytest

from service.routes.v1_docs import PATHS

TWO = "/v1/models/half_plus_two"
THREE = "/v1/models/half_plus_three"
FACTS = "/v1/models/facts"


def ask(client: httpx.Client, path: str, body: Any, **options: Any) -> httpx.Response:
    """The answer; a body of bytes is sent as it is."""
    return client.post(path, content=body if isinstance(body, bytes) else json.dumps(body), **options)


def request(member: str, value: Any, signature: str | None = None) -> dict[str, Any]:
    return {member: value} | ({} if signature is None else {"signature_name": signature})


ANSWERS = [
    # The lines of TensorFlow Serving's own documentation.
    pytest.param(TWO + ":predict", {"instances": [1.0, 2.0, 5.0]}, {"predictions": [2.5, 3.0, 4.5]}, id="README"),
    pytest.param(THREE + ":predict", {"instances": [1.0, 2.0, 5.0]}, {"predictions": [3.5, 4.0, 5.5]}, id="api_rest, predict"),
    pytest.param(
        THREE + ":regress",
        {"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]},
        {"results": [3.5, 4.0]},
        id="api_rest, regress",
    ),
    # Whom: paths.
    pytest.param(TWO + "/versions/123:predict", {"instances": [1]}, {"predictions": [2.5]}, id="a version"),
    pytest.param(TWO + "/versions/000123:predict", {"instances": [1]}, {"predictions": [2.5]}, id="a version with zeros"),
    pytest.param(TWO + "/labels/stable:predict", {"instances": [1]}, {"predictions": [2.5]}, id="a label"),
    pytest.param(TWO + "/labels/a%2Fb:predict", {"instances": [1]}, {"predictions": [2.5]}, id="a label with a slash"),
    pytest.param("/v1/models/with%3Acolon:predict", {"instances": [1]}, {"predictions": [2.5]}, id="a name with a colon"),
    pytest.param("/V1/MODELS/half_plus_two:PREDICT", {"instances": [1]}, {"predictions": [2.5]}, id="case"),
    pytest.param(TWO + ":predict?x=1", {"instances": [1]}, {"predictions": [2.5]}, id="better: a query is ignored"),
    # Keys.
    pytest.param(TWO + ":predict", request("instances", [1], ""), {"predictions": [2.5]}, id="an empty signature_name"),
    pytest.param(TWO + ":predict", {"instances": [1], "more": 1}, {"predictions": [2.5]}, id="other members are ignored"),
    # Rows.
    pytest.param(TWO + ":predict", {"instances": [[1], [2]]}, {"predictions": [[2.5], [3.0]]}, id="rows of lists"),
    pytest.param(TWO + ":predict", {"instances": [{"x": 1}, {"x": 2}]}, {"predictions": [2.5, 3.0]}, id="rows of objects"),
    pytest.param(TWO + ":predict", {"instances": [{"x": [1, 2]}]}, {"predictions": [[2.5, 3.0]]}, id="[n, m]"),
    pytest.param(
        TWO + ":predict",
        request("instances", [{"x": [1], "x2": [2]}, {"x2": [4], "x": [3]}], "two_inputs"),
        {"predictions": [{"y": [2.5], "y3": [4.0]}, {"y": [3.5], "y3": [5.0]}]},
        id="two inputs, two outputs",
    ),
    pytest.param(
        TWO + ":predict",
        request("instances", [1, 2], "two_outputs"),
        {"predictions": [{"y": 2.5, "y2": 3.5}, {"y": 3.0, "y2": 4.0}]},
        id="bare values, two outputs",
    ),
    # Columns.
    pytest.param(TWO + ":predict", {"inputs": [1, 2]}, {"outputs": [2.5, 3.0]}, id="a column"),
    pytest.param(TWO + ":predict", {"inputs": 1}, {"outputs": 2.5}, id="a scalar"),
    pytest.param(TWO + ":predict", {"inputs": {"x": [[1]]}}, {"outputs": [[2.5]]}, id="a column by name"),
    pytest.param(TWO + ":predict", {"inputs": {"x": [1], "z": ["?"]}}, {"outputs": [2.5]}, id="extra columns are ignored"),
    pytest.param(
        TWO + ":predict",
        request("inputs", {"x": [[1]], "x2": [[2]]}, "two_inputs"),
        {"outputs": {"y": [[2.5]], "y3": [[4.0]]}},
        id="two columns",
    ),
    pytest.param(
        FACTS + ":predict",
        request("inputs", {"x": [1], "z": [1, 2, 3]}, "sizes"),
        {"outputs": {"x": [2.0], "z": [2.0, 3.0, 4.0]}},
        id="columns of two lengths",
    ),
    pytest.param(
        TWO + ":predict",
        request("inputs", [[1], [2]], "sum"),
        {"outputs": {"sum": 3.0, "y": [[2.5], [3.0]]}},
        id="scalar among columns",
    ),
    # Types.
    pytest.param(
        FACTS + ":predict",
        request("inputs", [1, 2.5, 1e39, -1e39, 1e-50, 16777217], "echo_float32"),
        {"outputs": [1.0, 2.5, float("inf"), float("-inf"), 0.0, 16777216.0]},
        id="float32",
    ),
    pytest.param(FACTS + ":predict", request("inputs", [1e300, 1], "echo_float64"), {"outputs": [1e300, 1.0]}, id="float64"),
    pytest.param(FACTS + ":predict", request("inputs", [True, False], "echo_bool"), {"outputs": [True, False]}, id="bool"),
    pytest.param(
        FACTS + ":predict",
        request("inputs", ["text", {"b64": "dGV4dA=="}], "echo_string"),
        {"outputs": ["text", "text"]},
        id="strings",
    ),
    pytest.param(
        FACTS + ":predict", request("instances", [{"b64": "YQ=="}], "echo_string"), {"predictions": ["a"]}, id="base64 by row"
    ),
    pytest.param(
        FACTS + ":predict", request("inputs", {"b64": "YQ=="}, "echo_string"), {"outputs": "a"}, id="base64 for the only column"
    ),
    pytest.param(
        FACTS + ":predict",
        request("inputs", ["a"], "as_bytes"),
        {"outputs": {"y": ["a"], "y_bytes": [{"b64": "YQ=="}]}},
        id="outputs called bytes",
    ),
    pytest.param(
        FACTS + ":predict",
        request("inputs", [{"b64": "/w=="}], "echo_string"),
        {"outputs": [{"b64": "/w=="}]},
        id="better: bytes that are no text",
    ),
    pytest.param(
        FACTS + ":predict", request("inputs", [[[1], [2]]], "echo_int32"), {"outputs": [[[1], [2]]]}, id="three lists"
    ),
    pytest.param(FACTS + ":predict", request("inputs", [], "echo_int32"), {"outputs": []}, id="nothing"),
    # Any signature.
    pytest.param(
        TWO + ":predict",
        # Example { x: 1.0 }, as protocol buffers write it.
        request("instances", [{"b64": "Cg8KDQoBeBIIEgYKBAAAgD8="}], "regress_x_to_y"),
        {"predictions": [[2.5]]},
        id="predict on a regression signature",
    ),
    pytest.param(
        TWO + ":predict", request("inputs", [[2]], "regress_x2_to_y3"), {"outputs": [[4.0]]}, id="a raw input called inputs"
    ),
    # Classify and regress.
    pytest.param(
        FACTS + ":classify",
        request("examples", [{"age": 25.0}, {"age": [100.0]}], "classify"),
        {"results": [[["young", 0.75], ["old", 0.25]], [["young", 0.0], ["old", 1.0]]]},
        id="classify",
    ),
    pytest.param(
        TWO + ":classify",
        request("examples", [{"x": 1.0}], "classify_x_to_y"),
        {"results": [[["", 2.5]]]},
        id="without classes",
    ),
    pytest.param(
        FACTS + ":classify",
        request("examples", [{"id": 7}, {"id": True}], "classify_ids"),
        {"results": [[["7", 0.0]], [["1", 0.0]]]},
        id="without scores; whole numbers and bools are int64",
    ),
    pytest.param(
        TWO + ":regress",
        request("examples", [{"x": 1.0}, {"x": 2.0}], "regress_x_to_y2"),
        {"results": [3.5, 4.0]},
        id="regress",
    ),
    pytest.param(
        TWO + ":regress",
        request("examples", [{}, {"x": 2.0}], "regress_x_to_y") | {"context": {"x": 4.0}},
        {"results": [4.0, 3.0]},
        id="context",
    ),
    # Beyond it.
    pytest.param(
        TWO + ":predict",
        request("instances", [1], "two_outputs") | {"output_filter": ["y2"]},
        {"predictions": [3.5]},
        id="better: output_filter",
    ),
    pytest.param(
        TWO + ":multiInference",
        {
            "examples": [{"x": 1.0}],
            "tasks": [
                {"signature_name": "regress_x_to_y", "method_name": "regress"},
                {"signature_name": "classify_x_to_y", "method_name": "tensorflow/serving/classify"},
                {"signature_name": "regress_x_to_y2", "method_name": "predict"},
            ],
        },
        {
            "results": [
                {"signature_name": "regress_x_to_y", "method_name": "regress", "results": [2.5]},
                {"signature_name": "classify_x_to_y", "method_name": "classify", "results": [[["", 2.5]]]},
                {"signature_name": "regress_x_to_y2", "method_name": "predict", "predictions": [[3.5]]},
            ]
        },
        id="better: multiInference",
    ),
]


@pytest.mark.parametrize(("path", "body", "expected"), ANSWERS)
def test_answers(v1, path, body, expected):
    answer = ask(v1, path, body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == expected
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["x-model-version"]) in (1, 123, 124)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [pytest.param(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, f"int{bits}", id=f"int{bits}") for bits in (8, 16, 32, 64)]
    + [pytest.param(0, 2**bits - 1, f"uint{bits}", id=f"uint{bits}") for bits in (8, 32, 64)],
)
def test_ranges_of_whole_numbers(v1, low, high, dtype):
    answer = ask(v1, FACTS + ":predict", request("inputs", [low, high], f"echo_{dtype}"))
    assert answer.text == f'{{"outputs":[{low},{high}]}}'
    for value in (low - 1, high + 1, 1.0, True):
        assert ask(v1, FACTS + ":predict", request("inputs", [value], f"echo_{dtype}")).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        pytest.param(
            FACTS, b'{"inputs": [NaN, Infinity, -Infinity, Inf]}', '{"outputs":[NaN,Infinity,-Infinity,Infinity]}', id="words"
        ),
        pytest.param(FACTS, b'{"instances": [NaN]}', '{"predictions":[NaN]}', id="words by row"),
        pytest.param(FACTS, b'{"inputs": [2, 0.1, 123456.7]}', '{"outputs":[2.0,0.1,123456.7]}', id="whole floats, shortest"),
        pytest.param(FACTS, b'{"inputs": [0.1], "signature_name": "echo_float64"}', '{"outputs":[0.1]}', id="float64"),
        pytest.param(TWO, b'{"instances": [0]}', '{"predictions":[2.0]}', id="a whole result"),
    ],
)
def test_numbers_as_text(v1, path, body, text):
    assert ask(v1, path + ":predict", body).text == text


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain", ""])
def test_the_content_type_is_not_read(v1, content_type):
    answer = ask(v1, TWO + ":predict", {"instances": [1]}, headers={"content-type": content_type})
    assert answer.json() == {"predictions": [2.5]}


def test_bodies_may_be_compressed(v1):
    body = gzip.compress(b'{"instances": [1]}')
    assert ask(v1, TWO + ":predict", body, headers={"content-encoding": "gzip"}).json() == {"predictions": [2.5]}
    refused = ask(v1, TWO + ":predict", b"{}", headers={"content-encoding": "gzip"})
    assert (refused.status_code, list(refused.json())) == (400, ["error"])


def test_better_answers_are_compressed_when_asked(v1):
    answer = ask(v1, TWO + ":predict", {"instances": [1.0] * 5000}, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json() == {"predictions": [2.5] * 5000}


REFUSALS = [
    # Paths.
    pytest.param("GET", "/v1", None, 400, "^Malformed request: GET /v1$", id="no path"),
    pytest.param("GET", TWO + "/", None, 400, f"^Malformed request: GET {TWO}/$", id="a slash behind it"),
    pytest.param("POST", TWO + ":explain", {}, 400, f"^Malformed request: POST {TWO}:explain$", id="no such verb"),
    pytest.param("POST", TWO + "/versions/x:predict", {}, 400, "^Malformed request: POST ", id="a version that is no number"),
    pytest.param("DELETE", "/v1/nix", None, 400, "^Malformed request: DELETE /v1/nix$", id="no such path"),
    pytest.param("POST", "/v1/models/a/b:predict", {}, 400, "^Malformed request", id="a slash in a name"),
    pytest.param("GET", TWO + "/labels/a%0Ab/metadata", None, 400, "label: a\nb", id="a label with a line break"),
    pytest.param("GET", TWO + "%0A", None, 404, "model half_plus_two\n", id="a name with a line break"),
    pytest.param("POST", TWO + ":predict%0A", {}, 400, "^Malformed request", id="a line break behind it"),
    pytest.param("GET", TWO + ":predict", None, 405, "takes POST, but got GET", id="better: GET of a verb"),
    pytest.param("POST", TWO, {}, 405, "takes GET, but got POST", id="better: POST without a verb"),
    pytest.param("DELETE", TWO + "/metadata", None, 405, "takes GET", id="better: DELETE"),
    pytest.param("POST", TWO + "/versions/9223372036854775808:predict", {}, 400, "version", id="better: over int64"),
    pytest.param("GET", TWO + "/versions/9223372036854775808", None, 400, "version", id="better: over int64, status"),
    # Whom.
    pytest.param("POST", "/v1/models/x:predict", {}, 404, r"^Servable not found for request: Latest\(x\)$", id="model"),
    pytest.param(
        "POST", "/v1/models/x/versions/7:predict", {}, 404, r"^Servable not found for request: Specific\(x, 7\)$", id="both"
    ),
    pytest.param(
        "POST",
        TWO + "/versions/7:predict",
        {},
        404,
        r"^Servable not found for request: Specific\(half_plus_two, 7\)$",
        id="version",
    ),
    pytest.param("POST", TWO + "/labels/x:predict", {}, 400, "label: x", id="label"),
    pytest.param("GET", "/v1/models/x/metadata", None, 404, r"^Servable not found for request: Latest\(x\)$", id="metadata"),
    pytest.param("GET", "/v1/models/x", None, 404, "^Could not find any versions of model x$", id="status"),
    pytest.param("GET", "/v1/models/x/versions/7", None, 404, "^Could not find version 7 of model x$", id="status of both"),
    pytest.param(
        "GET", TWO + "/versions/7", None, 404, "^Could not find version 7 of model half_plus_two$", id="status of a version"
    ),
    pytest.param("GET", TWO + "/labels/x", None, 400, "label: x", id="better: status of an unknown label"),
    pytest.param("GET", "/v1/models/a%2Fb", None, 404, "model a/b$", id="an encoded slash"),
    pytest.param("POST", "/v1/models/broken:predict", {}, 503, "failed to load", id="better: a model that failed"),
    # JSON.
    pytest.param("POST", TWO + ":predict", b"", 400, "^JSON Parse error: The document is empty$", id="empty"),
    pytest.param("POST", TWO + ":predict", b'{"instances": [1,]}', 400, "^JSON Parse error: .* offset: ", id="broken"),
    pytest.param("POST", TWO + ":predict", b'{"instances": [1]} x', 400, "offset: 19", id="better: garbage behind it"),
    pytest.param("POST", TWO + ":predict", b"[1]", 400, "Expected an object", id="no object"),
    pytest.param("POST", TWO + ":predict", b'{"instances": ' + b"[" * 2000, 400, "JSON Parse error", id="deep"),
    # Keys.
    pytest.param("POST", TWO + ":predict", {}, 400, "neither", id="neither instances nor inputs"),
    pytest.param("POST", TWO + ":predict", {"instances": [1], "inputs": [1]}, 400, "both", id="both instances and inputs"),
    pytest.param("POST", TWO + ":predict", request("inputs", 1, "x"), 400, '"x" not found in signature def', id="signature"),
    pytest.param("POST", TWO + ":predict", {"inputs": 1, "signature_name": 1}, 400, "a string", id="a number as signature"),
    pytest.param(
        "POST",
        TWO + ":predict",
        request("inputs", 1, "no_inputs"),
        400,
        "Failed to get input map for signature: no_inputs",
        id="n",
    ),
    # Rows.
    pytest.param("POST", TWO + ":predict", {"instances": []}, 400, "empty", id="no rows"),
    pytest.param("POST", TWO + ":predict", {"instances": {"x": 1}}, 400, "list", id="rows that are no list"),
    pytest.param("POST", TWO + ":predict", request("instances", [1], "two_inputs"), 400, "2 inputs", id="bare values for two"),
    pytest.param("POST", TWO + ":predict", {"instances": [{"x": 1}, 1]}, 400, "element: 1", id="objects, then values"),
    pytest.param("POST", TWO + ":predict", {"instances": [1, {"x": 1}]}, 400, "element: 1", id="values, then objects"),
    pytest.param("POST", TWO + ":predict", {"instances": [{"x": 1, "z": 1}]}, 400, "element: 0 key: z of", id="extra in a row"),
    pytest.param("POST", TWO + ":predict", {"instances": [[1], [1, 2]]}, 400, "element: 1", id="rows of two sizes"),
    pytest.param("POST", TWO + ":predict", {"instances": [[1], 1]}, 400, "element: 1", id="rows of two ranks"),
    pytest.param(
        "POST",
        TWO + ":predict",
        request("instances", [[1], [2]], "sum"),
        400,
        "^Tensor name: sum has no shape information",
        id="a sum",
    ),
    # Columns.
    pytest.param("POST", TWO + ":predict", request("inputs", [1], "two_inputs"), 400, "2 inputs", id="one column for two"),
    pytest.param("POST", TWO + ":predict", request("inputs", {"x": [1]}, "two_inputs"), 400, "x2", id="a column is missing"),
    # Types.
    pytest.param("POST", FACTS + ":predict", request("inputs", [True], "echo_float32"), 400, "got true", id="bool for float"),
    pytest.param("POST", FACTS + ":predict", {"inputs": [None]}, 400, "got null", id="null for float"),
    pytest.param("POST", FACTS + ":predict", {"inputs": ["1"]}, 400, "the string '1'", id="text for float"),
    pytest.param("POST", FACTS + ":predict", request("inputs", [1.0], "echo_int32"), 400, "1.0", id="1.0 for a whole number"),
    pytest.param("POST", FACTS + ":predict", request("inputs", [1], "echo_bool"), 400, "true or false", id="a number for bool"),
    pytest.param("POST", FACTS + ":predict", request("inputs", [1], "echo_string"), 400, "a string", id="a number for text"),
    pytest.param(
        "POST", FACTS + ":predict", request("inputs", [{"b64": "YQ==", "x": 1}], "echo_string"), 400, "b64", id="more than b64"
    ),
    pytest.param(
        "POST",
        FACTS + ":predict",
        request("inputs", [1], "complex"),
        400,
        "^Failed to write JSON value for tensor type: complex64",
        id="c",
    ),
    pytest.param("POST", FACTS + ":predict", request("instances", ["a"]), 400, "element: 0 key: x", id="element and key"),
    # Examples.
    pytest.param(
        "POST", TWO + ":regress", request("examples", [{"x": 80}], "regress_x_to_y"), 400, "refused", id="int64 for float"
    ),
    pytest.param("POST", TWO + ":regress", request("examples", [{}], "regress_x_to_y"), 400, "refused", id="no feature"),
    pytest.param(
        "POST",
        TWO + ":predict",
        request("instances", [{"b64": "/w=="}], "regress_x_to_y"),
        400,
        "Could not parse example",
        id="no Example",
    ),
    pytest.param("POST", TWO + ":regress", request("examples", [{"x": [10, 10.0]}]), 400, "'x'", id="no signature for it"),
    pytest.param(
        "POST", TWO + ":regress", request("examples", [{"x": [10, 10.0]}], "regress_x_to_y"), 400, "one kind", id="two kinds"
    ),
    pytest.param("POST", TWO + ":regress", request("examples", [{"x": None}], "regress_x_to_y"), 400, "null", id="null"),
    pytest.param("POST", TWO + ":regress", request("examples", [{"x": [[1]]}], "regress_x_to_y"), 400, "list", id="nested"),
    pytest.param(
        "POST", TWO + ":regress", request("examples", [{"x": 2**63}], "regress_x_to_y"), 400, "int64", id="over int64"
    ),
    pytest.param(
        "POST", TWO + ":regress", request("examples", [{"x": 1.0}], "classify_x_to_y"), 400, "outputs", id="no outputs"
    ),
    pytest.param("POST", TWO + ":classify", request("examples", [{"x": 1.0}], "regress_x_to_y"), 400, "scores", id="no scores"),
    pytest.param(
        "POST", TWO + ":regress", request("examples", [{"x": 1.0}], "regress_x2_to_y3"), 400, "inputs", id="raw input"
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), REFUSALS)
def test_refusals(v1, method, path, body, status, message):
    content = body if body is None or isinstance(body, bytes) else json.dumps(body)
    answer = v1.request(method, path, content=content)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert re.search(message, answer.json()["error"]), answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"
    if status == 405:
        assert answer.headers["allow"] in ("GET", "POST")


def test_a_request_that_takes_too_long(v1):
    answer = ask(v1, TWO + ":predict", {"instances": [1.0] * 200_000}, headers={"x-request-timeout-ms": "1"})
    assert (answer.status_code, list(answer.json())) == (504, ["error"])


@pytest.mark.parametrize(("origin", "status"), [("http://a.example", 200), ("https://a.example", 200), ("a", 400), (None, 400)])
def test_options(v1, origin, status):
    answer = v1.options(TWO + ":predict", headers={} if origin is None else {"origin": origin})
    assert (answer.status_code, answer.content) == (status, b"")


def available(version: str) -> dict[str, Any]:
    return {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        pytest.param(TWO, ["124", "123"], id="every version, newest first"),
        pytest.param(TWO + "/versions/123", ["123"], id="one"),
        pytest.param(TWO + "/labels/stable", ["123"], id="better: a label's"),
        pytest.param(TWO.upper().replace("HALF_PLUS_TWO", "half_plus_two"), ["124", "123"], id="case"),
    ],
)
def test_status(v1, path, versions):
    answer = v1.get(path)
    assert answer.json() == {"model_version_status": [available(version) for version in versions]}
    assert answer.headers["content-type"] == "application/json"


def test_the_status_of_a_model_that_failed(v1):
    (version,) = v1.get("/v1/models/broken").json()["model_version_status"]
    assert (version["version"], version["state"], version["status"]["error_code"]) == ("1", "END", "UNKNOWN")
    assert version["status"]["error_message"]


def test_better_a_list_of_models(v1):
    listed = {model["name"]: model for model in v1.get("/v1/models").json()["models"]}
    assert list(listed) == ["broken", "facts", "half_plus_three", "half_plus_two", "with:colon"]
    assert listed["half_plus_two"] == {
        "name": "half_plus_two",
        "model_version_status": [available("124"), available("123")],
        "version_labels": {"stable": "123", "a/b": "124"},
    }


@pytest.mark.parametrize(("path", "version"), [("", "124"), ("/versions/123", "123"), ("/labels/stable", "123")])
def test_metadata(v1, path, version):
    answer = v1.get(f"{TWO}{path}/metadata").json()
    assert answer["model_spec"] == {"name": "half_plus_two", "signature_name": "", "version": version}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    shape = {"dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}], "unknown_rank": False}
    assert signatures["serving_default"] == {
        "inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "x:0"}},
        "outputs": {"y": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "y:0"}},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    assert signatures["classify_x_to_y"]["method_name"] == "tensorflow/serving/classify"
    assert signatures["classify_x_to_y"]["inputs"]["inputs"]["dtype"] == "DT_STRING"


def test_metadata_of_a_shape_that_is_not_known(v1):
    signatures = v1.get(THREE + "/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert signatures["raw"]["inputs"]["x"]["tensor_shape"] == {"dim": [], "unknown_rank": True}


def test_every_path_of_the_document_is_answered(v1):
    """And each of them has a case above."""
    documented = {path for path in v1.get("/openapi.json").json()["paths"] if path.startswith("/v1")}
    assert documented == set(PATHS)
    for path in documented:
        method = "POST" if ":" in path else "GET"
        real = path.format(model="half_plus_two", version="123", label="stable")
        content = b"{}" if method == "POST" else None
        assert not v1.request(method, real, content=content).text.startswith('{"error":"Malformed')
        assert v1.request("PUT", real).status_code == 405
    verbs = {path.rpartition(":")[2] for path in documented if ":" in path}
    tried = {re.sub(r"\?.*", "", str(case.values[0])).rpartition(":")[2] for case in ANSWERS}
    assert verbs <= tried
