"""The routes of the Open Inference Protocol that are not inference: server, health, models, and Triton's model repository."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from service.bodies import Bodies, Body, decode_in_thread
from service.errors import ForbiddenError, ModelLoadError, RequestError, UnavailableError, UnsupportedFeatureError
from service.lifecycle.served_models import BUSY, ModelStatus, ServedModels, State, VersionStatus, by_version
from service.protocols.json.reader import parse_object
from service.protocols.oip import describe
from service.protocols.oip import openapi as docs
from service.protocols.oip.codec import JSON
from service.protocols.oip.outputs import flag, parameters
from service.protocols.oip.paths import V2, VERSION
from service.protocols.protocol import version_number
from service.protocols.routes import json_response

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

_STATES = {State.AVAILABLE: "READY", State.UNLOADING: "UNLOADING"} | dict.fromkeys(BUSY, "LOADING")
UNAVAILABLE = "UNAVAILABLE"


def server_router(manager: ServedModels, server_version: str) -> APIRouter:
    """Return the routes for the server and for readiness."""
    routes = APIRouter(prefix=V2.prefix, tags=[V2.tag])

    @routes.get("", summary="Describe the server", responses=docs.SERVER)
    async def server() -> Response:
        """Name, version and supported extensions of the protocol."""
        return json_response({"name": "headserve", "version": server_version, "extensions": EXTENSIONS})

    @routes.get("/health/live", summary="Is the process alive?", responses=docs.LIVE)
    async def live() -> Response:
        """Always 200: the event loop answers, also while models load and compute."""
        return json_response({"live": True})

    @routes.get("/health/ready", summary="Are all models ready?", responses=docs.READY)
    async def ready() -> Response:
        """200 if all models can answer, except those that were unloaded on request.

        For load balancers, `/readyz` is better: it stays 200 when a single model fails.
        """
        states = {status.state for status in manager.statuses.values()} - {"unloaded"}
        answers = states == {"available"} and manager.settled and not manager.draining
        return json_response({"ready": answers}, 200 if answers else 503)

    @routes.get("/models/{model}/ready", summary="Is a model ready?", responses=docs.MODEL_READY)
    async def model_ready(model: str) -> Response:
        """200 if the model answers requests, else 503; 404 if there is no such model."""
        return _ready(manager, model, None)

    @routes.get(f"{VERSION}/ready", summary="Is a version of a model ready?", responses=docs.MODEL_READY)
    async def version_ready(model: str, version: str) -> Response:
        """200 if the version answers requests, else 503; 404 unless it should be served."""
        return _ready(manager, model, version_number(version))

    return routes


def model_router(manager: ServedModels) -> APIRouter:
    """Return the routes for metadata, configuration and statistics of models."""
    routes = APIRouter(prefix=V2.prefix, tags=[V2.tag])

    # Before `/models/{model}`, which would take `stats` for the name of a model.
    @routes.get("/models/stats", summary="Statistics of all models", responses={200: docs.STATISTICS[200]})
    async def all_statistics() -> Response:
        """Counts and durations in ns of every served version, since it was loaded."""
        return json_response(describe.statistics(manager, manager.statuses))

    @routes.get("/models/{model}/stats", summary="Statistics of a model", responses=docs.STATISTICS)
    async def model_statistics(model: str) -> Response:
        """Counts and durations in ns of the model's served versions, since they were loaded."""
        return json_response(describe.statistics(manager, [model]))

    @routes.get(f"{VERSION}/stats", summary="Statistics of one version", responses=docs.STATISTICS)
    async def version_statistics(model: str, version: str) -> Response:
        """Counts and durations in ns of one version, since it was loaded; 404 unless it is served."""
        return json_response(describe.statistics(manager, [model], version_number(version)))

    @routes.get("/models/{model}", summary="Describe a model", responses=docs.METADATA)
    async def metadata(model: str) -> Response:
        """The model's served versions, and the inputs and outputs of the newest: datatypes and shapes, -1 for any size."""
        return _metadata(manager, model, None)

    @routes.get(VERSION, summary="Describe one version", responses=docs.METADATA)
    async def version_metadata(model: str, version: str) -> Response:
        """The model's served versions, and the inputs and outputs of one; 404 unless it is served."""
        return _metadata(manager, model, version_number(version))

    @routes.get("/models/{model}/config", summary="Configuration of a model", responses=docs.CONFIG)
    async def config(model: str) -> Response:
        """Inputs, outputs, batching and version policy, as Triton writes them."""
        return _config(manager, model, None)

    @routes.get(f"{VERSION}/config", summary="Configuration of one version", responses=docs.CONFIG)
    async def version_config(model: str, version: str) -> Response:
        """Configuration of one version, as Triton writes it; 404 unless it is served."""
        return _config(manager, model, version_number(version))

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

    @routes.post("/index", summary="List the versions of all models", **docs.INDEX)
    async def index(request: Request) -> Response:
        """Every version in the folder with its state and the reason for it; with `ready`, only those that are served."""
        only_ready = (await message(request)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise RequestError("'ready': expected true or false.")
        entries = [
            _entry(status, known)
            for status in manager.statuses.values()
            for _, known in sorted(by_version(status.versions).items())
        ]
        return json_response([entry for entry in entries if entry["state"] == "READY" or not only_ready])

    @routes.post("/models/{model}/load", summary="Load a model", **docs.LOAD)
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

    @routes.post("/models/{model}/unload", summary="Unload a model", **docs.UNLOAD)
    async def unload(model: str, request: Request) -> Response:
        """Takes the model out of service until it is loaded again, or the server restarts; running requests are finished."""
        _check_allowed(changes_allowed)
        # The flag has no effect, since no model depends on another here.
        flag(parameters(await message(request), "The request"), "unload_dependents", "The request")
        await asyncio.wrap_future(manager.unload(model))
        return json_response({})

    return routes


def _ready(manager: ServedModels, model: str, version: int | None) -> Response:
    try:
        manager.lookup(model, version)
        ready = True
    except (UnavailableError, ModelLoadError):
        ready = False
    return json_response({"name": model, "ready": ready}, 200 if ready else 503)


def _metadata(manager: ServedModels, model: str, version: int | None) -> Response:
    spec = manager.lookup(model, version).spec
    served = {known.version for known in manager.status(model).versions if known.state == "available"}
    return json_response(describe.metadata(spec, sorted(served)))


def _config(manager: ServedModels, model: str, version: int | None) -> Response:
    return json_response(describe.config(manager.lookup(model, version).spec, manager.options(model)))


def _check_allowed(changes_allowed: bool) -> None:
    if not changes_allowed:
        raise ForbiddenError(
            "Expected a server with keys, as this changes what is served; start it with --keys-file, and send a key with "
            "the scope 'admin'."
        )


def _entry(status: ModelStatus, known: VersionStatus) -> dict[str, str]:
    state, reason = _STATES.get(State(known.state), UNAVAILABLE), ""
    if state == UNAVAILABLE and status.state == "unloaded":
        reason = "unloaded"
    elif state == UNAVAILABLE:
        reason = known.error or ("not loaded yet" if known.wanted else "not asked for by the version policy")
    return {"name": status.name, "version": str(known.version), "state": state, "reason": reason}
