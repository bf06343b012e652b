"""The head and body of a response in one write: one system call and, for a small response, one packet instead of two.

uvicorn writes the head as soon as it is complete, and the body a moment later.
"""

import asyncio
from collections.abc import Callable
from typing import Any


class CoalescingTransport:
    """A transport that holds the head of a response until the next write, at most until the end of the event loop's turn.

    uvicorn calls `close` after the last response of a connection. That calls `on_close`, which decides how the connection ends.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, on_close: Callable[[], None]):
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        self._end_written = False
        self.close = on_close
        self.written_bytes = 0
        # Called for every request, therefore without `__getattr__`.
        self.is_closing = transport.is_closing
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes | memoryview) -> None:
        """Write the data, or hold it if it may be a head alone. Does nothing once the connection is closing."""
        if self.has_ended:
            return
        self.written_bytes += len(data)
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines((head, data))
        elif data[-4:] == b"\r\n\r\n":
            self._head = bytes(data)
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Write the held head."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)

    def end(self) -> None:
        """Close the sending side after the held head; with TLS, which has an end of its own, the connection."""
        self.flush()
        self._end_written = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more can be sent."""
        return self._end_written or self.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
