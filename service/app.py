"""`create_app(settings)`: the only place that wires."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service import devices
from service.codec import native
from service.config import Settings
from service.errors import BodyTooLargeError, HeadserveError, RequestError, UnknownPathError, WrongMethodError
from service.fast_path import FastPath
from service.lifecycle.loader import Load
from service.lifecycle.manager import Manager, Timing
from service.model import load as load_model
from service.model_options import ModelOptions
from service.openapi import with_models
from service.routes import native as native_routes
from service.routes import ops
from service.types import Loaded

log = structlog.get_logger("headserve.app")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; models begin to be loaded when its lifespan starts."""
    settings = settings or Settings()
    timing = Timing(settings.poll_interval_ms, settings.settle_ms, settings.load_threads, settings.watch)
    manager = Manager(settings.models, _loader(settings), settings.models_config, timing)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(manager.start)
        yield
        await asyncio.to_thread(manager.stop)

    # The page at /docs brings its own scripts: it works where there is no internet.
    app = FastAPIOffline(title="headserve", version=package_version(), summary=__doc__, lifespan=lifespan, redoc_url=None)
    app.state.manager = manager
    app.include_router(native_routes.router(manager, settings, _runtime(manager)))
    app.include_router(ops.router(manager))
    limits = {"max_body_bytes": settings.max_body_bytes, "request_timeout_ms": settings.request_timeout_ms}
    app.add_middleware(FastPath, manager=manager, problem=_problem, **limits)
    app.add_exception_handler(HeadserveError, _problem)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)
    generic = app.openapi
    app.openapi = lambda: with_models(generic(), manager.specs)  # type: ignore[method-assign]
    return app


def _loader(settings: Settings) -> Load:
    """Loads a version; the first one brings TensorFlow with it."""

    @cache
    def prepare() -> None:
        devices.configure(settings.gpu_memory_growth, settings.gpu_memory_limit_mb, settings.require_gpu)
        # Half a million objects of TensorFlow's modules stay for ever. Collecting garbage, which stops every thread, would
        # look at them each time.
        gc.freeze()

    def load(name: str, version: int, folder: Path, options: ModelOptions) -> Loaded:
        with preparing:
            prepare()
        return load_model(name, version, folder, options, settings.compute_threads)

    preparing = threading.Lock()
    return load


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


async def _problem(request: Request, error: Exception) -> Response:
    """The answer to an error of our tree; its class says the status."""
    assert isinstance(error, HeadserveError)
    if error.status >= 500:
        log.error("request failed", path=request.url.path, code=error.code, error=error.message)
    # What is left of a body that is too large must not be read as the next request.
    headers = {"Connection": "close"} if isinstance(error, BodyTooLargeError) else {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    return Response(native.encode_error(error), error.status, headers, native.ERROR_MEDIA_TYPE)


async def _http_problem(request: Request, error: Exception) -> Response:
    """Starlette's own errors, as ours."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    allowed: dict[str, Any] = dict(error.headers or {})
    if error.status_code == 404:
        problem: RequestError = UnknownPathError(f"There is no path {path}; /docs lists what there is.")
    elif error.status_code == 405:
        methods = allowed.get("Allow", "another method")
        problem = WrongMethodError(f"{path} takes {methods}, but got {request.method}.", expected=methods.split(", "))
    else:
        problem = RequestError(str(error.detail))
    answer = await _problem(request, problem)
    answer.headers.update(allowed)
    return answer


async def _gone(_: Request, __: Exception) -> Response:
    """The client hung up while it sent; nobody reads this."""
    return Response(status_code=400)


async def _unexpected(request: Request, _: Exception) -> Response:
    """A fault of ours: the log has the trace, the client has none."""
    return await _problem(request, HeadserveError("An unexpected error; the server's log says more."))
