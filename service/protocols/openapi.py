"""The OpenAPI document: building blocks, and what FastAPI does not write: predictions, a path for each model, and keys."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from urllib.parse import quote

from service.protocols.protocol import OPEN, Path, PathTable
from service.types import InputSpec, ModelSpec

Responses = dict[int | str, dict[str, Any]]
"""Responses by status, or by class of statuses as in `4XX`."""

TEXT: dict[str, Any] = {"type": "string"}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}

_CHALLENGE = {"WWW-Authenticate": TEXT}
_RATE = dict.fromkeys(("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"), COUNT)
_REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "401": ("There is no key, or a wrong or expired one.", _CHALLENGE),
    "403": ("The key has another scope, or is not for the model.", _CHALLENGE),
    "429": ("The key's rate is used up; of a prediction, also: the model's queue is full.", _RATE),
}
"""Responses to a request whose key is not accepted, with their headers."""
_CHECKED = ("HTTPValidationError", "ValidationError")


def body(description: str, schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    """Return one response."""
    return {"description": description, "content": {media_type: {"schema": schema}}}


def members(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has all of these members."""
    return optional(**properties) | {"required": list(properties)}


def optional(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that may have these members."""
    return {"type": "object", "properties": properties}


def array(items: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    """Return the schema of a list; `keywords` are further members of the schema."""
    return {"type": "array", "items": items} | keywords


def by_name(values: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with any names."""
    return {"type": "object", "additionalProperties": values}


def problem(description: str) -> dict[str, Any]:
    """Return a response with an RFC 9457 problem, as in the native protocol."""
    status = {"type": "integer", "minimum": 400, "maximum": 599}
    schema = members(type=TEXT, title=TEXT, status=status, detail=TEXT, code=TEXT, error=TEXT)
    return body(description, schema, "application/problem+json")


def error(description: str) -> dict[str, Any]:
    """Return a response with an error of the other protocols: `{"error": "…"}`."""
    return body(description, members(error=TEXT))


def with_predictions(document: dict[str, Any], paths: PathTable) -> dict[str, Any]:
    """Return FastAPI's document with the table of paths, and without FastAPI's own validation, which no route uses."""
    routes = deepcopy(document["paths"])
    for methods in routes.values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
    schemas = document["components"]["schemas"]
    used = {name: schema for name, schema in schemas.items() if name not in _CHECKED}
    predictions = {
        row.template: {row.method.lower(): _of_path(row, protocol.tag)}
        for protocol in paths.protocols
        for row in protocol.paths
    }
    return document | {"paths": routes | predictions, "components": document["components"] | {"schemas": used}}


def _of_path(row: Path, tag: str) -> dict[str, Any]:
    """Return the OpenAPI operation in the form in which FastAPI writes those of its routes."""
    operation: dict[str, Any] = {
        "tags": [tag],
        "summary": row.summary,
        "operationId": f"{row.name}{re.sub(r'[^a-zA-Z0-9]', '_', row.template)}_{row.method.lower()}",
    }
    parameters = [_parameter(name) for name in re.findall(r"\{(\w+)\}", row.template)] + [*row.docs.get("parameters", ())]
    return operation | dict(row.docs) | ({"parameters": parameters} if parameters else {})


def _parameter(name: str) -> dict[str, Any]:
    kind = "integer" if name == "version" else "string"
    return {"name": name, "in": "path", "required": True, "schema": {"type": kind, "title": name.title()}}


def with_models(document: dict[str, Any], models: list[ModelSpec]) -> dict[str, Any]:
    """Return a copy of the document in which every model has its own predict path, before all others."""
    generic = document["paths"]["/models/{model}/predict"]["post"]
    own = {f"/models/{quote(spec.name, safe='')}/predict": {"post": _of_model(generic, spec)} for spec in models}
    return document | {"paths": own | document["paths"]}


def with_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the document with the operations that need a key, and how the key is sent."""
    ways: dict[str, Any] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    paths = {
        path: {method: its | {"security": []} if path in OPEN else _closed(its, path, list(ways)) for method, its in of.items()}
        for path, of in document["paths"].items()
    }
    return document | {"paths": paths, "components": document["components"] | {"securitySchemes": ways}}


def _closed(operation: dict[str, Any], path: str, ways: list[str]) -> dict[str, Any]:
    form = error if path.startswith(("/v1", "/v2")) else problem
    refused = {
        status: form(description) | {"headers": {name: {"schema": schema} for name, schema in headers.items()}}
        for status, (description, headers) in _REFUSED.items()
    }
    # No header is required: the 429 of a full queue has others.
    return operation | {"security": [{name: []} for name in ways], "responses": operation["responses"] | refused}


def _of_model(generic: dict[str, Any], spec: ModelSpec) -> dict[str, Any]:
    operation = deepcopy(generic) | {
        "tags": [spec.name],
        "operationId": f"predict_{spec.name}",
        "summary": f"Predict with {spec.name}, version {spec.version}",
        "description": f"Heads: {', '.join(head.name for head in spec.heads)}; the first is the default.",
        "parameters": [],
    }
    content = operation["requestBody"]["content"]["application/json"]
    content["examples"] = _examples(spec)
    content["schema"]["properties"] |= _properties(spec)
    return operation


def _examples(spec: ModelSpec) -> dict[str, Any]:
    rows = [dict(spec.example)]
    listed = [head.name for head in spec.heads[:2]]
    return {
        "default head": {"value": {"instances": rows}},
        "listed heads": {"value": {"instances": rows, "heads": listed}},
        "all heads": {"value": {"instances": rows, "heads": "*"}},
    }


def _properties(spec: ModelSpec) -> dict[str, Any]:
    rows: dict[str, Any] = {}  # a model with one input takes bare values, too
    if spec.features:
        rows = {"anyOf": [_row({it: it.shape or () for it in spec.features}), {"type": "object"}]}
    elif len(spec.inputs) > 1:
        rows = _row({tensor: (tensor.shape or (-1,))[1:] for tensor in spec.inputs})
    names = array({"enum": [head.name for head in spec.heads]}, uniqueItems=True)
    return {"instances": array(rows, minItems=1), "heads": {"oneOf": [{"const": "*"}, names]}}


def _row(shapes: Mapping[InputSpec, tuple[int, ...]]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {tensor.name: _schema(tensor, shape) for tensor, shape in shapes.items()},
        "required": [tensor.name for tensor in shapes if tensor.required],
    }


def _schema(tensor: InputSpec, shape: tuple[int, ...]) -> dict[str, Any]:
    if shape:
        return array(_schema(tensor, shape[1:]))
    kind = "number" if "float" in tensor.dtype else {"string": "string", "bool": "boolean"}.get(tensor.dtype, "integer")
    return {"type": kind} if tensor.required else {"type": [kind, "null"]}
