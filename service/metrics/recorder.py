"""The numbers of one loaded version: facts are put aside as they come, and counted many at a time."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import numpy as np
import structlog

from service.metrics.heads import HeadRecorder
from service.metrics.histogram import ROWS, SECONDS, Histogram
from service.statistics import BatchFacts, RequestFacts
from service.types import Array, ModelSpec, Output

FOLD = 128
"""So many facts are put aside before they are counted: few enough that nobody waits long for it."""
FOLD_BYTES = 1 << 20
"""The predictions that may be kept for it."""

T = TypeVar("T")
log = structlog.get_logger("headserve.metrics")


class _Run(NamedTuple):
    """What is kept of a run."""

    rows: int
    queue_ns: Iterable[int]
    compute_ns: int
    arrays: list[tuple[Output, Array]]


class Recorder:
    """Listens to the statistics of one version. `request` and `run` may be called from any thread.

    They take a lock once in `FOLD` times.

    Attributes:
        requests: by protocol, head and status.
        rejected: requests that found the queue full.
        expired: requests that had no answer in time.
        seconds: how long each phase took.
        rows: rows of each run.
        heads: what each head answered.
    """

    def __init__(self, spec: ModelSpec):
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.rejected = self.expired = 0
        self.seconds = {phase: Histogram(SECONDS) for phase in ("decode", "queue", "compute", "encode")}
        self.rows = Histogram(ROWS)
        self.heads = [HeadRecorder(head) for head in spec.heads]
        self._takes = {(head.spec.name, key): take for head in self.heads for key, take in head.takes.items()}
        self._requests: deque[RequestFacts] = deque()
        self._runs: deque[_Run] = deque()
        self._kept_bytes = 0
        # Two locks: the event loop, which counts requests, does not wait for a thread that counts runs.
        self._requests_lock, self._runs_lock = threading.Lock(), threading.Lock()

    def request(self, facts: RequestFacts) -> None:
        """A request has ended."""
        self._requests.append(facts)
        if len(self._requests) >= FOLD:
            self._count(self._requests, self._requests_lock, self._fold_requests)

    def run(self, facts: BatchFacts) -> None:
        """A run has ended."""
        takes = self._takes
        arrays = [(output, array) for answer in facts.answers for output, array in answer.items() if output in takes]
        compute_ns = facts.input_ns + facts.infer_ns + facts.output_ns
        self._runs.append(_Run(facts.rows, facts.queue_ns, compute_ns, arrays))
        # Two threads may add at once, and one number be lost: it bounds memory, and is not told to anybody.
        self._kept_bytes += sum([array.nbytes for _, array in arrays])
        if len(self._runs) >= FOLD or self._kept_bytes >= FOLD_BYTES:
            self._count(self._runs, self._runs_lock, self._fold_runs)

    @contextmanager
    def folded(self) -> Iterator[None]:
        """Everything is counted when the block begins, and does not change in it."""
        self._count(self._requests, self._requests_lock, self._fold_requests)
        self._count(self._runs, self._runs_lock, self._fold_runs)
        with self._requests_lock, self._runs_lock:
            yield

    def _count(self, facts: deque[T], lock: threading.Lock, fold: Callable[[list[T]], None]) -> None:
        """Counts what has been put aside. No answer may depend on it."""
        with lock:
            try:
                fold(list(_taken(facts)))
            except Exception:
                log.exception("counting for /metrics failed")

    def _fold_requests(self, facts: list[RequestFacts]) -> None:
        for (api, outputs, status), count in Counter((it.api, it.outputs, it.status) for it in facts).items():
            for head in dict.fromkeys(head for head, _ in outputs) or ("",):
                self.requests[api, head, str(status)] += count
            self.rejected += count if status == 429 else 0
            self.expired += count if status == 504 else 0
        self.seconds["decode"].add(_seconds(it.decode_ns for it in facts))
        self.seconds["encode"].add(_seconds(it.encode_ns for it in facts if it.encode_ns))

    def _fold_runs(self, runs: list[_Run]) -> None:
        self._kept_bytes = 0
        self.seconds["queue"].add(_seconds(ns for run in runs for ns in run.queue_ns))
        self.seconds["compute"].add(_seconds(run.compute_ns for run in runs))
        self.rows.add(np.array([run.rows for run in runs], np.float64))
        alike: dict[tuple[Output, tuple[int, ...]], list[Array]] = {}
        for run in runs:
            for output, array in run.arrays:
                if array.ndim:
                    alike.setdefault((output, array.shape[1:]), []).append(array)
        for (output, _), arrays in alike.items():
            self._takes[output](np.concatenate(arrays))


def _taken(facts: deque[T]) -> Iterator[T]:
    """Takes out what is there now; what comes meanwhile waits for the next time."""
    for _ in range(len(facts)):
        yield facts.popleft()


def _seconds(times_ns: Iterable[int]) -> Array:
    return np.array(list(times_ns), np.float64) / 1e9
