"""The routes of the Open Inference Protocol that are not inference: server, health, models, and Triton's model repository."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from service.bodies import Bodies, Body, decode_in_thread
from service.errors import ForbiddenError, ModelLoadError, RequestError, UnavailableError, UnsupportedFeatureError
from service.lifecycle.on_demand import look_up
from service.lifecycle.served_models import ServedModels
from service.protocols import openapi as docs
from service.protocols.json.reader import parse_object
from service.protocols.oip import describe
from service.protocols.oip.codec import JSON
from service.protocols.oip.outputs import flag, parameters
from service.protocols.oip.paths import CANNOT, MODEL, NOT_NOW, V2, VERSION
from service.protocols.protocol import version_number
from service.protocols.routes import answering_state, json_response

EXTENSIONS = (
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)
"""Triton's names of the extensions that this server has."""

_NO_MODEL = docs.error("There is no such model, or no such version to serve.")
_SIZES = docs.array({"type": "integer", "minimum": -1})
_TENSORS = docs.array(docs.members(name=docs.TEXT, datatype=docs.TEXT, shape=_SIZES))
_METADATA = docs.members(name=docs.TEXT, versions=docs.array(docs.TEXT), platform=docs.TEXT, inputs=_TENSORS, outputs=_TENSORS)
_CONFIGURED = docs.array(docs.members(name=docs.TEXT, data_type=docs.TEXT, dims=_SIZES))
_CONFIG = docs.members(
    name=docs.TEXT, platform=docs.TEXT, backend=docs.TEXT, max_batch_size=docs.COUNT, input=_CONFIGURED, output=_CONFIGURED
)
_STATISTICS = docs.members(
    name=docs.TEXT,
    version=docs.TEXT,
    last_inference=docs.COUNT | {"description": "In ms since 1970."},
    inference_count=docs.COUNT,
    execution_count=docs.COUNT,
    inference_stats=docs.by_name(docs.members(count=docs.COUNT, ns=docs.COUNT)),
    batch_stats=docs.array(docs.members(batch_size=docs.COUNT)),
)
_STATE = {"enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]}
_INDEX = docs.array(docs.members(name=docs.TEXT, version=docs.TEXT, state=_STATE, reason=docs.TEXT))


def _described(schema: dict[str, Any], description: str) -> docs.Responses:
    return {200: docs.body(description, schema), 404: _NO_MODEL, 503: NOT_NOW}


def _is(ready: bool, word: str, **more: dict[str, Any]) -> dict[str, Any]:
    return docs.body("It is." if ready else "It is not.", docs.members(**more, **{word: {"const": ready}}))


def _may_send(**members: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": docs.optional(**members)}}}}


_SERVER_DOCS: docs.Responses = {
    200: docs.body("The server.", docs.members(name=docs.TEXT, version=docs.TEXT, extensions=docs.array(docs.TEXT)))
}
_METADATA_DOCS = _described(_METADATA, "The model.")
_CONFIG_DOCS = _described(_CONFIG, "Its configuration.")
_READY_DOCS: docs.Responses = {200: _is(True, "ready"), 503: _is(False, "ready")}
_IS_READY_DOCS: docs.Responses = {
    200: _is(True, "ready", name=docs.TEXT),
    404: _NO_MODEL,
    503: _is(False, "ready", name=docs.TEXT),
}
_STATISTICS_DOCS = _described(docs.members(model_stats=docs.array(_STATISTICS)), "A line for each version that is served.")
_INDEX_DOCS: dict[str, Any] = {
    "openapi_extra": _may_send(ready={"type": "boolean"}),
    "responses": {200: docs.body("A line for each version.", _INDEX), "4XX": docs.error("The body is not such an object.")},
}
_CHANGED: docs.Responses = {
    200: docs.body("Done.", {"type": "object", "maxProperties": 0}),
    403: docs.error("The server runs without keys."),
    "4XX": CANNOT,
    "5XX": NOT_NOW,
}
_LOAD_DOCS: dict[str, Any] = {
    "openapi_extra": _may_send(parameters={"type": "object", "patternProperties": {"^(config$|file:)": False}}),
    "responses": _CHANGED | {501: docs.error("The request brings the model's files or its configuration with it.")},
}
_UNLOAD_DOCS: dict[str, Any] = {
    "openapi_extra": _may_send(parameters=docs.optional(unload_dependents={"type": ["boolean", "null"]})),
    "responses": _CHANGED,
}


async def _requested_version(request: Request) -> int | None:
    text = request.path_params.get("version")
    return None if text is None else version_number(text)


_Version = Annotated[int | None, Depends(_requested_version)]
"""The version in the path of the request; None if the path has none. Raises UnknownVersionError."""


def _versioned(name: str) -> dict[str, Any]:
    """Return what differs in the route of `name` whose path has a version."""
    return {"name": f"version_{name}", "openapi_extra": {"parameters": [docs.VERSION]}}


def server_router(manager: ServedModels, server_version: str) -> APIRouter:
    """Return the routes for the server and its health."""
    routes = APIRouter(prefix=V2.prefix, tags=[V2.tag])

    @routes.get("", summary="Describe the server", responses=_SERVER_DOCS)
    async def server() -> Response:
        """Name, version and supported extensions of the protocol."""
        return json_response({"name": "headserve", "version": server_version, "extensions": EXTENSIONS})

    @routes.get("/health/live", summary="Is the process alive?", responses={200: _is(True, "live")})
    async def live() -> Response:
        """Always 200: the event loop answers, also while models load and compute."""
        return json_response({"live": True})

    @routes.get("/health/ready", summary="Are all models ready?", responses=_READY_DOCS)
    async def ready() -> Response:
        """200 if all models can answer, except those that were unloaded on request.

        For load balancers, `/readyz` is better: it stays 200 when a single model fails.
        """
        states = {answering_state(manager, status) for status in manager.statuses.values()} - {"unloaded"}
        answers = states == {"available"} and manager.settled and not manager.draining
        return json_response({"ready": answers}, 200 if answers else 503)

    return routes


def model_router(manager: ServedModels) -> APIRouter:
    """Return the GET routes for models; most have a path for the served version and one for any version."""
    routes = APIRouter(prefix=V2.prefix, tags=[V2.tag])

    @routes.get(f"{VERSION}/ready", summary="Is a version of a model ready?", responses=_IS_READY_DOCS, **_versioned("ready"))
    @routes.get(f"{MODEL}/ready", summary="Is a model ready?", responses=_IS_READY_DOCS)
    async def model_ready(model: str, version: _Version) -> Response:
        """200 if the model answers requests, else 503; 404 if there is no such model, or no such version to serve."""
        try:
            manager.lookup(model, version)
            ready = True
        except (UnavailableError, ModelLoadError):
            ready = manager.loads_on_demand(model)
        return json_response({"name": model, "ready": ready}, 200 if ready else 503)

    # Before `/models/{model}`, which would take `stats` for the name of a model.
    @routes.get("/models/stats", summary="Statistics of all models", responses={200: _STATISTICS_DOCS[200]})
    async def all_statistics() -> Response:
        """Counts and durations in ns of every served version, since it was loaded."""
        return json_response(describe.statistics(manager, manager.statuses))

    @routes.get(f"{VERSION}/stats", summary="Statistics of one version", responses=_STATISTICS_DOCS, **_versioned("statistics"))
    @routes.get(f"{MODEL}/stats", summary="Statistics of a model", responses=_STATISTICS_DOCS)
    async def model_statistics(model: str, version: _Version) -> Response:
        """Counts and durations in ns of the served versions, or of one, since they were loaded; 404 unless it is served."""
        return json_response(describe.statistics(manager, [model], version))

    @routes.get(VERSION, summary="Describe one version", responses=_METADATA_DOCS, **_versioned("metadata"))
    @routes.get(MODEL, summary="Describe a model", responses=_METADATA_DOCS)
    async def metadata(model: str, version: _Version) -> Response:
        """The served versions; inputs and outputs of the newest, or of one, with datatypes and shapes: -1 is any size."""
        spec = (await look_up(manager, model, version)).spec
        served = {known.version for known in manager.status(model).versions if known.state == "available"}
        return json_response(describe.metadata(spec, sorted(served)))

    @routes.get(f"{VERSION}/config", summary="Configuration of one version", responses=_CONFIG_DOCS, **_versioned("config"))
    @routes.get(f"{MODEL}/config", summary="Configuration of a model", responses=_CONFIG_DOCS)
    async def config(model: str, version: _Version) -> Response:
        """Inputs, outputs, batching and version policy, as Triton writes them; 404 unless the version is served."""
        return json_response(describe.config((await look_up(manager, model, version)).spec, manager.options(model)))

    return routes


def repository_router(manager: ServedModels, bodies: Bodies, changes_allowed: bool) -> APIRouter:
    """Return the routes under `/v2/repository`; `changes_allowed`: whether models may be loaded and unloaded."""
    routes = APIRouter(prefix=f"{V2.prefix}/repository", tags=[V2.tag])

    async def message(request: Request) -> dict[str, Any]:
        """Read the body, which may be empty."""
        body = Body(bodies)

        def read() -> dict[str, Any]:
            data = body.take()
            return parse_object(data, JSON) if data.strip() else {}

        try:
            await body.read(request.receive, dict(request.scope["headers"]))
            return await decode_in_thread(read) if body.is_large else read()
        finally:
            body.release()

    @routes.post("/index", summary="List the versions of all models", **_INDEX_DOCS)
    async def index(request: Request) -> Response:
        """Every version in the folder with its state and the reason for it; with `ready`, only those that are served."""
        only_ready = (await message(request)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise RequestError("'ready': expected true or false.")
        entries = [entry for status in manager.statuses.values() for entry in describe.index(status)]
        return json_response([entry for entry in entries if entry["state"] == "READY" or not only_ready])

    @routes.post("/models/{model}/load", summary="Load a model", **_LOAD_DOCS)
    async def load(model: str, request: Request) -> Response:
        """Loads the versions that should be served, also after an unload, and retries failed ones. 200 when they are served."""
        _check_allowed(changes_allowed)
        for name in parameters(await message(request), "The request"):
            if name == "config" or name.startswith("file:"):
                raise UnsupportedFeatureError(
                    f"The parameter {name[:80]!r}: models and their options are read from disk; put the version into the "
                    "models folder, and options into models.toml."
                )
        await asyncio.wrap_future(manager.load(model))
        return json_response({})

    @routes.post("/models/{model}/unload", summary="Unload a model", **_UNLOAD_DOCS)
    async def unload(model: str, request: Request) -> Response:
        """Takes the model out of service until it is loaded again, or the server restarts; running requests are finished."""
        _check_allowed(changes_allowed)
        # The flag has no effect, since no model depends on another here.
        flag(parameters(await message(request), "The request"), "unload_dependents", "The request")
        await asyncio.wrap_future(manager.unload(model))
        return json_response({})

    return routes


def _check_allowed(changes_allowed: bool) -> None:
    if not changes_allowed:
        raise ForbiddenError(
            "Expected a server with keys, as this changes what is served; start it with --keys-file, and send a key with "
            "the scope 'admin'."
        )
