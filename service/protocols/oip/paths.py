"""The Open Inference Protocol: its inference paths and the form of its errors."""

from typing import Any

import orjson

from service.errors import HeadserveError, RequestError
from service.protocols import openapi as docs
from service.protocols.oip.codec import HEADER_LENGTH, OpenInference
from service.protocols.protocol import JSON_TYPE, MAX_DIGITS, Codec, Path, ServingProtocol
from service.types import Encoded, Headers

PREFIX = "/v2"
MODEL = "/models/{model}"
VERSION = f"{MODEL}/versions/{{version}}"
_LENGTH = HEADER_LENGTH.lower().encode()

PARAMETERS = {"type": "object", "additionalProperties": True}
CANNOT = docs.error("What was expected, what came.")
NOT_NOW = docs.error("It is not served now, it failed, or the time is over.")

_TENSOR: dict[str, Any] = {
    "name": docs.TEXT,
    "shape": docs.array(docs.COUNT),
    "datatype": {"type": "string", "examples": ["FP32", "INT64", "BOOL", "BYTES"]},
    "parameters": PARAMETERS,
    "data": docs.array({}, description="Nested as the shape says, or flat in row-major order."),
}
_SELECTION = "`heads` and `keys` select outputs, `timeout` is in µs, `binary_data_output` asks for bytes."
_REQUEST = docs.members(
    id=docs.TEXT,
    parameters=PARAMETERS | {"description": _SELECTION},
    inputs=docs.array(docs.members(**_TENSOR) | {"required": ["name", "shape", "datatype"]}),
    outputs=docs.array(docs.members(name=docs.TEXT, parameters=PARAMETERS) | {"required": ["name"]}),
) | {"required": ["inputs"]}
_OUTPUTS = docs.array(docs.optional(**_TENSOR))
_RESPONSE = docs.members(model_name=docs.TEXT, model_version=docs.TEXT, id=docs.TEXT, outputs=_OUTPUTS)
_RESPONSE["required"] = ["model_name", "outputs"]
_INFER: dict[str, Any] = {
    "parameters": [
        {
            "name": HEADER_LENGTH,
            "in": "header",
            "required": False,
            "description": "Bytes of JSON that come before those of the tensors; 0 for a body that is one tensor.",
            "schema": docs.COUNT,
        }
    ],
    "requestBody": {
        "required": True,
        "description": "Without `outputs` and `heads`, every output is computed. Any content type is accepted.",
        "content": {
            "application/json": {"schema": _REQUEST},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "responses": {
        "200": {
            "description": "The outputs in the requested order. NaN and infinities are null in JSON.",
            "content": {"application/json": {"schema": _RESPONSE}, "application/octet-stream": {}},
        },
        "4XX": CANNOT,
        "5XX": NOT_NOW,
    },
}


def _codec(headers: Headers) -> Codec:
    given = headers.get(_LENGTH)
    if given is None:
        return OpenInference()
    if not (given.isdigit() and len(given) <= MAX_DIGITS):
        raise RequestError(f"{HEADER_LENGTH}: expected a number of bytes, but got {given[:40].decode('latin-1')!r}.")
    return OpenInference(int(given))


def _path(target: str, name: str, served: str, versions: str) -> Path:
    docs_of_path = {"description": f"Computes the requested outputs with {versions}."} | _INFER
    return Path("POST", f"{PREFIX}{target}/infer", name, f"Infer with {served}", docs_of_path, _codec)


def problem(error: HeadserveError) -> tuple[int, Encoded]:
    """Return the status, of which this protocol has fewer, and an object with the message as `error`."""
    status = 400 if error.status == 422 else error.status
    return status, Encoded((orjson.dumps({"error": error.message}),), (JSON_TYPE,))


V2 = ServingProtocol(
    name="v2",
    prefix=PREFIX,
    tag="Open Inference Protocol",
    paths=(
        _path(MODEL, "infer", "the served version", "the newest available version"),
        _path(VERSION, "infer_version", "one version", "one version; 404 unless it is served"),
    ),
    problem=problem,
)
