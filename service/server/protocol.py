"""One HTTP/1.1 connection: uvicorn's protocol with limits on sizes and on the time of slow clients.

No other module uses uvicorn's internals; tests/service/server/test_uvicorn.py lists the names.
"""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable, Sized
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import HeadserveError, RequestError
from service.server.connections import Connections, ConnectionState, Phase
from service.server.rejections import (
    MAX_HEADERS,
    MAX_URL_BYTES,
    SlowRequestError,
    TooManyConnectionsError,
    encode_rejection,
    head_error,
    head_too_large,
    too_many_headers,
    url_too_long,
)
from service.server.write_coalescing import CoalescingTransport

MAX_PARSE_BYTES = 4096
"""Received data is parsed in parts of this size, and parsing pauses while requests wait in the pipeline: 256 KiB, read at once,
can hold ten thousand requests, each of which takes one or two KiB of memory once it is parsed."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""Value of SO_LINGER."""

_NO_DATA = memoryview(b"")
_BODY_HEADERS = (b"content-length", b"transfer-encoding")


class PipelineFlowControl(FlowControl):
    """Flow control that resumes reading only if no request waits in the pipeline."""

    def __init__(self, transport: asyncio.Transport, pipeline: Sized):
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        """Resume reading, unless requests wait."""
        if self.read_paused and not self._pipeline:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """One connection; `on_connected` is called before it is added to the registry.

    `max_header_bytes` limits the URL and headers of a request together; `uvicorn` are the arguments of uvicorn's protocol.
    """

    def __init__(
        self, registry: Connections, max_header_bytes: int, on_connected: Callable[[], None] | None = None, **uvicorn: Any
    ):
        super().__init__(**uvicorn)
        self._registry = registry
        self._max_header_bytes = max_header_bytes
        self._on_connected = on_connected
        self._unparsed = _NO_DATA
        self._head_bytes = 0  # received since the last complete head or part of a body
        self._may_exceed_head_limit = False
        self._head_or_body_received = False  # by the last call of the parser
        self._head_error: HeadserveError | None = None
        self._pending_rejection: HeadserveError | None = None  # to be sent after the responses to earlier requests
        self._resumes_body = False  # the parser is given a copy of a head that was parsed before
        self._ignores_input = False
        self._is_shutting_down = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it, too
        self._writer = CoalescingTransport(transport, self.loop, on_close=self._close)
        super().connection_made(self._writer)  # type: ignore[arg-type] # a transport by its methods
        self.flow = PipelineFlowControl(self.transport, self.pipeline)
        if self._on_connected is not None:
            self._on_connected()
            self._on_connected = None
        if not self._registry.add(self):
            self._reject(TooManyConnectionsError("Too many connections; retry later, or raise HEADSERVE_MAX_CONNECTIONS."))

    def connection_lost(self, exc: Exception | None) -> None:
        self._registry.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # What lies behind waiting requests is parsed later.
        if len(data) <= MAX_PARSE_BYTES and not self._unparsed:
            self._parse(data)
        else:
            self._unparsed = memoryview(bytes(self._unparsed) + data if self._unparsed else data)
            self._continue_parsing()

    def _continue_parsing(self) -> None:
        while self._unparsed and not self.pipeline:
            part, self._unparsed = self._unparsed[:MAX_PARSE_BYTES], self._unparsed[MAX_PARSE_BYTES:]
            self._parse(part)
        if not self._unparsed:
            self._unparsed = _NO_DATA  # an empty view would keep the received data in memory

    def _parse(self, data: bytes | memoryview) -> None:
        if self._ignores_input:
            return
        self._head_or_body_received = False
        self._may_exceed_head_limit = self._head_bytes + len(data) > self._max_header_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline_upgrade(bytes(data[offer.args[0] :]))
        except httptools.HttpParserError as error:
            self._reject(self._head_error or RequestError(f"Expected an HTTP request, but: {str(error)[:200]}."))
        else:
            self._limit_head(len(data))

    def on_message_begin(self) -> None:
        if not self._resumes_body:
            super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the request, unless its head exceeds a limit or is ambiguous."""
        if self._resumes_body:
            self._resumes_body = False
            self.headers = []
            return
        headers, hosts, has_coding = self.headers, 0, False
        for name, _ in headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                has_coding = True
        is_unusual = hosts != 1 or has_coding or self.parser.get_http_version() != "1.1"
        is_large = self._may_exceed_head_limit or len(headers) > MAX_HEADERS or len(self.url) > MAX_URL_BYTES
        if is_unusual or is_large:
            self._head_error = head_error(self.url, headers, self.parser.get_http_version(), self._max_header_bytes)
            if self._head_error is not None:
                raise self._head_error  # the parser stops with an error of its own
        self._head_or_body_received = True
        super().on_headers_complete()
        self.headers = []  # what follows the body are trailers, not headers
        if self._registry.is_draining:
            self.announce_end()

    def on_body(self, body: bytes) -> None:
        self._head_or_body_received = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Start the next request of the pipeline; after the last one, send a pending rejection.

        uvicorn's method starts a timer for idle connections, which `Connections` replaces.
        """
        if self._writer.has_ended:
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            self._continue_parsing()
        elif self._pending_rejection is not None:
            self._send_rejection(self._pending_rejection)
        elif self._is_shutting_down:
            self._close()

    def announce_end(self) -> None:
        """Send `Connection: close` with the response to the last request, or with the next one if that response has begun."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        self._is_shutting_down = True
        self.announce_end()
        if self.cycle is None or self.cycle.response_complete:
            self._close()

    def state(self) -> ConnectionState:
        # The state holds the last request itself, because its address could be reused by the next one.
        is_closing = self._ignores_input and self._pending_rejection is None
        unsent_bytes = self.transport.get_write_buffer_size() + (self._unacknowledged_bytes() if is_closing else 0)
        if unsent_bytes:
            return ConnectionState(Phase.WRITING, sent_bytes=self._writer.written_bytes - unsent_bytes)
        if is_closing:
            return ConnectionState(Phase.CLOSING)
        cycle = self.cycle
        is_last = cycle is not None and cycle.scope is self.scope  # otherwise, the head of the next request has begun
        if cycle is not None and not cycle.response_complete:
            reads_body = cycle.more_body and is_last and not self.pipeline and not self.flow.read_paused
            return ConnectionState(Phase.BODY if reads_body else Phase.RESPONSE, cycle)
        return ConnectionState(Phase.IDLE if is_last else Phase.HEAD, cycle)

    def expire(self, phase: Phase) -> None:
        if phase is Phase.WRITING:
            self._registry.count_rejection("answer_not_taken")
            # With a plain close, the kernel would keep the response, and retransmit it for a quarter of an hour.
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.transport.abort()
        elif phase is Phase.CLOSING:
            self.transport.abort()
        elif phase is Phase.IDLE or self.scope is None:
            self._close()
        else:
            self._reject(SlowRequestError(f"The {phase.value} of the request took too long to arrive."))

    def _close(self) -> None:
        """Close the sending side after the buffered responses; `Connections` ends the rest after a moment.

        After a full close, a request that is under way would be answered with a reset, which discards responses.
        """
        if not self._writer.has_ended:
            self._ignores_input = True
            self._pending_rejection = None
            self._writer.end()

    def _unacknowledged_bytes(self) -> int:
        """Number of sent bytes that the client's system has not acknowledged: a close could discard them."""
        unacknowledged = bytearray(struct.calcsize("i"))
        try:
            fcntl.ioctl(self.transport.get_extra_info("socket"), termios.TIOCOUTQ, unacknowledged)
        except (OSError, ValueError):  # only Linux tells; and the socket may have been closed
            return 0
        return int.from_bytes(unacknowledged, sys.byteorder)

    def _limit_head(self, received_bytes: int) -> None:
        """Reject a head without an end, and what is received in place of a body: trailers, chunk extensions."""
        cycle = self.cycle
        is_between_requests = cycle is not None and cycle.scope is self.scope and not cycle.more_body
        if is_between_requests or self._head_or_body_received:
            self._head_bytes = 0
            return
        self._head_bytes += received_bytes
        if self._head_bytes > self._max_header_bytes:
            in_url = not self.headers and self.url is not None and len(self.url) > MAX_URL_BYTES
            self._reject(url_too_long() if in_url else head_too_large(self._max_header_bytes))
        elif len(self.headers) > MAX_HEADERS:  # at once: the shortest headers take forty times their size in memory
            self._reject(too_many_headers())

    def _decline_upgrade(self, rest: bytes) -> None:
        """Continue in HTTP/1.1 after a request that offers another protocol, as Java's client does with HTTP/2.

        The parser stops after such a head, and would parse the body as the next request. A new parser gets the body's length
        first.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        length = b"".join(b"%s: %s\r\n" % (name, value) for name, value in self.scope["headers"] if name in _BODY_HEADERS)
        if length:
            self._resumes_body = self.cycle.more_body = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % length)
        self._head_bytes = 0
        if rest:
            self._parse(rest)

    def _reject(self, error: HeadserveError) -> None:
        """End the connection with this error, after the responses to earlier requests."""
        self._ignores_input = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.scope is not self.scope:  # a complete request, whose response is being computed
                self._pending_rejection = error
                return
            if self.pipeline:  # the rejected request waits behind others
                self.pipeline.popleft()
                self._pending_rejection = error
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        self._send_rejection(error)

    def _send_rejection(self, error: HeadserveError) -> None:
        self._pending_rejection = None
        if self._writer.has_ended:
            return
        if not self._registry.reject(self, error.code):
            self.transport.abort()
            return
        self.flow.resume_reading()
        self.transport.write(encode_rejection(error, self.server_state.default_headers))
        self._writer.end()
