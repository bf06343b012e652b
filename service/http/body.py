"""A request's body as bytes, whatever its content type says, decompressed, up to a limit."""

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from service.api import Headers
from service.errors import BodyTooLargeError
from service.http.content_encoding import decompressed


async def read_body(receive: Receive, headers: Headers, max_body_bytes: int) -> bytes:
    """The body.

    Raises:
        BodyTooLargeError: as soon as it is known: by Content-Length, while it streams in, or while it is decompressed.
        UnsupportedEncodingError, RequestError: it cannot be decompressed.
        ClientDisconnect: the client hung up while it sent.
    """
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > max_body_bytes:
        raise _too_large(max_body_bytes, f"{int(length)} bytes")
    message = await receive()
    body = _chunk(message)
    if message.get("more_body"):
        chunks = bytearray(body)
        while message.get("more_body") and len(chunks) <= max_body_bytes:
            message = await receive()
            chunks += _chunk(message)
        body = bytes(chunks)
    if len(body) > max_body_bytes:
        raise _too_large(max_body_bytes, "more")
    encoding = headers.get(b"content-encoding")
    if encoding is None:
        return body
    return await asyncio.to_thread(decompressed, body, encoding.decode("latin-1"), max_body_bytes)


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    return body


def _too_large(max_body_bytes: int, came: str) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"Expected a body of at most {max_body_bytes} bytes, but got {came}; send fewer rows at once, "
        "or raise HEADSERVE_MAX_BODY_BYTES.",
        max_body_bytes=max_body_bytes,
    )
