"""`create_app(settings)` connects all parts of the server; no other module does."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline

from service.auth.gate import Gate, check_scope, key_check, may_predict
from service.auth.keys_file import Keys
from service.auth.model_access import AuthorizedManager
from service.bodies import Bodies
from service.counters import Rejections
from service.file_watch import watching
from service.inference.endpoint import InferenceEndpoint
from service.lifecycle.loader import Load
from service.lifecycle.manager import Manager, Timing
from service.lifecycle.served_models import Loaded, ServedModels
from service.metrics import Metrics
from service.middleware.access_log import AccessLog
from service.middleware.exception_handlers import exception_handlers
from service.middleware.security_headers import SecurityHeaders, with_cors
from service.models.options import ModelOptions
from service.models.signing import read_public_keys
from service.protocols.model_docs import with_models
from service.protocols.native import codec as native
from service.protocols.native import routes as native_routes
from service.protocols.native.paths import NATIVE
from service.protocols.oip import routes as v2_routes
from service.protocols.oip.paths import V2
from service.protocols.openapi import with_keys, with_predictions
from service.protocols.protocol import PathTable
from service.protocols.routes import operations_router
from service.protocols.tfserving import routes as v1_routes
from service.protocols.tfserving.paths import TIMEOUT_MS, V1
from service.runtime import devices
from service.runtime.memory import available_bytes, tune_garbage_collection
from service.runtime.model import load as load_model
from service.server.tls import Tls
from service.settings import Settings
from service.trials.guard import Guard
from service.trials.ledger import Ledger
from service.trials.trials import Trials
from service.types import ASGIApp

if TYPE_CHECKING:  # OpenTelemetry's SDK is an extra
    from service.tracing.tracing import Tracing

SUMMARY = "Predictions of SavedModels by head and prediction key, in one run of the network."

log = structlog.get_logger("headserve.app")


@dataclass(frozen=True)
class _Parts:
    """Objects shared by the routes and middleware of one server; `visible` has only the models that a request's key permits."""

    settings: Settings
    manager: Manager
    guard: Guard
    prepare: "_Preparation"
    visible: ServedModels
    keys: Keys | None
    tls: Tls | None
    tracing: "Tracing | None"
    paths: PathTable
    bodies: Bodies
    rejections: Rejections


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application. Models begin to load when its lifespan starts."""
    parts = _create_parts(settings or Settings())
    # The page at /docs brings its own scripts, so that it works without internet access.
    # Redirects would name whatever host the request claims.
    app = FastAPIOffline(
        title="headserve",
        version=package_version(),
        summary=SUMMARY,
        lifespan=_lifespan(parts),
        exception_handlers=exception_handlers(parts.paths, parts.rejections),
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.manager, app.state.settings, app.state.tls = parts.manager, parts.settings, parts.tls
    app.state.rejections, app.state.guard = parts.rejections, parts.guard
    for router in _routers(parts):
        app.include_router(router)
    generic = app.openapi
    app.openapi = lambda: _described(generic(), parts)  # type: ignore[method-assign] # as FastAPI documents it
    # Not `add_middleware`, which leaves Starlette's error handler outside of the access log.
    stack = app.build_middleware_stack()
    for middleware in reversed(_middleware(parts)):
        stack = middleware(stack)
    app.middleware_stack = stack
    return app


def _create_parts(settings: Settings) -> _Parts:
    timing = Timing(
        settings.poll_interval_ms, settings.settle_ms, settings.load_threads, settings.load_timeout_ms, settings.watch
    )
    tracing = _tracing(settings)
    signers = settings.require_signature
    if signers is not None:
        read_public_keys(signers)  # so that an unusable file is reported once, not for every model
    prepare = _Preparation(settings)
    trials = Trials(settings.load_timeout_ms / 1000, settings.compute_threads) if settings.trials else None
    guard = Guard(Ledger(settings.cache), trials, prepare)
    load = _loader(settings, tracing, prepare)
    memory_bytes = _memory_bytes(settings)
    manager = Manager(settings.models, load, settings.models_config, timing, signers, guard=guard, memory_bytes=memory_bytes)
    keys = None if settings.keys_file is None else Keys(settings.keys_file)
    return _Parts(
        settings=settings,
        manager=manager,
        guard=guard,
        prepare=prepare,
        visible=manager if keys is None else AuthorizedManager(manager),
        keys=keys,
        tls=None if settings.tls_certificate is None else Tls(settings.tls_certificate, settings.tls_key),
        tracing=tracing,
        paths=PathTable(replace(V1, timeout_ms=_v1_timeout_ms(settings)), V2, NATIVE),
        bodies=Bodies(settings.max_body_bytes, settings.max_total_request_bytes),
        rejections=Rejections(),
    )


def _routers(parts: _Parts) -> list[APIRouter]:
    models, has_keys = parts.visible, parts.keys is not None
    return [
        native_routes.router(models, parts.prepare.runtime),
        v2_routes.server_router(models, package_version()),
        v2_routes.model_router(models),
        v2_routes.repository_router(models, parts.bodies, changes_allowed=has_keys),
        operations_router(models, Metrics(models, parts.rejections), names=not has_keys),
        v1_routes.router(models),
    ]


def _middleware(parts: _Parts) -> list[Callable[[ASGIApp], ASGIApp]]:
    """Return the middleware around FastAPI, outermost first.

    Rejected requests are logged, a browser's CORS preflight needs no key, and requests without a key are not traced.
    """
    settings, keys, tracing, rejections = parts.settings, parts.keys, parts.tracing, parts.rejections
    middleware: list[Callable[[ASGIApp], ASGIApp] | None] = [
        partial(AccessLog, paths=parts.paths, access_log=settings.access_log),
        partial(with_cors, origins=settings.cors_origins),
        None if keys is None else partial(Gate, check=key_check(keys.ring), rejections=rejections),
        None if tracing is None else tracing.middleware,
        partial(
            InferenceEndpoint,
            manager=parts.visible,
            bodies=parts.bodies,
            request_timeout_ms=settings.request_timeout_ms,
            max_rows=settings.max_rows,
            rejections=rejections,
            permit=None if keys is None else may_predict,
        ),
        None if keys is None else partial(Gate, check=check_scope, rejections=rejections),
        SecurityHeaders,
    ]
    return [layer for layer in middleware if layer is not None]


def _lifespan(parts: _Parts) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the lifespan that starts and stops everything with threads."""
    polled = [files.polled for files in (parts.keys, parts.tls) if files is not None]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(parts.guard.start)
        await asyncio.to_thread(parts.manager.start)
        if parts.settings.lazy:  # so that the first request waits for its model only
            parts.guard.prepare_beside()
        async with watching(parts.settings.poll_interval_ms / 1000, polled):
            yield
        await asyncio.to_thread(parts.guard.stop)
        await asyncio.to_thread(parts.manager.stop)
        if parts.tracing is not None:  # after the last batches
            await asyncio.to_thread(parts.tracing.stop)

    return lifespan


