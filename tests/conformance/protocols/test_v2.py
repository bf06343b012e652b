"""One test for every fact of the Open Inference Protocol, version 2, and of Triton's extensions, over a real socket.

The facts are those of KServe's specification and of Triton's protocol documents. A last test finds endpoints that none
of the others asks.
"""

import gzip
import json
import re
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service import Settings, create_app
from tests.conformance.protocols.v2_server import ADMIN, FIXED, MAX_BODY_BYTES, export_all, running

LENGTH = "Inference-Header-Content-Length"
FILM = [
    {"name": "title", "shape": [2], "datatype": "BYTES", "data": ["Heat", "Alien"]},
    {"name": "year", "shape": [2], "datatype": "INT64", "data": [1995, 2001]},
]
VECTOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}

ASKED: list[tuple[str, str]] = []
"""Method and path of every request that a test has sent."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    export_all(folder)
    return folder


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[httpx.Client]:
    with running(models) as client:
        client.event_hooks = {"request": [lambda request: ASKED.append((request.method, request.url.path))]}
        yield client


def infer(
    client: httpx.Client, message: dict[str, Any], tail: bytes | None = None, model: str = "films", **headers: str
) -> Any:
    """The answer to a request, with the bytes behind its JSON if there are any."""
    header = json.dumps(message).encode()
    length = {} if tail is None else {LENGTH: str(len(header))}
    return client.post(f"/v2/models/{model}/infer", content=header + (tail or b""), headers=length | headers)


def answered(response: httpx.Response) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON of an answer and, by name, its outputs: their data, or their bytes where they are binary."""
    assert response.status_code == 200, response.text
    length = int(response.headers.get(LENGTH, len(response.content)))
    message, tail = json.loads(response.content[:length]), response.content[length:]
    outputs = {}
    for entry in message["outputs"]:
        size = entry.get("parameters", {}).get("binary_data_size")
        outputs[entry["name"]] = entry["data"] if size is None else tail[:size]
        tail = tail if size is None else tail[size:]
    assert not tail
    return message, outputs


# --- health and metadata ---------------------------------------------------------------------------------------------------

NAMED = "/v2/models/films"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/v2/health/live", {"live": True}, id="live"),
        pytest.param("/v2/health/ready", {"ready": True}, id="ready"),
        pytest.param(f"{NAMED}/ready", {"name": "films", "ready": True}, id="model ready"),
        pytest.param(f"{NAMED}/versions/1/ready", {"name": "films", "ready": True}, id="version ready"),
        pytest.param(
            "/v2/models/vectors",
            {
                "name": "vectors",
                "versions": ["7"],
                "platform": "tensorflow_savedmodel",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                "outputs": [
                    {"name": "sum/twice", "datatype": "FP32", "shape": [-1, 1]},
                    {"name": "sum/value", "datatype": "FP32", "shape": [-1, 1]},
                    {"name": "log/value", "datatype": "FP32", "shape": [-1, 2]},
                    {"name": "lookup/value", "datatype": "FP32", "shape": [-1, 1]},
                ],
            },
            id="model",
        ),
        pytest.param(
            "/v2/models/echo_BF16/versions/1",
            {
                "name": "echo_BF16",
                "versions": ["1"],
                "platform": "tensorflow_savedmodel",
                "inputs": [{"name": "x", "datatype": "BF16", "shape": [-1, 2]}],
                "outputs": [{"name": "y", "datatype": "BF16", "shape": [-1, 2]}],
            },
            id="a plain signature keeps its names",
        ),
        pytest.param(
            "/v2/models/echo_BYTES/config",
            {
                "name": "echo_BYTES",
                "platform": "tensorflow_savedmodel",
                "backend": "tensorflow",
                "version_policy": {"latest": {"num_versions": 1}},
                "max_batch_size": 1024,
                "input": [{"name": "x", "data_type": "TYPE_STRING", "dims": [2]}],
                "output": [{"name": "y", "data_type": "TYPE_STRING", "dims": [2]}],
                "parameters": {"heads": {"string_value": "default"}},
                "dynamic_batching": {"max_queue_delay_microseconds": 0},
            },
            id="config",
        ),
    ],
)
def test_what_is_told(client, path, body):
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == body


def test_the_server(client):
    answer = client.get("/v2").json()
    assert answer.keys() == {"name", "version", "extensions"}
    assert answer["name"] == "headserve"
    assert set(answer["extensions"]) == {
        "classification",
        "model_repository",
        "model_repository(unload_dependents)",
        "model_configuration",
        "binary_tensor_data",
        "parameters",
        "statistics",
    }


