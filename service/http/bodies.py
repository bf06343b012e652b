"""Requests' bodies as bytes, whatever their content type says, decompressed; each has a limit, and all have one together."""

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from service.api import Headers
from service.errors import BodyTooLargeError, OverloadedError
from service.http.content_encoding import decompressed

SMALL_BYTES = 64 * 2**10
"""Up to this size they are not counted, so that nobody keeps them out with large ones. A connection has one of them at most."""


class Bodies:
    """The bodies of a server's requests; lives in its event loop.

    Args:
        max_bytes: of one, compressed and not.
        max_total_bytes: of all that are there at a time, small ones left out.
    """

    def __init__(self, max_bytes: int, max_total_bytes: int):
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._total_bytes = 0

    async def read(self, receive: Receive, headers: Headers) -> bytes:
        """The body, which has its place until it is `release`d.

        Raises:
            BodyTooLargeError: as soon as it is known: by Content-Length, while it streams in, or while it is decompressed.
            OverloadedError: the others leave it no place.
            UnsupportedEncodingError, RequestError: it cannot be decompressed.
            ClientDisconnect: the client hung up while it sent.
        """
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_bytes:
            raise self._too_large(f"{int(length)} bytes")
        message = await receive()
        body = _chunk(message)
        encoding = headers.get(b"content-encoding")
        if encoding is None and not message.get("more_body") and len(body) <= min(SMALL_BYTES, self._max_bytes):
            return body
        counted = 0
        try:
            chunks = bytearray(body)
            counted = self._grown(counted, len(chunks))
            while message.get("more_body"):
                message = await receive()
                chunks += _chunk(message)
                counted = self._grown(counted, len(chunks))
            body = bytes(chunks)
            del chunks
            if encoding is not None:
                body = await asyncio.to_thread(decompressed, body, encoding.decode("latin-1"), self._max_bytes)
                counted = self._grown(counted, len(body))
        except BaseException:
            self._total_bytes -= counted
            raise
        return body

    def release(self, body: bytes) -> None:
        """The body's place is free."""
        self._total_bytes -= _counted(len(body))

    def _grown(self, counted: int, size: int) -> int:
        """What of a body counts now that it has this size."""
        if size > self._max_bytes:
            raise self._too_large("more")
        more = _counted(size) - counted
        if more > 0 and self._total_bytes + more > self._max_total_bytes:
            raise OverloadedError(
                f"Large requests take {self._total_bytes} bytes at the moment, and at most {self._max_total_bytes} may; try "
                f"again later, send at most {SMALL_BYTES} bytes at once, or raise HEADSERVE_MAX_TOTAL_BODY_BYTES."
            )
        self._total_bytes += more
        return counted + more

    def _too_large(self, came: str) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"Expected a body of at most {self._max_bytes} bytes, but got {came}; send fewer rows at once, "
            "or raise HEADSERVE_MAX_BODY_BYTES.",
            max_body_bytes=self._max_bytes,
        )


def _counted(size: int) -> int:
    return size if size > SMALL_BYTES else 0


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    return body
