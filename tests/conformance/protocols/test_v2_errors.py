"""Invalid requests to /v2: the status and the message."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conformance.protocols.server import running
from tests.conformance.protocols.v2_requests import LENGTH, NAMED, VECTOR, infer
from tests.conformance.protocols.v2_server import MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status", "error"),
    [
        pytest.param("POST", f"{NAMED}/infer", b"{", {}, 400, "not valid JSON: .* line 1, column 2", id="broken JSON"),
        pytest.param("POST", f"{NAMED}/infer", b"", {}, 400, "The document is empty", id="no body"),
        pytest.param(
            "POST", f"{NAMED}/infer", b'{"inputs": []}', {}, 400, "'title' is missing", id="a model's refusal, not 422"
        ),
        pytest.param("POST", f"{NAMED}/infer", b"{}", {LENGTH: "x"}, 400, f"{LENGTH}: expected a number", id="no length"),
        pytest.param(
            "POST", f"{NAMED}/infer", b"{}", {LENGTH: "9" * 30}, 400, f"{LENGTH}: expected a number", id="long length"
        ),
        pytest.param(
            "POST", f"{NAMED}/infer", b"{}", {LENGTH: "9"}, 400, "expected at most 2, .* but got 9", id="a wrong length"
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
        pytest.param("POST", "/v2/repository/index", b"{", {}, 400, "not valid JSON", id="a broken body of the index"),
        pytest.param("POST", "/v2/repository/index", b'{"ready": 1}', {}, 400, "'ready': expected true or false", id="ready"),
        pytest.param("GET", "/v2/trace/setting", b"", {}, 404, "no path /v2/trace/setting", id="tracing is not here"),
        pytest.param("GET", "/v2/systemsharedmemory/status", b"", {}, 404, "no path", id="shared memory is not here"),
        pytest.param("POST", "/v2/models/a/b/infer", b"{}", {}, 404, "no path", id="a name with a slash"),
        pytest.param("POST", f"{NAMED}/infer%0A", b"{}", {}, 404, "no path", id="a line break after it"),
    ],
)
def test_errors(v2, method, path, content, headers, status, error):
    answer = v2.request(method, path, content=content, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
    assert answer.json().keys() == {"error"}
    assert re.search(error, answer.json()["error"])


def test_an_error_of_tensorflow_is_400(v2):
    answer = infer(v2, {"inputs": [VECTOR | {"data": [9, 0]}], "parameters": {"heads": "lookup"}}, model="vectors")
    assert answer.status_code == 400
    assert "refused the values" in answer.json()["error"]


@pytest.fixture(scope="module")
def complex_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server of two models whose only output is complex."""
    folder = tmp_path_factory.mktemp("complex")
    for dtype in ("float32", "float64"):
        export_complex(folder / f"complex_{dtype}" / "1", dtype)
    with running(folder) as client:
        yield client


def export_complex(folder: Path, dtype: str) -> None:
    import tensorflow as tf

    class Complex(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], dtype, name="x")])
        def serve(self, x):
            return {"y": tf.complex(x, x)}

    model = Complex()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})


@pytest.mark.parametrize(
    ("name", "datatype", "dtype"),
    [
        pytest.param("complex_float32", "FP32", "complex64", id="complex64"),
        pytest.param("complex_float64", "FP64", "complex128", id="complex128"),
    ],
)
@pytest.mark.parametrize("parameters", [{}, {"binary_data_output": True}], ids=["JSON", "binary"])
def test_a_model_of_complex_outputs_only_has_the_error_of_v1(complex_models, name, datatype, dtype, parameters):
    v1 = complex_models.post(f"/v1/models/{name}:predict", json={"inputs": [1]})
    message = {"inputs": [{"name": "x", "shape": [1], "datatype": datatype, "data": [1]}], "parameters": parameters}
    v2 = infer(complex_models, message, model=name)
    error = f"Failed to write JSON value for tensor type: {dtype}, of output 'y'."
    assert (v1.status_code, v1.json()) == (v2.status_code, v2.json()) == (400, {"error": error})


def test_a_raw_body_for_a_model_of_complex_outputs_only(complex_models):
    answer = complex_models.post("/v2/models/complex_float32/infer", content=b"\0\0\0\0", headers={LENGTH: "0"})
    assert (answer.status_code, answer.json()["error"][:44]) == (400, "Failed to write JSON value for tensor type: ")
