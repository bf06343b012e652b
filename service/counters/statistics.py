"""The statistics of one version, whose samples are counted many at a time, and rejections outside of any version."""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import NamedTuple, TypeVar

import numpy as np
import structlog

from service.counters.heads import HeadCounts
from service.counters.histogram import SECONDS, Histogram
from service.types import Array, HeadSpec, Output

NS = 1e9
"""Nanoseconds in a second."""

HUNG_UP = 499
"""The status of a request whose client disconnected before the answer; the number is nginx's."""

MANY = 512
"""Number of requests that are counted at a time: enough to make the calls of NumPy cheap, and few enough to block the event
loop for a few milliseconds only."""
MANY_BYTES = 1 << 21
"""Maximum size of the runs and outputs that are kept until they are counted, in bytes."""
RUN_BYTES = 1 << 10
"""Approximate size of the sample of a run, in bytes."""

T = TypeVar("T")
log = structlog.get_logger("headserve.metrics")


class RequestSample(NamedTuple):
    """A request that has ended.

    Attributes:
        api: its protocol.
        status: the HTTP status of the answer, or `HUNG_UP`.
        outputs: the selected outputs; empty if the request could not be decoded.
        decode_ns, infer_ns, encode_ns: times to decode it, in the queue and in the model, and to encode the answer.
        queue_full: whether it was rejected because the queue was full.
    """

    api: str
    status: int
    outputs: tuple[Output, ...]
    decode_ns: int
    infer_ns: int
    encode_ns: int
    queue_full: bool = False


class BatchSample(NamedTuple):
    """A run of the model.

    Attributes:
        rows: number of rows, without padding.
        queue_ns: time that each request, or part of a large one, was in the queue.
        input_ns, infer_ns, output_ns: times to stack the inputs, to compute, and to split the outputs.
    """

    rows: int
    queue_ns: Sequence[int]
    input_ns: int
    infer_ns: int
    output_ns: int


class BatchTotals(NamedTuple):
    """A number of runs, and the sums of their times in nanoseconds."""

    runs: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0


class Counts:
    """Everything counted of one version since it was loaded. Not thread-safe: `Statistics` has the lock.

    Attributes:
        requests: number by protocol and status.
        head_requests: number by protocol, head and status; a request for several heads counts once for each head.
        rejected: requests rejected because the queue was full.
        expired: requests that exceeded their deadline.
        success: times of successful requests, from the last byte of the body to the encoded answer.
        fail: times of all other requests.
        seconds: times by phase: `decode` of every request; `queue` of each request or part of a large one; `compute` of runs;
            `encode` of successful requests.
        by_rows: runs by number of rows, without padding.
        last_at: when the last run ended, in seconds since 1970; 0 before the first.
        heads: what each head has answered.
    """

    def __init__(self, heads: Iterable[HeadSpec]):
        self.requests: Counter[tuple[str, int]] = Counter()
        self.head_requests: Counter[tuple[str, str, int]] = Counter()
        self.rejected = self.expired = 0
        self.success, self.fail = Histogram(SECONDS, NS), Histogram(SECONDS, NS)
        self.seconds = {phase: Histogram(SECONDS, NS) for phase in ("decode", "queue", "compute", "encode")}
        self.by_rows: dict[int, BatchTotals] = {}
        self.last_at = 0.0
        self.heads = [HeadCounts(head) for head in heads]

    @property
    def computed(self) -> BatchTotals:
        """Return the totals of all runs."""
        return _sum(self.by_rows.values())

    @property
    def rows(self) -> int:
        """Return the number of rows of all runs."""
        return sum(rows * totals.runs for rows, totals in self.by_rows.items())

    def add_requests(self, samples: Sequence[RequestSample]) -> None:
        """Count requests that have ended; at least one."""
        apis, statuses, outputs, decode, infer, encode, queue_full = zip(*samples, strict=True)
        # By identity: most requests have the same tuple of outputs, and comparing its members would take most of the time.
        by_id = dict(zip(map(id, outputs), outputs, strict=True))
        asked = Counter(zip(apis, map(id, outputs), statuses, strict=True))
        for (api, which, status), count in asked.items():
            for head in dict.fromkeys(head for head, _ in by_id[which]):
                self.head_requests[api, head, status] += count
            self.requests[api, status] += count
            self.expired += count if status == 504 else 0
        self.rejected += sum(queue_full)
        answered = np.array(statuses) < 400
        times_ns = np.array([decode, infer, encode], np.int64)
        whole_ns = times_ns.sum(axis=0)
        self.success.add(whole_ns[answered])
        self.fail.add(whole_ns[~answered])
        self.seconds["decode"].add(times_ns[0])
        self.seconds["encode"].add(times_ns[2][answered])

    def add_runs(self, samples: Sequence[BatchSample]) -> None:
        """Count runs that have succeeded; at least one."""
        rows, queue_ns, *phases = zip(*samples, strict=True)
        phases_ns = np.array(phases, np.int64)
        self.seconds["queue"].add(np.fromiter(chain.from_iterable(queue_ns), np.int64))
        self.seconds["compute"].add(phases_ns.sum(axis=0))
        sizes, which, counts = np.unique(np.array(rows, np.int64), return_inverse=True, return_counts=True)
        sums_ns = [np.bincount(which, phase_ns).astype(np.int64).tolist() for phase_ns in phases_ns]
        for size, *totals in zip(sizes.tolist(), counts.tolist(), *sums_ns, strict=True):
            self.by_rows[size] = _sum([self.by_rows.get(size, BatchTotals()), BatchTotals(*totals)])


