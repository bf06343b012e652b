"""The OpenAPI document of the served models: their names, versions and labels, and the requests that each of them accepts."""

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from service.lifecycle.served_models import ModelStatus, State
from service.protocols.json.schemas import Schema, any_of
from service.protocols.native.schemas import predict_schema
from service.protocols.oip.schemas import infer_schema
from service.protocols.tfserving import schemas as v1
from service.types import ModelSpec

_REQUESTS: dict[tuple[str, str], Callable[[ModelSpec], Schema | None]] = {
    ("models", "predict"): predict_schema,
    ("v1", "predict"): v1.predict_schema,
    ("v1", "classify"): v1.classify_schema,
    ("v1", "regress"): v1.regress_schema,
    ("v1", "multiInference"): v1.multi_inference_schema,
    ("v2", "infer"): infer_schema,
}
"""Schemas of requests to a model, by the first and the last part of the path; None for a model that cannot answer them."""

_IN_ANY_STATE = ("/v2/repository/models/", "/models/{model}", "/v1/models/{model}")
_REFERENCE = "#/components/schemas/"


MAX_DESCRIBED = 32
"""With more models, only each model's own path describes its requests: the document must not take seconds to make."""


def with_models(document: dict[str, Any], models: list[ModelSpec], statuses: Iterable[ModelStatus] = ()) -> dict[str, Any]:
    """Return a copy of the document of these served models; without any, the document itself.

    Every model has its own predict path, before all others. The parameters of all paths are the names, versions and labels that
    there are; an operation that no model answers, or that needs a label where there are none, is left out.
    """
    if not models:
        return document
    schemas: dict[str, Schema] = {}
    names = _Names(models, list(statuses))
    own = _of_models(schemas, document, models)
    paths: dict[str, Any] = {}
    for path, methods in document["paths"].items():
        if "{label}" in path and not names.labels(path):
            continue
        kind = (path.split("/")[1], re.split("[/:]", path)[-1])
        if kind not in _REQUESTS or len(models) > MAX_DESCRIBED:
            paths[path] = {method: names.narrow(operation, path) for method, operation in methods.items()}
        elif answering := _add_requests(schemas, kind, models):
            described = {method: _with_requests(operation, list(answering.values())) for method, operation in methods.items()}
            paths[path] = {method: names.narrow(operation, path, list(answering)) for method, operation in described.items()}
    components = document["components"] | {"schemas": document["components"]["schemas"] | schemas}
    return document | {"paths": own | paths, "components": components}


def _add_requests(schemas: dict[str, Schema], kind: tuple[str, str], models: list[ModelSpec]) -> dict[str, Schema]:
    """Add the schemas of the requests of this kind and return references to them, by the models that can answer them."""
    answering = {}
    for spec in models:
        name = _component(*kind, spec.name)
        schema = schemas.get(name) or _REQUESTS[kind](spec)
        if schema is not None:
            schemas[name] = schema
            answering[spec.name] = {"$ref": _REFERENCE + name}
    return answering


def _component(protocol: str, verb: str, model: str) -> str:
    """Return the name of a schema; other characters than OpenAPI allows are replaced by their numbers."""
    return f"{protocol}.{verb}." + re.sub(r"[^A-Za-z0-9_-]", lambda found: f".{ord(found[0]):x}.", model)


def _with_requests(operation: dict[str, Any], schemas: list[Schema]) -> dict[str, Any]:
    content = {"schema": any_of(schemas)}
    request = operation["requestBody"]
    return operation | {"requestBody": request | {"content": request["content"] | {"application/json": content}}}


class _Names:
    """The values of path parameters."""

    def __init__(self, models: list[ModelSpec], statuses: list[ModelStatus]):
        self._served = [spec.name for spec in models]
        self._all = [status.name for status in statuses] or self._served
        available = (each.version for status in statuses for each in status.versions if each.state == State.AVAILABLE)
        self._versions = sorted({spec.version for spec in models} | set(available))
        self._labels = sorted({name for status in statuses for name, label in status.labels.items() if label.available})

    def labels(self, path: str) -> list[str]:
        """Return the labels of served versions; only `/v1` takes a label with a slash."""
        return self._labels if path.startswith("/v1") else [label for label in self._labels if "/" not in label]

    def narrow(self, operation: dict[str, Any], path: str, answering: list[str] | None = None) -> dict[str, Any]:
        """Return the operation with lists of the values of its path parameters; `answering`: the models that it is for."""
        in_any_state = path in _IN_ANY_STATE or path.startswith(_IN_ANY_STATE[0])
        models = answering or (self._all if in_any_state else self._served)
        known: dict[str, list[Any]] = {"model": models, "version": self._versions, "label": self.labels(path)}
        parameters = [
            each | {"schema": each["schema"] | {"enum": known[each["name"]]}} if each["name"] in known else each
            for each in operation.get("parameters", ())
        ]
        return operation | ({"parameters": parameters} if parameters else {})


def _of_models(schemas: dict[str, Schema], document: dict[str, Any], models: list[ModelSpec]) -> dict[str, Any]:
    """Return the predict path of each model, and add the schemas of the requests."""
    generic = document["paths"]["/models/{model}/predict"]["post"]
    references = _add_requests(schemas, ("models", "predict"), models)
    return {
        f"/models/{quote(spec.name, safe='')}/predict": {"post": _of_model(generic, spec, references[spec.name])}
        for spec in models
        if spec.name in references
    }


def _of_model(generic: dict[str, Any], spec: ModelSpec, schema: Schema) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, "examples": _examples(spec)}}
    return generic | {
        "tags": [spec.name],
        "operationId": f"predict_{spec.name}",
        "summary": f"Predict with {spec.name}, version {spec.version}",
        "description": f"Heads: {', '.join(head.name for head in spec.heads)}; the first is the default.",
        "parameters": [],
        "requestBody": generic["requestBody"] | {"content": content},
    }


def _examples(spec: ModelSpec) -> dict[str, Any]:
    rows = [dict(spec.example)]
    listed = [head.name for head in spec.heads[:2]]
    return {
        "default head": {"value": {"instances": rows}},
        "listed heads": {"value": {"instances": rows, "heads": listed}},
        "all heads": {"value": {"instances": rows, "heads": "*"}},
    }
