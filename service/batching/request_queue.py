"""The requests that wait to be run: one queue for each batch key. The caller holds the batcher's lock."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from service.types import Array, Output

Outputs: TypeAlias = tuple[Output, ...]
Answer: TypeAlias = Mapping[Output, Array]


@dataclass(eq=False, slots=True)
class QueuedRequest:
    """A request, or one part of a request that is larger than a batch.

    Attributes:
        inputs: its arrays.
        outputs: what to compute.
        rows: number of rows.
        batch_key: equal for requests that can share a run; None for a request that runs alone.
        future: receives the answer.
        arrived_s: time of arrival on the batcher's clock.
        deadline_s: the latest time for the answer on the same clock.
        is_part: whether it is a part of a larger request.
        queued: whether it is still in the queue.
        trace: reserved for the tracer.
    """

    inputs: Mapping[str, Array]
    outputs: Outputs
    rows: int
    batch_key: Any
    future: asyncio.Future[Answer]
    arrived_s: float
    deadline_s: float = math.inf
    is_part: bool = False
    queued: bool = True
    trace: Any = None

    def awaited(self, now_s: float) -> bool:
        """Return whether somebody waits for the answer: it was neither given nor cancelled, and is not too late."""
        return not self.future.done() and now_s < self.deadline_s


class BatchTracer(Protocol):
    """Interface that a batcher calls to trace its requests and runs."""

    def queued(self, requests: Sequence[QueuedRequest]) -> None:
        """Record that the requests enter the queue; called in the context of the request that they belong to."""

    def run(self, batch: Sequence[QueuedRequest]) -> AbstractContextManager[None]:
        """Return a context manager for the run that computes the batch."""


class RequestQueue:
    """Requests in order of arrival, by batch key.

    Args:
        max_batch_rows: rows of a full batch.
        timeout_s: how long the oldest request of a batch waits for others.
        clock: returns the current time in seconds.
    """

    def __init__(self, max_batch_rows: int, timeout_s: float, clock: Callable[[], float] = time.monotonic):
        self.rows = 0
        """Number of rows in the queue."""
        self._max_batch_rows = max_batch_rows
        self.timeout_s = timeout_s
        """How long the oldest request of a batch waits for others."""
        self._clock = clock
        self._by_key: dict[Any, deque[QueuedRequest]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def __iter__(self) -> Iterator[QueuedRequest]:
        return (request for waiting in self._by_key.values() for request in waiting)

    def put(self, request: QueuedRequest) -> None:
        """Append the request."""
        self._by_key.setdefault(_key(request), deque()).append(request)
        self.rows += request.rows

    def remove(self, request: QueuedRequest) -> None:
        """Remove the request from any position."""
        waiting = self._by_key[_key(request)]
        waiting.remove(request)
        if not waiting:
            del self._by_key[_key(request)]
        request.queued = False
        self.rows -= request.rows

    def due(self, flush: bool) -> tuple[deque[QueuedRequest] | None, float | None]:
        """Return the requests of the batch key to run next, or None with the seconds until there is one.

        Requests are due if they fill a batch, run alone, or if the oldest has waited for the timeout. Of several batch keys,
        the one with the oldest request comes first.

        Args:
            flush: whether everything is due.

        Returns:
            The requests and None; or None and the seconds to wait, which are None if the queue is empty.
        """
        if not self._by_key:
            return None, None
        if not self.timeout_s or flush:
            return min(self._by_key.values(), key=_arrival), None
        oldest_first = sorted(self._by_key.values(), key=_arrival)
        now_s = self._clock()
        for waiting in oldest_first:
            full = sum(request.rows for request in waiting) >= self._max_batch_rows
            if full or waiting[0].batch_key is None or waiting[0].arrived_s + self.timeout_s <= now_s:
                return waiting, None
        return None, oldest_first[0][0].arrived_s + self.timeout_s - now_s


def _key(request: QueuedRequest) -> Any:
    return request if request.batch_key is None else request.batch_key


def _arrival(waiting: deque[QueuedRequest]) -> float:
    return waiting[0].arrived_s