class Statistics:
    """The counts of one version; `request` and `batch` may be called from any thread, and `request` never waits for a lock."""

    def __init__(self, heads: Iterable[HeadSpec] = ()):
        self._counts = Counts(heads)
        self._outputs = [(head.spec.name, key) for head in self._counts.heads for key in head.counters]
        self._requests: deque[RequestSample] = deque()
        self._runs: deque[tuple[BatchSample, list[dict[Output, Array]]]] = deque()
        self._kept_bytes = 0
        self._last_at = 0.0
        self._lock = threading.Lock()

    def request(self, sample: RequestSample) -> None:
        """Add a request that has ended."""
        self._requests.append(sample)
        # Counted in the event loop, where requests end: a thread that computes would make the loop wait for the lock.
        # If another thread is counting, that thread or the next call counts this request.
        if len(self._requests) >= MANY and self._lock.acquire(blocking=False):
            try:
                self._count_samples()
            finally:
                self._lock.release()

    def batch(self, sample: BatchSample, answers: Iterable[Mapping[Output, Array]] = ()) -> None:
        """Add a run that has succeeded.

        `answers` are its outputs without padding: all rows in one mapping if all requests selected the same, else one for each.
        """
        counted = [{output: answer[output] for output in self._outputs if output in answer} for answer in answers]
        self._runs.append((sample, counted))
        self._last_at = time.time()
        # Two threads may add at the same time, so that one number is lost: it is a bound of memory and not reported.
        self._kept_bytes += RUN_BYTES + sum([array.nbytes for answer in counted for array in answer.values()])
        if self._kept_bytes >= MANY_BYTES:
            with self.counted():
                pass

    @contextmanager
    def counted(self) -> Iterator[Counts]:
        """Yield the counts of everything that has ended so far; they do not change within the block."""
        with self._lock:
            self._count_samples()
            yield self._counts

    def _count_samples(self) -> None:
        """Count the samples; an error is logged, as it must not fail a request."""
        counts = self._counts
        self._kept_bytes, counts.last_at = 0, self._last_at
        try:
            if requests := _removed(self._requests):
                counts.add_requests(requests)
            if runs := _removed(self._runs):
                counts.add_runs([sample for sample, _ in runs])
                answers = [answer for _, of_run in runs for answer in of_run]
                for head in counts.heads:
                    head.add(answers)
        except Exception:
            log.exception("counting failed")


class Rejections:
    """Numbers of rejected requests and of refused connections; counted in the event loop, while other threads read copies.

    Attributes:
        counts: requests by model, protocol and status. The model is empty if there is no model of the requested name, so that
            clients cannot add labels.
        connections: connections that were refused or cut, by reason: one of a fixed few.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self.connections: Counter[str] = Counter()

    def add(self, model: str, api: str, status: int) -> None:
        """Count a request."""
        self.counts[model, api, status] += 1


def _sum(totals: Iterable[BatchTotals]) -> BatchTotals:
    return BatchTotals(*map(sum, zip(*totals, strict=True)))


def _removed(samples: deque[T]) -> list[T]:
    """Remove and return the samples that are there now; those added meanwhile stay."""
    return [samples.popleft() for _ in range(len(samples))]
