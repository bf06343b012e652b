"""Answers the prediction requests of every protocol, in front of FastAPI; CONTRIBUTING.md lists the steps of a request.

FastAPI's routing, request and response objects would cost more than decoding, batching and encoding one row together.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from service.batching.batch import rows_of
from service.bodies import (
    LARGE_BYTES,
    Bodies,
    Body,
    ClientDisconnect,
    WhileConnected,
    compressed,
    decode_in_thread,
    preferred_encoding,
)
from service.counters import HUNG_UP, Rejections
from service.errors import DeadlineExceededError, HeadserveError, OverloadedError, RequestError, TooManyRowsError
from service.inference.request_context import RequestContext, current
from service.lifecycle.on_demand import once_loaded
from service.lifecycle.served_models import Loaded, ServedModels
from service.protocols.protocol import Codec, Match, error_response, send_response, unexpected
from service.types import ASGIApp, Encoded, Headers, InferRequest, InferResponse, ModelSpec, Receive, Scope, Send, nbytes

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
"""Request header: milliseconds that the request may take."""
VERSION_HEADER = b"x-model-version"
"""Response header: the version that computed the prediction."""
COMPRESS_FROM_BYTES = 4096
"""Smaller responses fit a few packets and are not compressed."""

_TIMEOUT = TIMEOUT_HEADER.lower().encode()

log = structlog.get_logger("headserve.app")


@dataclass(frozen=True, eq=False)
class InferenceEndpoint:
    """ASGI middleware that answers prediction requests and forwards all others.

    `request_timeout_ms` is for requests without a limit of their own. `rejections` counts those that get no version. `permit`
    raises if the caller may not predict with the model; None if everybody may.
    """

    app: ASGIApp
    manager: ServedModels
    bodies: Bodies
    request_timeout_ms: int
    max_rows: int
    rejections: Rejections
    permit: Callable[[str], None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a prediction request, or forward the request."""
        if scope["type"] != "http" or (match := (request := current.get()).match) is None:
            await self.app(scope, receive, send)
            return
        path, body, status = scope["path"], Body(self.bodies), HUNG_UP
        try:
            try:
                response = await self._respond(request, match, receive, body)
                status = 200
            except HeadserveError as error:
                status, response = error_response(error, request.protocol, path)
            except ClientDisconnect:
                return
            except Exception:
                log.exception("an unexpected error", path=path)
                status, response = error_response(unexpected(), request.protocol, path)
            finally:
                if not request.end(status):
                    model = match.model if self.manager.knows(match.model) else ""
                    self.rejections.add(model, request.protocol.name, status)
            await send_response(status, response, send)
        finally:
            body.release()

    async def _respond(self, request: RequestContext, match: Match, receive: Receive, body: Body) -> Encoded:
        """Return the response to a prediction request. Raises HeadserveError, ClientDisconnect."""
        if self.permit is not None:
            self.permit(match.model)
        request.model = match.model
        protocol, headers = request.protocol, request.headers
        version = None if match.version is None else protocol.version_number(match.version)
        codec = match.path.codec(headers)
        deadline = deadline_of(headers, protocol.timeout_ms or self.request_timeout_ms)
        await body.read(receive, headers)
        acquire = partial(self.manager.acquire, match.model, version, match.label)
        with WhileConnected(receive), await once_loaded(self.manager, match.model, acquire, deadline) as loaded:
            request.acquired(loaded)
            response = await self._predict(request, loaded, codec, body, deadline)
        encodings = headers.get(b"accept-encoding")
        if encodings is not None:
            response = await _compressed(response, encodings)
        body.reserve(response.size)
        return response

    async def _predict(self, request: RequestContext, loaded: Loaded, codec: Codec, body: Body, deadline: float) -> Encoded:
        """Return the encoded prediction. `deadline` is in seconds of `time.monotonic`; the body may name an earlier one."""
        spec = loaded.spec
        decoded = await _decoded_in_thread(codec, body, spec, deadline) if body.is_large else codec.decode(body.take(), spec)
        body.reserve_arrays(nbytes(decoded.inputs))  # of a small body, too: inputs that it leaves out are filled in
        request.decoded(decoded)
        rows = rows_of(decoded.inputs)
        if rows is not None and rows > self.max_rows:
            raise TooManyRowsError(
                f"Expected at most {self.max_rows} rows, but got {rows}; send fewer at once, or raise HEADSERVE_MAX_ROWS.",
                max_rows=self.max_rows,
            )
        request.rows = rows
        if decoded.deadline is not None:
            deadline = min(deadline, decoded.deadline)
        try:
            outputs = await loaded.infer(decoded, deadline, rows)
        except OverloadedError:
            request.queue_full = True
            raise
        request.computed()
        response = InferResponse(spec.name, spec.version, outputs)
        encoded = codec.encode(response) if nbytes(outputs) < LARGE_BYTES else await asyncio.to_thread(codec.encode, response)
        return Encoded(encoded.chunks, [*encoded.headers, (VERSION_HEADER, b"%d" % spec.version)])


def deadline_of(headers: Headers, default_ms: int) -> float:
    """Return the deadline of a request that arrives now, in seconds of `time.monotonic`. Raises RequestError."""
    given = headers.get(_TIMEOUT)
    if given is None:
        return time.monotonic() + default_ms / 1000
    if not (given.isdigit() and len(given) <= 9 and int(given) > 0):
        text = given[:40].decode("latin-1")
        raise RequestError(f"{TIMEOUT_HEADER}: expected a whole number of milliseconds from 1 on, but got {text!r}.")
    return time.monotonic() + int(given) / 1000


async def _decoded_in_thread(codec: Codec, body: Body, spec: ModelSpec, deadline: float) -> InferRequest:
    """Decode a large body in a thread, one body at a time. Raises DeadlineExceededError at the deadline."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await decode_in_thread(lambda: codec.decode(body.take(), spec))
    except TimeoutError:
        raise DeadlineExceededError(
            "Expected a body that is decoded within the request's deadline, but large ones are decoded one after the other; "
            "send fewer rows at once."
        ) from None


async def _compressed(response: Encoded, encodings: bytes) -> Encoded:
    size = response.size
    encoding = preferred_encoding(encodings.decode("latin-1")) if size >= COMPRESS_FROM_BYTES else None
    if encoding is None:
        return response
    body = (
        compressed(response.chunks, encoding)
        if size < LARGE_BYTES
        else await asyncio.to_thread(compressed, response.chunks, encoding)
    )
    headers = [*response.headers, (b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding")]
    return Encoded((body,), headers)
