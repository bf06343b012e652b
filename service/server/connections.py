"""All connections of a server: a limit on their number, and timeouts for slow clients.

There is no timer for each request. A periodic check compares the state of every connection with its state at the check before;
requests between two checks cost nothing.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import NamedTuple, Protocol

import structlog

from service.counters import Rejections
from service.settings import Settings

LINGER_S = 1.0
"""How long a client may keep its side open after the server has closed its own: with an immediate close, the kernel could
discard the last response."""

MAX_LINGERING = 256
MIN_SEND_BYTES_S = 1024
"""Minimum rate of a response over `write_timeout_ms`: slower than any network, and too fast to hold responses for days."""

CHECKS_PER_TIMEOUT = 5
MAX_CHECK_INTERVAL_S = 1.0

log = structlog.get_logger("headserve.server")


class Phase(Enum):
    """What a connection waits for."""

    HEAD = "head"
    BODY = "body"
    RESPONSE = "response"  # from the application
    WRITING = "writing"  # until the kernel accepts the rest of a response
    IDLE = "idle"  # for the next request
    CLOSING = "closing"  # until the client closes its side


class ConnectionState(NamedTuple):
    """A snapshot of a connection: its phase, its last request, and the number of bytes that the kernel has accepted."""

    phase: Phase
    request: object = None
    sent_bytes: int = 0

    def has_advanced(self, before: "ConnectionState", min_bytes: int) -> bool:
        """Whether phase or request are different, or at least `min_bytes` were sent."""
        return self[:2] != before[:2] or self.sent_bytes - before.sent_bytes >= min_bytes


class Connection(Protocol):
    """A member of `Connections`."""

    def state(self) -> ConnectionState:
        """Return the current state."""

    def expire(self, phase: Phase) -> None:
        """End the connection: the timeout of this phase is over."""

    def announce_end(self) -> None:
        """Make the next response the last one, with `Connection: close`."""

    def shutdown(self) -> None:
        """Close the connection after the running requests."""


class Connections:
    """The open connections of one server. For use in its event loop only."""

    def __init__(self, settings: Settings, rejections: Rejections, clock_s: Callable[[], float] = time.monotonic):
        self._rejections = rejections
        self._clock_s = clock_s
        self._max_connections = settings.max_connections
        self._timeouts_s = {
            Phase.HEAD: settings.header_timeout_ms / 1000,
            Phase.BODY: settings.body_timeout_ms / 1000,
            Phase.WRITING: settings.write_timeout_ms / 1000,
            Phase.IDLE: settings.idle_timeout_ms / 1000,
            Phase.CLOSING: LINGER_S,
        }
        self._min_bytes = max(1, MIN_SEND_BYTES_S * settings.write_timeout_ms // 1000)
        self._interval_s = min(MAX_CHECK_INTERVAL_S, min(self._timeouts_s.values()) / CHECKS_PER_TIMEOUT)
        self._running_s = self._last_s = 0.0
        self._states: dict[Connection, tuple[ConnectionState, float]] = {}
        self._lingering: set[Connection] = set()
        self._rejected: Counter[str] = Counter()
        self._check_is_due = False
        self.is_draining = False

    def add(self, connection: Connection) -> bool:
        """Add a new connection. Returns False if it is one too many; the caller then rejects it."""
        is_free = len(self._states) - len(self._lingering) < self._max_connections
        self._states[connection] = (ConnectionState(Phase.HEAD), self._now_s())
        self._check_later()
        return is_free

    def remove(self, connection: Connection) -> None:
        """Remove a closed connection."""
        self._states.pop(connection, None)
        self._lingering.discard(connection)

    def reject(self, connection: Connection, reason: str) -> bool:
        """Count a rejected connection. Returns whether it may stay open for `LINGER_S`, so that the client reads the error."""
        self.count_rejection(reason)
        if len(self._lingering) >= MAX_LINGERING:
            return False
        self._lingering.add(connection)
        return True

    def count_rejection(self, reason: str) -> None:
        """Count a connection that is rejected or cut."""
        self._rejected[reason] += 1
        self._rejections.connections[reason] += 1

    def announce_end(self) -> None:
        """Make the next response of every connection, open or new, its last one."""
        self.is_draining = True
        for connection in list(self._states):
            connection.announce_end()

    def shutdown(self) -> None:
        """Close every connection after its running requests."""
        for connection in list(self._states):
            connection.shutdown()

    def check(self) -> None:
        """Expire the connections that made no progress within the timeout of their phase."""
        now_s = self._now_s()
        for connection in list(self._states):
            try:
                self._check_one(connection, now_s)
            except Exception:  # one faulty connection must not protect the others
                log.exception("checking a connection failed")
        if self._rejected:  # one line for all of them: an attack must not fill the disk
            log.warning("connections refused", connections=len(self._states), **self._rejected)
            self._rejected.clear()

    def _check_one(self, connection: Connection, now_s: float) -> None:
        before, since_s = self._states[connection]
        state = connection.state()
        if state.has_advanced(before, self._min_bytes):
            self._states[connection] = (state, now_s)
        elif now_s - since_s >= self._timeouts_s.get(state.phase, inf):
            connection.expire(state.phase)

    def _now_s(self) -> float:
        """Time of a clock that stops while the event loop is blocked, because data sent meanwhile are not read yet."""
        now_s = self._clock_s()
        self._running_s += min(now_s - self._last_s, 2 * self._interval_s)
        self._last_s = now_s
        return self._running_s

    def _check_later(self) -> None:
        if not self._check_is_due:
            self._check_is_due = True
            asyncio.get_running_loop().call_later(self._interval_s, self._check_and_repeat)

    def _check_and_repeat(self) -> None:
        self._check_is_due = False
        self.check()
        if self._states:
            self._check_later()