def test_all_versions_that_are_served(client):
    answer = client.get(NAMED).json()
    assert answer["versions"] == ["1", "2"]
    assert [tensor["name"] for tensor in answer["inputs"]] == ["title", "year", "budget"]
    assert client.get(f"{NAMED}/versions/2/config").json()["version_policy"] == {"all": {}}
    optional = [tensor["name"] for tensor in client.get(f"{NAMED}/config").json()["input"] if tensor.get("optional")]
    assert optional == ["budget"]


@pytest.mark.parametrize("state", ["loading or failed", "no model"])
def test_not_ready(models, tmp_path, state):
    if state == "loading or failed":
        (tmp_path / "broken" / "1").mkdir(parents=True)
        (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"this is no protocol buffer")
        (tmp_path / "echo").symlink_to(models / "echo_FP32")
    with running(tmp_path) as client:
        answer = client.get("/v2/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"ready": False})
        assert client.get("/v2/health/live").status_code == 200
        if state == "loading or failed":
            answer = client.get("/v2/models/broken/ready")
            assert (answer.status_code, answer.json()) == (503, {"name": "broken", "ready": False})
            (entry, _) = client.post("/v2/repository/index").json()
            assert entry["state"] == "UNAVAILABLE"
            assert "TensorFlow cannot load" in entry["reason"]


# --- inference in JSON -----------------------------------------------------------------------------------------------------


def test_the_answer_names_the_model_its_version_and_the_id(client):
    message, _ = answered(infer(client, {"id": "42", "inputs": FILM}))
    assert {name: message[name] for name in ("model_name", "model_version", "id")} == {
        "model_name": "films",
        "model_version": "2",
        "id": "42",
    }
    message, _ = answered(infer(client, {"inputs": FILM}))
    assert "id" not in message


def test_without_outputs_all_are_answered(client):
    message, outputs = answered(infer(client, {"inputs": FILM}))
    assert outputs == {
        "genres/probabilities": pytest.approx([0, 0, 0.1, 0.7]),
        "genres/classes": ["Heat", "HEAT", "Alien", "ALIEN"],
        "rating/predictions": [998.5, 1001.5],
        "age/probabilities": [1, 0, 0, 1],
        "age/class_ids": [0, 1],
    }
    assert {entry["name"]: (entry["datatype"], entry["shape"]) for entry in message["outputs"]} == {
        "genres/probabilities": ("FP32", [2, 2]),
        "genres/classes": ("BYTES", [2, 2]),
        "rating/predictions": ("FP32", [2, 1]),
        "age/probabilities": ("FP32", [2, 2]),
        "age/class_ids": ("INT64", [2, 1]),
    }


@pytest.mark.parametrize(
    ("members", "names"),
    [
        pytest.param(
            {"outputs": [{"name": "rating/predictions"}, {"name": "age/class_ids"}]},
            ["rating/predictions", "age/class_ids"],
            id="outputs, in their order",
        ),
        pytest.param({"parameters": {"heads": "rating"}}, ["rating/predictions"], id="a head"),
        pytest.param(
            {"parameters": {"heads": "*", "keys": "probabilities"}}, ["genres/probabilities", "age/probabilities"], id="a key"
        ),
    ],
)
def test_selected_outputs(client, members, names):
    assert list(answered(infer(client, {"inputs": FILM} | members))[1]) == names


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]], ids=["flat", "nested"])
def test_data_are_nested_or_flat(client, data):
    entry = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": data}
    assert answered(infer(client, {"inputs": [entry]}, model="echo_FP32"))[1] == {"y": [1, 2, 3, 4]}


def test_a_version_can_be_named(client):
    answer = client.post(f"{NAMED}/versions/1/infer", json={"inputs": FILM})
    assert answered(answer)[0]["model_version"] == "1"


@pytest.mark.parametrize("content_type", ["", "application/x-www-form-urlencoded", "application/octet-stream"])
def test_no_content_type_is_asked_for(client, content_type):
    answered(infer(client, {"inputs": [VECTOR]}, model="echo_FP32", **{"content-type": content_type}))


def test_the_timeout_is_in_microseconds(client):
    answered(infer(client, {"inputs": FILM, "parameters": {"timeout": 30_000_000}}))
    answer = infer(client, {"inputs": FILM, "parameters": {"timeout": 1}})
    assert answer.status_code == 504
    assert "within the time" in answer.json()["error"]


