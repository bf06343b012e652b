"""What the OpenAPI document says of the Open Inference Protocol's bodies and answers."""

from typing import Any

from service.codec.oip import HEADER_LENGTH

_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_PARAMETERS = {"type": "object", "additionalProperties": True}
_TENSOR: dict[str, Any] = {
    "name": {"type": "string"},
    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    "datatype": {"type": "string", "examples": ["FP32", "INT64", "BOOL", "BYTES"]},
    "parameters": _PARAMETERS,
    "data": {"type": "array", "items": {}, "description": "Nested as the shape says, or flat in row-major order."},
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": _PARAMETERS
        | {"description": "`heads` and `keys` select outputs, `timeout` is in µs, `binary_data_output` asks for bytes."},
        "inputs": {
            "type": "array",
            "items": {"type": "object", "required": ["name", "shape", "datatype"], "properties": _TENSOR},
        },
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": _PARAMETERS},
            },
        },
    },
}
_RESPONSE = {
    "type": "object",
    "required": ["model_name", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": {"type": "object", "properties": _TENSOR}},
    },
}


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ERROR}}}


MODEL_ERRORS: dict[int | str, dict[str, Any]] = {
    404: _error("There is no such model, or no such version to serve."),
    503: _error("It is not served now."),
}
ADMIN_ERRORS: dict[int | str, dict[str, Any]] = {
    401: _error("The key is missing or wrong."),
    403: _error("No key is set."),
}
INDEX_DOCS: dict[str, Any] = {
    "openapi_extra": {
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}},
        }
    },
    "responses": {400: _error("The body is no such object.")},
}
INFER_DOCS: dict[str, Any] = {
    "openapi_extra": {
        "parameters": [
            {
                "name": HEADER_LENGTH,
                "in": "header",
                "required": False,
                "description": "Bytes of JSON that come before those of the tensors; 0 for a body that is one tensor.",
                "schema": {"type": "integer", "minimum": 0},
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
    },
    "responses": {
        200: {
            "description": "The outputs in the order asked for. NaN and infinities are null in JSON.",
            "content": {"application/json": {"schema": _RESPONSE}, "application/octet-stream": {}},
        },
        "4XX": _error("What was expected, what came."),
    },
}
