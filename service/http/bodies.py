"""Requests' bodies as bytes, whatever their content type says; each has a limit, and what all take together has one."""

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from service.api import Headers
from service.aside import LARGE_BYTES
from service.errors import BodyTooLargeError, OverloadedError
from service.http.content_encoding import decompressed


class Body:
    """What has come, compressed or not. It is given away once: a request that waits to be computed keeps no body in memory.

    Args:
        data: what has come.
        encoding: the header Content-Encoding.
        counted: what it counts of `bodies`.
        bodies: those that it has its place among, until it is `release`d.
    """

    __slots__ = ("_bodies", "_counted", "_data", "_encoding", "_size")

    def __init__(self, data: bytes, encoding: bytes | None, counted: int, bodies: "Bodies"):
        self._data = data
        self._encoding = encoding
        self._counted = counted
        self._bodies = bodies
        self._size = 0

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
        if self._encoding is not None:
            data = decompressed(data, self._encoding.decode("latin-1"), self._bodies.max_bytes)
        self._size = len(data)
        return data

    def becomes(self, size: int) -> None:
        """Arrays of so many bytes are there instead; of strings, they know the pointers only, and the text has the rest.

        Raises:
            OverloadedError: the others leave them no place.
        """
        self._counted = self._bodies.grown(self._counted, max(size, self._size))

    def release(self) -> None:
        """The request is answered."""
        if self._counted:
            self._bodies.grown(self._counted, 0)


class Bodies:
    """The bodies of a server's requests; lives in its event loop.

    Args:
        max_bytes: of one, compressed and not.
        max_total_bytes: of all that are there at a time; what is below `LARGE_BYTES` is not counted, so that large ones keep no
            small one out.
    """

    def __init__(self, max_bytes: int, max_total_bytes: int):
        self.max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._total_bytes = 0

    async def read(self, receive: Receive, headers: Headers) -> Body:
        """The body.

        Raises:
            BodyTooLargeError: as soon as it is known: by Content-Length, or while it streams in.
            OverloadedError: the others leave it no place.
            ClientDisconnect: the client hung up while it sent.
        """
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self.max_bytes:
            raise self._too_large(f"{int(length)} bytes")
        message = await receive()
        data = _chunk(message)
        counted = self.grown(0, len(data)) if len(data) >= LARGE_BYTES else 0
        if message.get("more_body"):
            chunks = bytearray(data)
            try:
                while message.get("more_body") and len(chunks) <= self.max_bytes:
                    message = await receive()
                    chunks += _chunk(message)
                    counted = self.grown(counted, len(chunks))
            except BaseException:
                self.grown(counted, 0)
                raise
            data = bytes(chunks)
        if len(data) > self.max_bytes:
            self.grown(counted, 0)
            raise self._too_large("more")
        return Body(data, headers.get(b"content-encoding"), counted, self)

    def grown(self, counted: int, size: int) -> int:
        """What counts of something that takes so many bytes now, and has counted so many before. Raises OverloadedError."""
        counts = size if size >= LARGE_BYTES else 0
        total = self._total_bytes + counts - counted
        if counts > counted and total > self._max_total_bytes:
            raise OverloadedError(
                f"Large requests take {self._total_bytes} bytes at the moment, and at most {self._max_total_bytes} may; try "
                f"again later, send less than {LARGE_BYTES} bytes at once, or raise HEADSERVE_MAX_TOTAL_BODY_BYTES."
            )
        self._total_bytes = total
        return counts

    def _too_large(self, came: str) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"Expected a body of at most {self.max_bytes} bytes, but got {came}; send fewer rows at once, "
            "or raise HEADSERVE_MAX_BODY_BYTES.",
            max_body_bytes=self.max_bytes,
        )


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    return body
