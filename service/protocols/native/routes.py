"""The routes of the native protocol: the list of models, and one model."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from fastapi import APIRouter, Response

from service.errors import HeadserveError
from service.lifecycle.served_models import FileStatus, ModelStatus, Problem, ServedModels
from service.protocols import openapi as docs
from service.protocols.routes import json_response
from service.types import HeadSpec, InputSpec, ModelSpec, SignatureSpec

_MODEL_ERRORS: docs.Responses = {404: docs.problem("There is no such model.")}


@dataclass(frozen=True)
class ModelSummary(ModelStatus):
    """An entry of the list of models."""

    default_head: str | None = None
    heads: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelDetail(ModelStatus):
    """One model, with the description of its served version."""

    default_head: str | None = None
    inputs: tuple[InputSpec, ...] = ()
    features: tuple[InputSpec, ...] = ()
    """Features that the graph parses from a serialized `tf.Example`; a row may give these instead of the input."""
    heads: tuple[HeadSpec, ...] = ()
    metrics: dict[str, float | str] = field(default_factory=dict)
    signatures: dict[str, SignatureSpec] = field(default_factory=dict)
    example: dict[str, Any] = field(default_factory=dict)
    created_at: str | None = None
    headserve_version: str | None = None
    tensorflow_version: str | None = None
    """Version of TensorFlow that exported the model."""
    runtime: dict[str, Any] = field(default_factory=dict)
    """Version of TensorFlow that serves the model, and its devices."""


_OF_THE_SPEC = {each.name for each in fields(ModelDetail)} - {each.name for each in fields(ModelStatus)} - {"runtime"}
"""Members of a model's description that are attributes of `ModelSpec`."""


@dataclass(frozen=True)
class ModelList:
    """The response to `GET /models`."""

    models: list[ModelSummary]
    models_file: FileStatus
    """`models.toml` and its error, if any."""
    runtime: dict[str, Any]
    problems: tuple[Problem, ...] = ()
    """Folders that cannot be served, versions that failed, and what `models.toml` names but is not there."""


def router(manager: ServedModels, runtime: Callable[[], dict[str, Any]]) -> APIRouter:
    """Return the GET routes under `/models`; `runtime` returns TensorFlow's version and devices."""
    routes = APIRouter(prefix="/models", tags=["models"])

    @routes.get("", response_model=ModelList, summary="List the models")
    async def models() -> Response:
        """Heads, labels and versions of every model in the folder; states, times, errors and memory of the versions."""
        summaries = [_summary(status, _spec(manager, status.name)) for status in manager.statuses.values()]
        return json_response(ModelList(summaries, manager.models_file, runtime(), manager.problems))

    @routes.get("/{model}", response_model=ModelDetail, summary="Describe a model", responses=_MODEL_ERRORS)
    async def model(model: str) -> Response:
        """Heads in order (the first is the default) with kind, classes, keys and metrics; inputs; signatures; example."""
        status, spec = manager.status(model), _spec(manager, model)
        described = {} if spec is None else {name: getattr(spec, name) for name in _OF_THE_SPEC}
        return json_response(ModelDetail(**vars(status), **described, runtime=runtime()))

    return routes


def _spec(manager: ServedModels, model: str) -> ModelSpec | None:
    try:
        return manager.lookup(model).spec
    except HeadserveError:
        return None


def _summary(status: ModelStatus, spec: ModelSpec | None) -> ModelSummary:
    if spec is None:
        return ModelSummary(**vars(status))
    return ModelSummary(**vars(status), default_head=spec.default_head, heads=tuple(head.name for head in spec.heads))
