"""The outermost middleware: makes the request's context, adds its id to the response, and writes the access log.

A client's `X-Request-Id` is used if it is 1 to 128 visible ASCII characters, so that no client forges log lines or headers;
otherwise a new id is made. All log lines of a request carry it. With `X-Server-Timing: 1`, the response to a prediction has
the header `Server-Timing`: milliseconds for decoding, inference (waiting included) and encoding.
"""

import re
import secrets
import time
from collections.abc import Awaitable
from itertools import count
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars

from service.inference.request_context import RequestContext, current
from service.protocols.protocol import PathTable
from service.types import ASGIApp, Message, Receive, Scope, Send

VALID_ID = re.compile(rb"[!-~]{1,128}")

PREFIX = secrets.token_hex(4)
"""Start of the ids that this process makes."""

log = structlog.get_logger("headserve.access")


class AccessLog:
    """ASGI middleware that makes the `RequestContext` of every HTTP request, and logs a line for it if `access_log` is set."""

    def __init__(self, app: ASGIApp, paths: PathTable, access_log: bool):
        self._app = app
        self._paths = paths
        self._access_log = access_log
        self._new_ids = (f"{PREFIX}{number & 0xFFFFFFFF:08x}" for number in count())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request within its context."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        request_id = given.decode() if given is not None and VALID_ID.fullmatch(given) else next(self._new_ids)
        request = RequestContext(request_id, headers, *self._paths.find(scope))
        current.set(request)
        bind_contextvars(request_id=request_id)
        header = (b"x-request-id", request_id.encode())
        timing = headers.get(b"x-server-timing") == b"1"
        if self._access_log or timing:
            await self._observed(scope, _Observer(request, receive, send, header, timing))
            return

        def with_id(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            return send(message)

        await self._app(scope, receive, with_id)

    async def _observed(self, scope: Scope, observer: "_Observer") -> None:
        """Forward the request, and log its line if there is an access log."""
        failed = True
        try:
            await self._app(scope, observer.receive, observer.send)
            failed = False
        finally:
            if self._access_log:
                log.info("request", **_origin(scope), **observer.measured(failed))


class _Observer:
    """Wraps `receive` and `send` of one request: counts bytes, measures the duration, adds headers."""

    __slots__ = ("_began_ns", "_bytes_in", "_bytes_out", "_header", "_receive", "_send", "_status", "_timing", "request")

    def __init__(self, request: RequestContext, receive: Receive, send: Send, header: tuple[bytes, bytes], timing: bool):
        self.request = request
        self._began_ns = time.perf_counter_ns()
        self._receive = receive
        self._send = send
        self._header = header
        self._timing = timing
        self._bytes_in = self._bytes_out = 0
        self._status: int | None = None

    async def receive(self) -> Message:
        """Count the bytes of a message from the server."""
        message = await self._receive()
        self._bytes_in += len(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Count the bytes of a message to the server, and add the headers."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message.get("headers", ()), self._header, *self._server_timing()]
        else:
            self._bytes_out += len(message.get("body", b""))
        return self._send(message)

    def measured(self, failed: bool) -> dict[str, Any]:
        """Return the name of the key, if any, what was measured, and the model of a prediction.

        The status is None if the client disconnected before the response.
        """
        request = self.request
        fields: dict[str, Any] = {} if request.key is None else {"key": request.key.name}
        fields["status"] = 500 if failed and self._status is None else self._status
        fields["duration_ms"] = round((time.perf_counter_ns() - self._began_ns) / 1e6, 3)
        fields |= {"bytes_in": self._bytes_in, "bytes_out": self._bytes_out}
        if request.model is not None:
            fields |= {"api": request.protocol.prefix, "model": request.model, "version": request.version, "rows": request.rows}
        return fields

    def _server_timing(self) -> list[tuple[bytes, bytes]]:
        sample = self.request.sample
        if not self._timing or sample is None:
            return []
        names = ("decode", "infer", "encode")
        durations_ns = (sample.decode_ns, sample.infer_ns, sample.encode_ns)
        value = ", ".join(f"{name};dur={ns / 1e6:.3f}" for name, ns in zip(names, durations_ns, strict=True))
        return [(b"server-timing", value.encode())]


def _origin(scope: Scope) -> dict[str, Any]:
    """Return method, path and client. The path is logged as it was sent, with non-ASCII and control bytes escaped."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    client = scope.get("client")
    return {
        "method": scope["method"],
        "path": raw.partition(b"?")[0].decode("ascii", "backslashreplace"),
        "client": f"{client[0]}:{client[1]}" if client else None,
    }
