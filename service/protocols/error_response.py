"""Error responses in the form of the request's protocol."""

import structlog

from service.bodies import LARGE_BYTES
from service.errors import BodyTooLargeError, HeadserveError, RequestError
from service.protocols.protocol import ServingProtocol
from service.types import Encoded, Send

NOSNIFF = (b"x-content-type-options", b"nosniff")
"""Keeps browsers from reading a quoted request as HTML."""

log = structlog.get_logger("headserve.app")


def unexpected() -> HeadserveError:
    """Return the error that a client receives for a fault of the server; the log has the traceback."""
    return HeadserveError("An unexpected error; the server's log says more.")


def error_response(error: HeadserveError, protocol: ServingProtocol, path: str) -> tuple[int, Encoded]:
    """Return the status and the response for an error; log it unless the client caused it."""
    if error.status >= 500 and not isinstance(error, RequestError):
        log.error("request failed", path=path, code=error.code, error=error.message)
    status, problem = protocol.problem(error)
    headers = [*problem.headers, *error.headers, NOSNIFF]
    if isinstance(error, BodyTooLargeError):  # the rest of the body must not be read as the next request
        headers.append((b"connection", b"close"))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    return status, Encoded(problem.chunks, headers)


async def send_response(status: int, response: Encoded, send: Send) -> None:
    """Send a response through ASGI; return once the client has received most of a large one."""
    size = response.size
    headers = [(b"content-length", b"%d" % size), *response.headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    # Each send waits until the client has received nearly all before it; the empty chunk waits for the last piece.
    *first, last = response.chunks if size < LARGE_BYTES else (*response.chunks, b"")
    for chunk in first:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": last})
