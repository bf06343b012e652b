"""Batches concurrent requests: queues them, runs them in threads, and returns the answers to the event loop.

    event loop: submit ──→ request queue ──→ thread: cut, stack, run, split ──→ event loop

An idle replica runs the waiting requests immediately; while it computes, the next batch grows. Additional threads of a replica
help when a run takes long. The threads are those of `Workers`, which all models share. Request queue and slots are the only
shared state; one lock protects them.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import structlog

from service.batching.batch import (
    Answers,
    BatchRunner,
    OnBatch,
    Run,
    Share,
    UnsplittableError,
    cut,
    joined,
    never_share,
    parts,
    rows_of,
    shape_key,
)
from service.batching.delivery import deadline_exceeded, deliver, expire
from service.batching.request_queue import Answer, BatchTracer, Outputs, QueuedRequest, RequestQueue
from service.batching.slots import Slot, Slots
from service.batching.workers import SHARED, Release, Workers
from service.errors import OverloadedError, UnloadingError
from service.models.options import BatchingOptions
from service.types import Array

MAX_TURNS = 8
"""Maximum number of turns of the event loop to wait for requests that are just arriving, before the first of them is run."""

LONG_RUN_S = 0.002
"""Duration of a run after which a second thread of the replica starts to help."""

RETRY_START_S = 0.1
"""Time after which a thread is started again that the system has refused."""

CLOSE_POLL_S = 0.05
"""Time between two checks, while a batcher closes, whether any request is still awaited."""

log = structlog.get_logger("headserve.batching")


class Batcher:
    """Runs requests in batches on one or more replicas, in up to `threads` threads at a time on each.

    Args:
        name: the model's name, for messages.
        runs: the function that computes a batch, for each replica.
        options: batch sizes and limits of the queue.
        threads: runs at the same time on each replica.
        share: selects the outputs of a run of requests with different outputs.
        on_batch: called after each run.
        tracer: records requests and runs.
        clock: returns the current time in seconds; deadlines are on this clock.
        workers: the threads.
    """

    def __init__(
        self,
        name: str,
        runs: Sequence[Run],
        options: BatchingOptions,
        *,
        threads: int = 1,
        share: Share = never_share,
        on_batch: OnBatch | None = None,
        tracer: BatchTracer | None = None,
        clock: Callable[[], float] = time.monotonic,
        workers: Workers = SHARED,
    ):
        self._name = name
        self._options = options
        self._share = share
        self._tracer = tracer
        self._clock = clock
        self._runner = BatchRunner(name, options.allowed_batch_sizes, on_batch, tracer, clock)
        self._max_waiting_rows = options.max_enqueued_batches * options.max_batch_size
        self._workers = workers
        self._slots = Slots(runs, threads)
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)  # of a run, while the batcher closes
        self._queue = RequestQueue(options.max_batch_size, options.batch_timeout_micros / 1e6, clock)
        self._closing = False
        self._failure = ""
        # A loop is set here while it has such a call scheduled, so that it has one at a time.
        self._wakes: asyncio.AbstractEventLoop | None = None
        self._wakes_helper: asyncio.AbstractEventLoop | None = None
        self._wakes_when_due: asyncio.AbstractEventLoop | None = None
        self._turns = 0
        self._rows_last_turn = 0
        self._rows_last_batch = 1

    def close(self) -> int:
        """Refuse new requests, and finish the earlier ones. Blocks until then.

        Runs whose requests were cancelled, or are past their deadline, are not waited for: they may never return.

        Returns:
            The number of such runs.
        """
        with self._lock:
            self._closing = True
        self._start_waiting()
        with self._lock:
            while self._is_awaited():
                self._ended.wait(CLOSE_POLL_S)
            return self._slots.clear()

    def fail(self, reason: str) -> None:
        """Refuse new requests and those in the queue with UnloadingError."""
        with self._lock:
            self._closing, self._failure = True, f": {reason}"
            waiting = list(self._queue)
            for request in waiting:
                self._queue.remove(request)
        self._deliver([(request, self._unloading()) for request in waiting])

    def replace_overdue(self) -> int:
        """Replace the threads of runs that nobody has waited for in a long time. Returns how many were found.

        Call it from time to time: it notes since when nobody waits for a run.
        """
        with self._lock:
            overdue = self._slots.replace_overdue(self._clock())
        for _ in range(overdue):
            self._start_waiting()
        return overdue

    @property
    def lost_runs(self) -> int:
        """Number of runs whose threads were replaced, and which have not returned yet."""
        return self._slots.lost

    @property
    def max_lost_runs(self) -> int:
        """Number of lost runs up to which the model can be served."""
        return self._slots.max_lost

    @property
    def waiting_rows(self) -> int:
        """Number of rows in the queue."""
        return self._queue.rows

    async def submit(
        self,
        inputs: Mapping[str, Array],
        outputs: Outputs,
        deadline: float | None = None,
        *,
        rows: int | None = None,
        alone: bool = False,
    ) -> Answer:
        """Return the outputs for these inputs.

        Args:
            inputs: arrays whose first dimension is the rows.
            outputs: what to compute.
            deadline: the latest time for the answer, on the batcher's clock.
            rows: the number of rows; counted if it is not given.
            alone: whether the request shares no run, because its rows cannot be found in the outputs.

        Raises:
            OverloadedError: the queue is full; raised immediately.
            DeadlineExceededError: at the deadline, whether the request waits or runs.
            UnloadingError: after `close` or `fail`.
            HeadserveError: what the run raises for this request.
        """
        requests = self._requests(inputs, outputs, rows, alone, deadline)
        try:
            return await self._answered(requests, deadline)
        except UnsplittableError:  # a part of a large request: without a row for each row, its answers cannot be joined
            return await self._answered(self._requests(inputs, outputs, rows, True, deadline), deadline)

    async def _answered(self, requests: list[QueuedRequest], deadline: float | None) -> Answer:
        loop = asyncio.get_running_loop()
        left_s = None if deadline is None else deadline - self._clock()
        if left_s is not None and left_s <= 0:
            raise deadline_exceeded(self._name)
        self._enqueue(requests, loop)
        # After the request is queued: the timer would keep a refused request, with its arrays, until the deadline.
        timer = None if left_s is None else loop.call_later(left_s, expire, self._name, requests)
        try:
            if len(requests) == 1:
                return await requests[0].future
            return joined([await request.future for request in requests])
        finally:
            if timer is not None:
                timer.cancel()
            for request in requests:
                self._withdraw(request)

    def _requests(
        self, inputs: Mapping[str, Array], outputs: Outputs, rows: int | None, alone: bool, deadline: float | None
    ) -> list[QueuedRequest]:
        """Return the request, in parts that fit a batch."""
        new_future, now_s = asyncio.get_running_loop().create_future, self._clock()
        deadline_s = math.inf if deadline is None else deadline
        if rows is None:
            rows = rows_of(inputs)
        if alone or not rows or self._runner.is_unsplittable(outputs):
            return [QueuedRequest(inputs, outputs, 1 if rows is None else rows, None, new_future(), now_s, deadline_s)]
        key = shape_key(inputs, self._options.pad_variable_length_inputs)
        max_rows = self._options.max_batch_size
        if rows <= max_rows:
            return [QueuedRequest(inputs, outputs, rows, key, new_future(), now_s, deadline_s)]
        return [
            QueuedRequest(part, outputs, part_rows, key, new_future(), now_s, deadline_s, is_part=True)
            for part, part_rows in parts(inputs, rows, max_rows)
        ]

    def _enqueue(self, requests: list[QueuedRequest], loop: asyncio.AbstractEventLoop) -> None:
        rows = sum(request.rows for request in requests)
        with self._lock:
            if self._closing:
                raise self._unloading()
            if self._queue.rows and self._queue.rows + rows > self._max_waiting_rows:
                raise OverloadedError(
                    f"Model {self._name!r} has {self._queue.rows} rows waiting, and at most {self._max_waiting_rows} may; "
                    "try again later."
                )
            if self._tracer is not None:  # before a thread can take them
                self._tracer.queued(requests)
            for request in requests:
                self._queue.put(request)
        self._schedule_wake(loop)

    def _withdraw(self, request: QueuedRequest) -> None:
        """Free the request's place in the queue, whether it was answered, cancelled or too late."""
        if request.queued:
            with self._lock:
                if request.queued:
                    self._queue.remove(request)
        if not request.future.cancel() and not request.future.cancelled():
            request.future.exception()  # retrieved, as another part of the same request may have failed first

    def _schedule_wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call `_wake_worker` once for all requests of this turn of the loop, so that they share a batch."""
        if self._wakes is not loop:
            self._wakes = loop
            loop.call_soon(self._wake_worker, loop)

    def _wake_worker(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a thread on the least loaded replica; if all have one, schedule a helper."""
        # Clients that were answered together send their next requests one after the other. While these arrive and are fewer
        # than last time, another turn of the loop puts them into one batch. A lone request is never delayed.
        waiting = self._queue.rows
        if self._rows_last_turn < waiting < self._rows_last_batch and self._turns < MAX_TURNS:
            self._rows_last_turn, self._turns = waiting, self._turns + 1
            loop.call_soon(self._wake_worker, loop)
            return
        self._wakes, self._rows_last_turn, self._turns = None, 0, 0
        with self._lock:
            if not self._queue:
                return
            if self._queue.timeout_s:
                due, wait_s = self._queue.due(flush=self._closing)
                if due is None:
                    self._schedule_wake_when_due(loop, wait_s)
                    return
            slot, has_helper = self._slots.claim_on_idle_replica()
        if slot is not None:
            if not self._start(slot):
                loop.call_later(RETRY_START_S, self._schedule_wake, loop)
        elif has_helper and self._wakes_helper is not loop:
            self._wakes_helper = loop
            loop.call_later(LONG_RUN_S, self._wake_helper)

    def _wake_helper(self) -> None:
        """Start a second thread on a replica if requests still wait behind a long run."""
        self._wakes_helper = None
        self._start_waiting()

    def _schedule_wake_when_due(self, loop: asyncio.AbstractEventLoop, wait_s: float | None) -> None:
        if wait_s is not None and self._wakes_when_due is not loop:
            self._wakes_when_due = loop
            loop.call_later(wait_s, self._wake_when_due, loop)

    def _wake_when_due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wakes_when_due = None
        if self._queue:
            self._schedule_wake(loop)

    def _start_waiting(self) -> None:
        """Start a thread for the requests in the queue, if a slot is idle."""
        with self._lock:
            slot = self._slots.idle() if self._queue else None
            if slot is not None:
                self._slots.claim(slot)
        if slot is not None:
            self._start(slot)

    def _start(self, slot: Slot) -> bool:
        """Let a thread work in the claimed slot. Returns False if the system allows no further thread."""
        try:
            self._workers.start(partial(self._work, slot))
        except RuntimeError as error:
            with self._lock:
                self._slots.free(slot)
            log.error("no thread for a run", model=self._name, error=str(error))
            return False
        return True

    def _work(self, slot: Slot, release: Release) -> None:
        """Run batches until none is due, or the thread had better wait for the next requests of the answered clients."""
        while (outputs := self._take(slot)) is not None:
            if self._run_and_deliver(slot, outputs, release):
                return

    def _run_and_deliver(self, slot: Slot, outputs: Outputs, release: Release) -> bool:
        """Run the batch of the slot; return whether the thread leaves the slot."""
        began_s, ends, answers = self._clock(), True, []  # type: tuple[float, bool, Answers]
        try:
            answers = self._runner.answers(slot.run, slot.batch, outputs)
            # After a short run it is faster to sleep until the loop has read the next requests of the answered clients and
            # wakes a thread. During a long run the next batch has grown already.
            ends = not self._closing and self._clock() - began_s < LONG_RUN_S
        finally:
            with self._lock:
                slot.batch = ()
                ends = ends or slot.lost
                if ends:  # before the loop gets the answers: its call must find slot and thread idle
                    release()
                    self._slots.free(slot)
                if self._closing:
                    self._ended.notify_all()
        if not self._deliver(answers) and ends:
            self._wake_loop()
        return ends

    def _take(self, slot: Slot) -> Outputs | None:
        """Put the next batch into the slot, and return its outputs; free the slot and return None if no batch is due."""
        helper = None
        with self._lock:
            waiting, wait_s = self._queue.due(flush=self._closing)
            if waiting is None:
                self._slots.free(slot)
                outputs = None
            else:
                positions, outputs = cut(waiting, self._options.max_batch_size, self._share)
                batch = [waiting[position] for position in positions]
                for request in batch:
                    self._queue.remove(request)
                slot.begin(batch)
                self._rows_last_batch = sum(request.rows for request in batch)
                if self._queue:
                    helper, _ = self._slots.claim_on_idle_replica()
        if helper is not None:
            self._start(helper)
        elif wait_s is not None:
            self._wake_loop()
        return outputs

    def _wake_loop(self) -> None:
        """Let the loop of the oldest request in the queue start a thread once the request is due."""
        with self._lock:
            loop = next((request.future.get_loop() for request in self._queue), None)
        if loop is not None:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits
                loop.call_soon_threadsafe(self._schedule_wake, loop)

    def _is_awaited(self) -> bool:
        now_s = self._clock()
        return self._slots.awaited(now_s) or any(request.awaited(now_s) for request in self._queue)

    def _unloading(self) -> UnloadingError:
        return UnloadingError(f"Model {self._name!r} is being unloaded{self._failure}; try again.")

    def _deliver(self, answers: Answers) -> bool:
        """Send the answers to their event loops. Returns whether one of these wakes a thread for the requests in the queue."""
        return deliver(answers, self._delivered)

    def _delivered(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._queue:
            self._schedule_wake(loop)