def _described(document: dict[str, Any], parts: _Parts) -> dict[str, Any]:
    """Complete FastAPI's OpenAPI document."""
    document = with_models(with_predictions(document, parts.paths), parts.visible.specs, parts.visible.statuses.values())
    return document if parts.keys is None else with_keys(document)


def _tracing(settings: Settings) -> "Tracing | None":
    """Return tracing, or None if it is off. Raises ModuleNotFoundError without the extra `otel`."""
    if not settings.traces:
        return None
    from service.tracing.tracing import tracing_from_environment

    return tracing_from_environment(package_version())


class _Preparation:
    """Imports TensorFlow and configures its devices at the first call. For any thread."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._lock = threading.Lock()
        self._runtime: dict[str, Any] = {}

    def __call__(self) -> None:
        settings = self._settings
        with self._lock:
            if not self._runtime:
                devices.configure(settings.gpu_memory_growth, settings.gpu_memory_limit_mb, settings.require_gpu)
                found = devices.runtime()
                log.info("computing on", **found)
                tune_garbage_collection()
                self._runtime = found

    def runtime(self) -> dict[str, Any]:
        """Return TensorFlow's version and devices; empty until it is imported, because requests must not wait for that."""
        return self._runtime


def _loader(settings: Settings, tracing: "Tracing | None", prepare: Callable[[], None]) -> Load:
    """Return a function that loads a version."""

    def load(name: str, version: int, folder: Path, options: ModelOptions) -> Loaded:
        prepare()
        tracer = None if tracing is None else tracing.of(name, version)
        return load_model(name, version, folder, options, native.decode, settings.compute_threads, tracer)

    return load


def _memory_bytes(settings: Settings) -> int | None:
    """Return the memory of models that are loaded at their first request; None if they are loaded at the start."""
    if not settings.lazy:
        return None
    return available_bytes() // 2 if settings.lazy_memory_mb is None else settings.lazy_memory_mb * 2**20


def _v1_timeout_ms(settings: Settings) -> int:
    """Return TensorFlow Serving's time limit, unless the settings have one."""
    return settings.request_timeout_ms if "request_timeout_ms" in settings.model_fields_set else TIMEOUT_MS


def package_version() -> str:
    """Return the version of the installed distribution."""
    try:
        return version("headserve")
    except PackageNotFoundError:
        return "0+unknown"