def test_other_parameters_are_free(client):
    given = {"priority": 1, "sequence_id": 0, "triton_enable_empty_final_response": True, "own": "x"}
    answered(infer(client, {"inputs": [VECTOR | {"parameters": {"own": 1}}], "parameters": given}, model="echo_FP32"))


def test_what_is_no_number_is_null_in_json_and_itself_in_binary(client):
    body = b'{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [NaN, Infinity, -Infinity, null]}]}'
    assert answered(client.post("/v2/models/echo_FP32/infer", content=body))[1] == {"y": [None] * 4}
    binary = body.replace(b"{", b'{"parameters": {"binary_data_output": true}, ', 1)
    back = np.frombuffer(answered(client.post("/v2/models/echo_FP32/infer", content=binary))[1]["y"], np.float32)
    np.testing.assert_array_equal(back, [np.nan, np.inf, -np.inf, np.nan])


# --- datatypes -------------------------------------------------------------------------------------------------------------

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    **{f"INT{bits}": [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": [0, 2**bits - 1] for bits in (8, 16, 32, 64)},
    "FP16": [-1.5, 65504.0],
    "FP32": [-1.5, 16777216.0],
    "FP64": [-1.5, 1e300],
    "BF16": [-1.5, 256.0],
    "BYTES": ["a", "ü"],
}
SIZES = {"BOOL": 1, "FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8}


def on_the_wire(datatype: str) -> bytes:
    """The values in binary, worked out by the words of the extension: little-endian, in order, without padding."""
    if datatype == "BYTES":
        return b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in VALUES["BYTES"])
    if datatype == "BF16":
        return b"\xc0\xbf\x80\x43"
    dtype = {"BOOL": "?", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}.get(datatype)
    return np.array(VALUES[datatype], dtype or np.dtype(datatype.lower()).newbyteorder("<")).tobytes()


@pytest.mark.parametrize("datatype", VALUES)
def test_a_datatype_in_json_and_in_binary(client, datatype):
    entry = {"name": "x", "shape": [1, 2], "datatype": datatype}
    wire = on_the_wire(datatype)
    if datatype != "BYTES":
        assert len(wire) == 2 * SIZES.get(datatype, int((re.findall(r"\d+", datatype) or [0])[0]) // 8)
    in_json = entry | {"data": VALUES[datatype]}
    in_binary = entry | {"parameters": {"binary_data_size": len(wire)}}
    for inputs, tail in (([in_json], None), ([in_binary], wire)):
        answer = infer(client, {"inputs": inputs}, tail, f"echo_{datatype}")
        assert answer.headers["content-type"] == "application/json"
        assert LENGTH not in answer.headers
        assert answered(answer)[1]["y"] == VALUES[datatype]
        asked = {"inputs": inputs, "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}
        answer = infer(client, asked, tail, f"echo_{datatype}")
        assert answer.headers["content-type"] == "application/octet-stream"
        message, outputs = answered(answer)
        assert outputs["y"] == wire
        (told,) = message["outputs"]
        assert (told["datatype"], told["shape"]) == (datatype, [1, 2])


def test_every_datatype_is_asked():
    assert VALUES.keys() == {*FIXED, "BYTES"}


# --- binary ----------------------------------------------------------------------------------------------------------------


def test_bytes_follow_in_the_order_of_the_tensors(client):
    inputs = [
        {"name": "year", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}},
        {"name": "budget", "shape": [1], "datatype": "FP32", "data": [1]},
        {"name": "title", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}},
    ]
    outputs = [
        {"name": "age/class_ids", "parameters": {"binary_data": True}},
        {"name": "rating/predictions"},
        {"name": "genres/classes", "parameters": {"binary_data": True}},
    ]
    answer = infer(client, {"inputs": inputs, "outputs": outputs}, (2001).to_bytes(8, "little") + b"\2\0\0\0ab")
    assert answered(answer)[1] == {
        "age/class_ids": b"\1" + bytes(7),
        "rating/predictions": [1000.5],
        "genres/classes": b"\2\0\0\0ab\2\0\0\0AB",
    }


def test_all_outputs_in_binary_but_those_that_say_otherwise(client):
    outputs = [{"name": "age/class_ids"}, {"name": "rating/predictions", "parameters": {"binary_data": False}}]
    message = {"inputs": FILM, "outputs": outputs, "parameters": {"binary_data_output": True}}
    assert answered(infer(client, message))[1] == {
        "age/class_ids": b"\0" * 8 + b"\1" + b"\0" * 7,
        "rating/predictions": [998.5, 1001.5],
    }


def test_a_raw_body_is_one_row_and_is_answered_in_binary(client):
    answer = client.post("/v2/models/echo_FP32/infer", content=np.array([1, 2], "<f4").tobytes(), headers={LENGTH: "0"})
    message, outputs = answered(answer)
    assert message["outputs"][0]["shape"] == [1, 2]
    assert outputs == {"y": np.array([1, 2], "<f4").tobytes()}


@pytest.mark.parametrize(
    ("labels", "head", "expected"),
    [
        pytest.param(True, "age/probabilities", ["1.0:0:old", "1.0:1:new"], id="with labels"),
        pytest.param(False, "age/class_ids", ["0:0", "1:0"], id="without"),
    ],
)
def test_classification(client, labels, head, expected):
    message = {"inputs": FILM, "outputs": [{"name": head, "parameters": {"classification": 1}}]}
    told, outputs = answered(infer(client, message))
    assert (told["outputs"][0]["datatype"], told["outputs"][0]["shape"]) == ("BYTES", [2, 1])
    assert outputs[head] == expected


COMPRESSED = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_compressed_bodies_both_ways(client, encoding):
    """The header counts the JSON's bytes before compression; an answer that is large enough is compressed when asked."""
    rows = 1000
    header = json.dumps(
        {
            "inputs": [{"name": "x", "shape": [rows, 2], "datatype": "FP32", "parameters": {"binary_data_size": rows * 8}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    array = np.arange(2 * rows, dtype="<f4")
    answer = client.post(
        "/v2/models/echo_FP32/infer",
        content=COMPRESSED[encoding](header + array.tobytes()),
        headers={LENGTH: str(len(header)), "content-encoding": encoding, "accept-encoding": encoding},
    )
    assert answer.headers["content-encoding"] == encoding
    assert answered(answer)[1] == {"y": array.tobytes()}


def test_the_decompressed_size_is_limited(client):
    body = gzip.compress(b" " * (MAX_BODY_BYTES + 1))
    answer = client.post(f"{NAMED}/infer", content=body, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert "once it was decompressed" in answer.json()["error"]


# --- errors ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status", "error"),
    [
        pytest.param("POST", f"{NAMED}/infer", b"{", {}, 400, "no JSON: .* line 1, column 2", id="broken JSON"),
        pytest.param("POST", f"{NAMED}/infer", b"", {}, 400, "The body is empty", id="no body"),
        pytest.param(
            "POST", f"{NAMED}/infer", b'{"inputs": []}', {}, 400, "'title' is missing", id="a model's refusal, not 422"
        ),
        pytest.param("POST", f"{NAMED}/infer", b"{}", {LENGTH: "x"}, 400, f"{LENGTH}: expected a number", id="no length"),
        pytest.param(
            "POST", f"{NAMED}/infer", b"{}", {LENGTH: "9" * 30}, 400, f"{LENGTH}: expected a number", id="long length"
        ),
        pytest.param(
            "POST", f"{NAMED}/infer", b"{}", {LENGTH: "9"}, 400, "has 9 bytes, but the body has 2", id="a false length"
        ),
        pytest.param("POST", f"{NAMED}/infer", b"x", {"content-encoding": "br"}, 415, "gzip, deflate", id="encoding"),
        pytest.param("POST", f"{NAMED}/infer", b" " * (MAX_BODY_BYTES + 1), {}, 413, "at most", id="too large"),
        pytest.param("POST", "/v2/models/film/infer", b"{}", {}, 404, "no model 'film'", id="unknown model"),
        pytest.param("POST", f"{NAMED}/versions/9/infer", b"{}", {}, 404, "no version 9", id="unknown version"),
        pytest.param("POST", f"{NAMED}/versions/x/infer", b"{}", {}, 404, "a version as a whole number", id="no version"),
        pytest.param("GET", "/v2/models/film", b"", {}, 404, "no model 'film'", id="metadata of an unknown model"),
        pytest.param("GET", "/v2/models/film/ready", b"", {}, 404, "no model 'film'", id="readiness of an unknown model"),
        pytest.param("GET", "/v2/models/film/stats", b"", {}, 404, "no model 'film'", id="statistics of an unknown model"),
        pytest.param("GET", "/v2/models/film/config", b"", {}, 404, "no model 'film'", id="configuration of an unknown model"),
        pytest.param("GET", f"{NAMED}/versions/9/ready", b"", {}, 404, "no version 9", id="readiness of an unknown version"),
        pytest.param("GET", f"{NAMED}/infer", b"", {}, 405, "takes POST, but got GET", id="wrong verb"),
        pytest.param("POST", "/v2/health/live", b"", {}, 405, "takes GET, but got POST", id="wrong verb of health"),
        pytest.param("POST", NAMED, b"", {}, 405, "takes GET, but got POST", id="wrong verb of metadata"),
        pytest.param("GET", "/v2/repository/index", b"", {}, 405, "takes POST, but got GET", id="wrong verb of the index"),
        pytest.param("POST", "/v2/repository/index", b"{", {}, 400, "no JSON", id="a broken body of the index"),
        pytest.param("POST", "/v2/repository/index", b'{"ready": 1}', {}, 400, "'ready': expected true or false", id="ready"),
        pytest.param("GET", "/v2/trace/setting", b"", {}, 404, "no path /v2/trace/setting", id="tracing is not here"),
        pytest.param("GET", "/v2/systemsharedmemory/status", b"", {}, 404, "no path", id="shared memory is not here"),
        pytest.param("POST", "/v2/models/a/b/infer", b"{}", {}, 404, "no path", id="a name with a slash"),
        pytest.param("POST", f"{NAMED}/infer%0A", b"{}", {}, 404, "no path", id="a line break behind it"),
    ],
)
def test_errors(client, method, path, content, headers, status, error):
    answer = client.request(method, path, content=content, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
    assert answer.json().keys() == {"error"}
    assert re.search(error, answer.json()["error"])


def test_a_refusal_of_tensorflow_is_400(client):
    answer = infer(client, {"inputs": [VECTOR | {"data": [9, 0]}], "parameters": {"heads": "lookup"}}, model="vectors")
    assert answer.status_code == 400
    assert "refused the values" in answer.json()["error"]


# --- the repository --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": true}', b'{"ready": false}'])
def test_the_index(client, body):
    """Also without body and content type, as Triton's client sends it."""
    entries = client.post("/v2/repository/index", content=body).json()
    assert [entry for entry in entries if entry["name"] in {"films", "vectors"}] == [
        {"name": "films", "version": "1", "state": "READY", "reason": ""},
        {"name": "films", "version": "2", "state": "READY", "reason": ""},
        {"name": "vectors", "version": "7", "state": "READY", "reason": ""},
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters": {"unload_dependents": false}}'])
def test_unload_and_load(client, body):
    answer = client.post("/v2/repository/models/vectors/unload", content=body, headers=ADMIN)
    assert (answer.status_code, answer.json()) == (200, {})
    answer = client.get("/v2/models/vectors/ready")
    assert (answer.status_code, answer.json()) == (503, {"name": "vectors", "ready": False})
    answer = infer(client, {"inputs": [VECTOR]}, model="vectors")
    assert answer.status_code == 503
    assert "unloaded on request" in answer.json()["error"]
    deadline = time.monotonic() + 60
    while _state(client) != ("UNAVAILABLE", "unloaded"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert client.get("/v2/health/ready").status_code == 200
    answer = client.post("/v2/repository/models/vectors/load", content=b"{}", headers=ADMIN)
    assert (answer.status_code, answer.json()) == (200, {})
    assert _state(client) == ("READY", "")
    answered(infer(client, {"inputs": [VECTOR]}, model="vectors"))


def _state(client: httpx.Client) -> tuple[str, str]:
    (entry,) = (entry for entry in client.post("/v2/repository/index").json() if entry["name"] == "vectors")
    return entry["state"], entry["reason"]


@pytest.mark.parametrize("verb", ["load", "unload"])
@pytest.mark.parametrize(
    ("headers", "body", "model", "status", "error"),
    [
        pytest.param({}, b"", "vectors", 401, "Expected the admin key", id="no key"),
        pytest.param({"x-api-key": "x"}, b"", "vectors", 401, "but got another key", id="another key"),
        pytest.param(ADMIN, b"", "vector", 404, "no model 'vector'", id="unknown model"),
        pytest.param(ADMIN, b"[]", "vectors", 400, "Expected an object", id="no object"),
        pytest.param(ADMIN, b'{"parameters": 1}', "vectors", 400, "'parameters' to be an object", id="no parameters"),
    ],
)
def test_refused_changes(client, verb, headers, body, model, status, error):
    answer = client.post(f"/v2/repository/models/{model}/{verb}", content=body, headers=headers)
    assert answer.status_code == status
    assert re.search(error, answer.json()["error"])
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


@pytest.mark.parametrize("name", ["config", "file:1/model.x"])
def test_models_come_from_disk_only(client, name):
    answer = client.post("/v2/repository/models/vectors/load", json={"parameters": {name: "{}"}}, headers=ADMIN)
    assert answer.status_code == 501
    assert "read from disk" in answer.json()["error"]


def test_without_a_key_nobody_changes_anything(models, tmp_path):
    (tmp_path / "echo").symlink_to(models / "echo_FP32")
    with running(tmp_path, admin_key=None) as client:
        for verb in ("load", "unload"):
            answer = client.post(f"/v2/repository/models/echo/{verb}", headers=ADMIN)
            assert answer.status_code == 403
            assert "HEADSERVE_ADMIN_KEY" in answer.json()["error"]


# --- statistics ------------------------------------------------------------------------------------------------------------


def test_statistics_count_what_was_asked(client):
    path = "/v2/models/echo_UINT8/versions/1/stats"
    (before,) = client.get(path).json()["model_stats"]
    entry = {"name": "x", "shape": [3, 2], "datatype": "UINT8", "data": [1] * 6}
    for _ in range(2):
        answered(infer(client, {"inputs": [entry]}, model="echo_UINT8"))
    assert infer(client, {"inputs": []}, model="echo_UINT8").status_code == 400
    (after,) = client.get(path).json()["model_stats"]
    assert (after["name"], after["version"], after["response_stats"]) == ("echo_UINT8", "1", {})
    assert after["last_inference"] == pytest.approx(time.time() * 1000, abs=60_000)
    assert after["inference_count"] - before["inference_count"] == 6
    assert after["execution_count"] - before["execution_count"] == 2
    counts = {name: after["inference_stats"][name]["count"] - before["inference_stats"][name]["count"] for name in STATS}
    assert counts == {name: {"fail": 1, "cache_hit": 0, "cache_miss": 0}.get(name, 2) for name in STATS}
    for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        assert after["inference_stats"][name]["ns"] > before["inference_stats"][name]["ns"]
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert sum(after["inference_stats"][name]["ns"] for name in parts) <= after["inference_stats"]["success"]["ns"] * 1.5
    (sizes,) = (batch for batch in after["batch_stats"] if batch["batch_size"] == 3)
    assert sizes.keys() == {"batch_size", "compute_input", "compute_infer", "compute_output"}
    assert sizes["compute_infer"]["count"] == 2
    assert after["memory_usage"][0].keys() == {"type", "id", "byte_size"}


STATS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/v2/models/films/stats", [("films", "1"), ("films", "2")], id="a model"),
        pytest.param("/v2/models/films/versions/1/stats", [("films", "1")], id="a version"),
        pytest.param("/v2/models/stats", [("films", "1"), ("films", "2"), ("vectors", "7")], id="all models"),
    ],
)
def test_statistics_of(client, path, expected):
    stats = client.get(path).json()["model_stats"]
    told = [(entry["name"], entry["version"]) for entry in stats if not entry["name"].startswith("echo")]
    assert told == expected


# --- completeness ----------------------------------------------------------------------------------------------------------

ENDPOINTS = {
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/stats"),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/{model}/load"),
    ("POST", "/v2/repository/models/{model}/unload"),
} | {
    ("POST" if verb == "/infer" else "GET", f"/v2/models/{{model}}{version}{verb}")
    for version in ("", "/versions/{version}")
    for verb in ("", "/ready", "/infer", "/config", "/stats")
}
"""What the specification and those of Triton's extensions have that the server reports."""


def test_no_endpoint_is_missing_and_none_is_untested(tmp_path, request):
    document = create_app(Settings(models=tmp_path)).openapi()["paths"]
    there = {(method.upper(), path) for path, methods in document.items() if path.startswith("/v2") for method in methods}
    assert there == ENDPOINTS
    if request.config.option.keyword or request.config.option.lf or "::" in " ".join(request.config.args):
        return  # only some of the tests have run
    for method, path in there:
        pattern = re.compile(re.sub(r"{\w+}", "[^/]+", path))
        assert any(asked == method and pattern.fullmatch(of) for asked, of in ASKED), f"no test asks {method} {path}"
