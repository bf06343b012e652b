"""`create_app(settings)`: the only place that wires."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from service import devices
from service.access import Access
from service.config import Settings
from service.errors import HeadserveError, RequestError, UnknownPathError, WrongMethodError
from service.inference import Inference
from service.lifecycle.loader import Load
from service.lifecycle.manager import Manager, Timing
from service.metrics import Metrics
from service.model import load as load_model
from service.model_options import ModelOptions
from service.openapi import with_models
from service.problems import Apis, answer_to, unexpected
from service.routes import native as native_routes
from service.routes import ops, v1, v2, v2_models, v2_repository
from service.signature import read_public_keys
from service.statistics import Refusals
from service.types import Loaded

if TYPE_CHECKING:  # OpenTelemetry's SDK is an extra
    from service.traces.tracing import Tracing

GARBAGE_AFTER = 20_000
"""How many objects more than before make Python look for garbage among the young."""
SUMMARY = "Predictions of SavedModels by head and prediction key, in one run of the network."

log = structlog.get_logger("headserve.app")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; models begin to be loaded when its lifespan starts."""
    settings = settings or Settings()
    timing = Timing(settings.poll_interval_ms, settings.settle_ms, settings.load_threads, settings.watch)
    tracing = _tracing(settings)
    signers = settings.require_signature
    if signers is not None:
        read_public_keys(signers)  # a wrong file is said at once, not by every model
    manager = Manager(settings.models, _loader(settings, tracing), settings.models_config, timing, signers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(manager.start)
        yield
        await asyncio.to_thread(manager.stop)
        if tracing is not None:  # after the last runs
            await asyncio.to_thread(tracing.stop)

    # The page at /docs brings its own scripts: it works where there is no internet.
    app = FastAPIOffline(title="headserve", version=package_version(), summary=SUMMARY, lifespan=lifespan, redoc_url=None)
    app.state.manager = manager
    apis = Apis(v1.V1Api(_v1_timeout_ms(settings)), v2.V2Api(), native_routes.NativeApi())
    app.include_router(native_routes.router(manager, _runtime(manager)))
    app.include_router(v2.router(manager, package_version()))
    app.include_router(v2_models.router(manager))
    app.include_router(v2_repository.router(manager, settings.admin_key, settings.max_body_bytes))
    refusals = Refusals()
    app.include_router(ops.router(manager, Metrics(manager, refusals)))
    app.include_router(v1.router(manager))
    stack, limits = app.build_middleware_stack, (settings.max_body_bytes, settings.request_timeout_ms)

    def in_front() -> ASGIApp:
        inference = Inference(stack(), manager, apis, *limits, refusals)
        return Access(inference if tracing is None else tracing.around(inference, apis), apis, settings.access_log)

    app.build_middleware_stack = in_front  # type: ignore[method-assign] # Starlette asks the instance for it
    for kind, handler in _handlers(apis).items():
        app.add_exception_handler(kind, handler)
    generic = app.openapi
    app.openapi = lambda: with_models(generic(), manager.specs)  # type: ignore[method-assign] # as FastAPI documents it
    return app


def _tracing(settings: Settings) -> "Tracing | None":
    """Traces, if they are wanted. Raises ModuleNotFoundError without the extra `otel`."""
    if not settings.traces:
        return None
    from service.traces.tracing import tracing

    return tracing(package_version())


def _loader(settings: Settings, tracing: "Tracing | None") -> Load:
    """Loads a version; the first one brings TensorFlow with it."""

    @cache
    def prepare() -> None:
        devices.configure(settings.gpu_memory_growth, settings.gpu_memory_limit_mb, settings.require_gpu)
        log.info("computing on", **devices.runtime())
        # Half a million objects of TensorFlow's modules stay for ever. Collecting garbage, which stops every thread, would
        # look at them each time. And a request is some fifty objects, all gone with it: to look every 700 is too often.
        gc.freeze()
        gc.set_threshold(GARBAGE_AFTER)

    def load(name: str, version: int, folder: Path, options: ModelOptions) -> Loaded:
        with preparing:
            prepare()
        traces = None if tracing is None else tracing.of(name, version)
        return load_model(name, version, folder, options, settings.compute_threads, traces)

    preparing = threading.Lock()
    return load


def _v1_timeout_ms(settings: Settings) -> int:
    """What TensorFlow Serving gives a request, unless the settings say something themselves."""
    return settings.request_timeout_ms if "request_timeout_ms" in settings.model_fields_set else v1.TIMEOUT_MS


def _runtime(manager: Manager) -> Callable[[], dict[str, Any]]:
    """What TensorFlow says about itself, once it is there: a request must not wait for it to be imported."""
    told = cache(devices.runtime)
    return lambda: told() if manager.settled and manager.statuses else {}


def package_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("headserve")
    except PackageNotFoundError:
        return "0+unknown"


def _handlers(apis: Apis) -> dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]]:
    """How errors that reach FastAPI are answered."""

    async def problem(request: Request, error: HeadserveError) -> Response:
        status, answer = answer_to(error, apis.of(request.url.path), request.url.path)
        response = Response(b"".join(answer.chunks), status)
        response.raw_headers += answer.headers
        return response

    async def http_problem(request: Request, error: HTTPException) -> Response:
        allowed: dict[str, Any] = dict(error.headers or {})
        answer = await problem(request, _ours(error, request.method, request.url.path, allowed.get("Allow", "another method")))
        answer.headers.update(allowed)
        return answer

    async def gone(_: Request, __: ClientDisconnect) -> Response:
        """The client hung up while it sent; nobody reads this."""
        return Response(status_code=400)

    async def fault(request: Request, _: Exception) -> Response:
        """A fault of ours: the log has the trace, the client has none."""
        return await problem(request, unexpected())

    return {HeadserveError: problem, HTTPException: http_problem, ClientDisconnect: gone, Exception: fault}


def _ours(error: HTTPException, method: str, path: str, methods: str) -> RequestError:
    """Starlette's own errors, as ours."""
    if error.status_code == 404:
        return UnknownPathError(f"There is no path {path}; /docs lists what there is.")
    if error.status_code == 405:
        return WrongMethodError(f"{path} takes {methods}, but got {method}.", expected=methods.split(", "))
    return RequestError(str(error.detail))
