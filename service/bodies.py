"""HTTP bodies: their limits, content encodings, decoding of large bodies in a thread, and cancelling on a disconnect."""

import asyncio
import gc
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from service.errors import BodyTooLargeError, HeadserveError, OverloadedError, RequestError, UnsupportedEncodingError
from service.types import Headers, Message, Receive

T = TypeVar("T")

LARGE_BYTES = 1 << 16
"""From this size on, data are decoded and encoded in a thread, not in the event loop."""

WATCH_AFTER_S = 0.05
"""Delay before a task waits for the disconnect: most requests end sooner, and the task costs more than they do."""

ENCODINGS = ("gzip", "deflate")
LEVEL = 1
"""zlib's fastest level: slower levels take longer than the network needs for the bytes that they save."""

MAX_MEMBERS = 10_000
"""Limit of the members of a gzip body: an empty member has 20 bytes, and takes as long to read as a large one."""

_CHUNK_BYTES = 64 * 2**10
"""Input size of one call of zlib, which copies the input behind the end of a member."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

_decoder = ThreadPoolExecutor(1, "decode")
"""One thread, because 32 KiB can be 32 MiB once decompressed, and a gigabyte as Python objects. More threads would not be
faster: the JSON parser holds the interpreter lock."""


class ClientDisconnect(Exception):  # noqa: N818 - Starlette's name
    """The client closed the connection before the response."""


@dataclass(eq=False)
class Bodies:
    """Limits of a server's request bodies, and the memory reserved for them now. For use in the event loop only.

    Args:
        max_bytes: limit of a body, before and after decompression.
        max_total_bytes: limit of all requests at a time. Sizes below `LARGE_BYTES` are not counted, so that large requests do
            not displace small ones.
    """

    max_bytes: int
    max_total_bytes: int
    total_bytes: int = field(default=0, init=False)


class Body:
    """The body of one request, and the memory reserved for this request until `release`."""

    __slots__ = ("_bodies", "_data", "_decompressed_bytes", "_encoding", "_reserved_bytes")

    def __init__(self, bodies: Bodies):
        self._bodies = bodies
        self._reserved_bytes = self._decompressed_bytes = 0
        self._data = b""
        self._encoding: bytes | None = None

    async def read(self, receive: Receive, headers: Headers) -> None:
        """Receive the whole body, compressed or not. Raises BodyTooLargeError, OverloadedError, ClientDisconnect."""
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._bodies.max_bytes:
            raise _too_large(self._bodies.max_bytes, f"{int(length)} bytes")
        message = await receive()
        self._data = _chunk(message)
        self.reserve(len(self._data))
        if message.get("more_body"):
            chunks = bytearray(self._data)
            while message.get("more_body") and len(chunks) <= self._bodies.max_bytes:
                message = await receive()
                chunks += _chunk(message)
                self.reserve(len(chunks))
            self._data = bytes(chunks)
        if len(self._data) > self._bodies.max_bytes:
            raise _too_large(self._bodies.max_bytes, "more")
        self._encoding = headers.get(b"content-encoding")

    @property
    def is_large(self) -> bool:
        """Whether to decode the body in a thread; true for compressed bodies, whose size is unknown."""
        return self._encoding is not None or len(self._data) >= LARGE_BYTES

    def take(self) -> bytes:
        """Return the decompressed body and drop it, so that a queued request keeps none. Raises RequestError."""
        data, self._data = self._data, b""
        if self._encoding is not None:
            data = decompressed(data, self._encoding.decode("latin-1"), self._bodies.max_bytes)
        self._decompressed_bytes = len(data)
        return data

    def reserve_arrays(self, array_bytes: int) -> None:
        """Reserve the size of the arrays, or of the text if it is larger: strings are pointers. Raises OverloadedError."""
        self.reserve(max(array_bytes, self._decompressed_bytes))

    def reserve(self, size_bytes: int) -> None:
        """Set the memory reserved for this request. Raises OverloadedError if all requests together exceed the limit."""
        counted = size_bytes if size_bytes >= LARGE_BYTES else 0
        bodies = self._bodies
        total = bodies.total_bytes + counted - self._reserved_bytes
        if total > bodies.max_total_bytes:
            raise OverloadedError(
                f"Expected large requests to take at most {bodies.max_total_bytes} bytes together, but they take "
                f"{bodies.total_bytes} now, and this one needs {counted}; retry later, send less than {LARGE_BYTES} bytes at "
                "once, or raise HEADSERVE_MAX_TOTAL_REQUEST_BYTES."
            )
        bodies.total_bytes, self._reserved_bytes = total, counted

    def release(self) -> None:
        """Free the reserved memory, and drop a body that still waits for the decoding thread. Call it when the request ends."""
        self._data = b""
        self.reserve(0)


def _too_large(limit: int, received: str) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"Expected a body of at most {limit} bytes, but got {received}; send fewer rows at once, "
        "or raise HEADSERVE_MAX_BODY_BYTES.",
        max_body_bytes=limit,
    )


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    return body


async def decode_in_thread(work: Callable[[], T]) -> T:
    """Return the result of `work`, which decodes a body; one call runs at a time."""
    return await asyncio.get_running_loop().run_in_executor(_decoder, _decode, work)


def _decode(work: Callable[[], T]) -> T:
    was_enabled = gc.isenabled()
    # JSON has no cycles: searching ten million new objects for them takes three times as long as parsing.
    gc.disable()
    try:
        return work()
    except HeadserveError as error:
        # The frames of the traceback would keep the decoded objects until the response is sent.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        raise
    finally:
        if was_enabled:
            gc.enable()


class WhileConnected:
    """Cancels its block when the client disconnects after the whole body was received, and then raises ClientDisconnect."""

    __slots__ = ("_disconnected", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive):
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._disconnected = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._start)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if kind is asyncio.CancelledError and self._disconnected and self._task is not None and not self._task.uncancel():
            raise ClientDisconnect from None

    def _start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._disconnected = True
        if self._task is not None:
            self._task.cancel()


def decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return the decompressed body; `encoding` is the value of `Content-Encoding`, or empty. Raises RequestError."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name.removeprefix("x-") not in ENCODINGS:
        raise UnsupportedEncodingError(
            f"Content-Encoding: expected one of gzip, deflate and identity, but got {name[:40]!r}.", expected=ENCODINGS
        )
    result = bytearray()
    position = members = 0
    try:
        while position < len(body):  # a gzip body may have several members
            members += 1
            if members > MAX_MEMBERS:
                raise RequestError(f"Content-Encoding is {name}: expected at most {MAX_MEMBERS} members in the body.")
            position = _decompress_member(body, position, name, max_bytes, result)
    except zlib.error as error:
        raise RequestError(f"Content-Encoding is {name}, but the body is not: {error}.") from None
    return bytes(result)


def _decompress_member(body: bytes, position: int, name: str, max_bytes: int, result: bytearray) -> int:
    """Append the gzip member at `position` to the result. Returns the position behind the member."""
    reader = zlib.decompressobj(_GZIP_OR_ZLIB)
    while not reader.eof:
        chunk = body[position : position + _CHUNK_BYTES]
        if not chunk:
            raise RequestError(f"Content-Encoding is {name}, but the body ends in the middle.")
        result += reader.decompress(chunk, max_bytes + 1 - len(result))
        if len(result) > max_bytes:
            raise _too_large(max_bytes, "more once it was decompressed")
        position += len(chunk) - len(reader.unused_data) - len(reader.unconsumed_tail)
    return position


def preferred_encoding(header: str) -> str | None:
    """Return the encoding with the largest weight in an `Accept-Encoding` header, or None."""
    weights = {}
    for part in header.lower().split(","):
        name, _, parameter = part.strip().partition(";")
        try:
            weights[name.strip()] = float(parameter.partition("=")[2]) if parameter else 1.0
        except ValueError:
            continue
    return max((name for name in ENCODINGS if weights.get(name, 0) > 0), key=lambda name: weights[name], default=None)


def compressed(chunks: Sequence[bytes | memoryview], encoding: str) -> bytes:
    """Return the chunks as one compressed body."""
    writer = zlib.compressobj(LEVEL, zlib.DEFLATED, _WBITS[encoding])
    return b"".join([*map(writer.compress, chunks), writer.flush()])
