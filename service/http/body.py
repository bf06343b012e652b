"""A request's body as bytes, whatever its content type says, decompressed, up to a limit."""

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from service.api import Headers
from service.aside import LARGE_BYTES
from service.errors import BodyTooLargeError
from service.http.content_encoding import decompressed


class Body:
    """What has come, compressed or not. It is given away once: a request that waits to be computed keeps no body in memory."""

    __slots__ = ("_data", "_encoding", "_max_bytes")

    def __init__(self, data: bytes, encoding: bytes | None, max_bytes: int):
        self._data = data
        self._encoding = encoding
        self._max_bytes = max_bytes

    @property
    def is_large(self) -> bool:
        """Whether to read it aside: nobody knows how much there is in what is compressed."""
        return self._encoding is not None or len(self._data) >= LARGE_BYTES

    def take(self) -> bytes:
        """The body, decompressed.

        Raises:
            BodyTooLargeError: it is, once it is decompressed.
            UnsupportedEncodingError, RequestError: it cannot be decompressed.
        """
        data, self._data = self._data, b""
        return data if self._encoding is None else decompressed(data, self._encoding.decode("latin-1"), self._max_bytes)


async def read_body(receive: Receive, headers: Headers, max_body_bytes: int) -> Body:
    """The body.

    Raises:
        BodyTooLargeError: as soon as it is known: by Content-Length, or while it streams in.
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
    return Body(body, headers.get(b"content-encoding"), max_body_bytes)


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
