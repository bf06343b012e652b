"""`POST /models/{model}/predict`, answered in front of FastAPI.

FastAPI's routing, request and response objects cost more than decoding, batching and encoding one row together. The
routes in `service.routes.native` say the same, document it, and answer everything else.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.codec import native
from service.errors import HeadserveError
from service.hangup import while_connected
from service.lifecycle.manager import Manager
from service.predict import predict
from service.routes.body import too_large
from service.routes.deadline import HEADER, deadline_after

_PREFIX, _SUFFIX = "/models/", "/predict"
_TIMEOUT = HEADER.lower().encode()
_CONTENT_TYPE = (b"content-type", native.MEDIA_TYPE.encode())

Problem = Callable[[Request, Exception], Awaitable[Response]]


class FastPath:
    """ASGI middleware.

    Args:
        app: answers what is not for this path.
        manager: lends the models.
        max_body_bytes: the largest body.
        request_timeout_ms: for a request that gives none.
        problem: makes the response to a HeadserveError.
    """

    def __init__(self, app: ASGIApp, manager: Manager, max_body_bytes: int, request_timeout_ms: int, problem: Problem):
        self._app = app
        self._manager = manager
        self._max_body_bytes = max_body_bytes
        self._request_timeout_ms = request_timeout_ms
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or has the application answer."""
        model = _model(scope)
        if model is None:
            await self._app(scope, receive, send)
            return
        try:
            content = await self._answer(model, scope, receive)
        except HeadserveError as error:
            response = await self._problem(Request(scope), error)
            await response(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            headers = [(b"content-length", b"%d" % len(content)), _CONTENT_TYPE]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": content})

    async def _answer(self, model: str, scope: Scope, receive: Receive) -> bytes:
        timeout: str | None = None
        for name, value in scope["headers"]:
            if name == _TIMEOUT:
                timeout = value.decode("latin-1")
            elif name == b"content-length" and value.isdigit() and int(value) > self._max_body_bytes:
                raise too_large(self._max_body_bytes, f"{int(value)} bytes")
        deadline = deadline_after(timeout, self._request_timeout_ms)
        body = await self._body(receive)
        async with while_connected(receive):
            return await predict(self._manager, native, model, body, deadline=deadline)

    async def _body(self, receive: Receive) -> bytes:
        message = await receive()
        body = _chunk(message)
        if not message.get("more_body") and len(body) <= self._max_body_bytes:
            return body
        chunks = bytearray(body)
        while message.get("more_body") and len(chunks) <= self._max_body_bytes:
            message = await receive()
            chunks += _chunk(message)
        if len(chunks) > self._max_body_bytes:
            raise too_large(self._max_body_bytes, "more")
        return bytes(chunks)


def _model(scope: Scope) -> str | None:
    """The model that the request is for; None when it is for another path."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
        return None
    path: str = scope["path"]
    if not (path.startswith(_PREFIX) and path.endswith(_SUFFIX)):
        return None
    model = path[len(_PREFIX) : -len(_SUFFIX)]
    return model if model and "/" not in model else None


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    return body
