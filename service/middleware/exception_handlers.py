"""Error responses of the FastAPI routes, in the form of the request's protocol."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from service.bodies import ClientDisconnect
from service.counters import Rejections
from service.errors import ForbiddenError, HeadserveError, RequestError, UnauthorizedError, UnknownPathError, WrongMethodError
from service.inference.request_context import current
from service.protocols.protocol import PathTable, error_response, unexpected

Handler = Callable[[Request, Any], Awaitable[Response]]


def exception_handlers(paths: PathTable, rejections: Rejections) -> dict[int | type[Exception], Handler]:
    """Return the handler of each kind of exception. `rejections` counts requests that the key does not allow."""

    async def problem(request: Request, error: HeadserveError) -> Response:
        protocol = current.get().protocol
        status, encoded = error_response(error, protocol, request.scope["path"])
        if isinstance(error, UnauthorizedError | ForbiddenError):
            rejections.add("", protocol.name, status)
        response = Response(b"".join(encoded.chunks), status)
        response.raw_headers += encoded.headers
        return response

    async def http_problem(request: Request, error: HTTPException) -> Response:
        method = paths.method(request.scope) if error.status_code == 404 else None
        if method is not None:  # a prediction path: it has no route that could reject other methods
            error = HTTPException(405, headers={"Allow": method})
        response = await problem(request, _translated(error, request))
        response.headers.update(error.headers or {})
        return response

    async def disconnected(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # no client receives it

    async def unexpected_error(request: Request, _: Exception) -> Response:
        return await problem(request, unexpected())  # without the traceback, which is logged

    return {HeadserveError: problem, HTTPException: http_problem, ClientDisconnect: disconnected, Exception: unexpected_error}


def _translated(error: HTTPException, request: Request) -> RequestError:
    path = request.scope["path"]
    if error.status_code == 404:
        slash = " No path ends with a slash." if path.endswith("/") else ""
        predict = current.get().protocol.paths[0].template
        return UnknownPathError(f"There is no path {path}; to predict, POST to {predict}. /docs lists all paths.{slash}")
    if error.status_code == 405:
        methods = (error.headers or {}).get("Allow", "another method")
        return WrongMethodError(f"{path} takes {methods}, but got {request.method}.", expected=methods.split(", "))
    return RequestError(str(error.detail))
