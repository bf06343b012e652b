"""How often and for how long each version has worked: one call a request, one call a batch.

The facts of a request (`RequestFacts`) and of a run (`BatchFacts`) go to everybody who asked for them with `listen`; the
totals are kept here.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

from service.errors import HeadserveError
from service.types import InferRequest, Output


class RequestFacts(NamedTuple):
    """One request that has ended.

    Attributes:
        status: the HTTP status of its answer.
        outputs: what it asked for; nothing when it could not be read.
        decode_ns: reading it.
        infer_ns: from then on until the outputs were there: waiting and computing.
        encode_ns: writing the answer.
    """

    status: int
    outputs: tuple[Output, ...]
    decode_ns: int
    infer_ns: int
    encode_ns: int


class BatchFacts(NamedTuple):
    """One run of the model.

    Attributes:
        rows: how many rows were asked for, without padding.
        queue_ns: how long each of its requests, or parts of large ones, waited for it.
        input_ns: putting the rows together.
        infer_ns: computing.
        output_ns: taking the results apart.
    """

    rows: int
    queue_ns: Sequence[int]
    input_ns: int
    infer_ns: int
    output_ns: int


@dataclass(slots=True)
class Total:
    """How often, and for how many nanoseconds altogether."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """One more, or several."""
        self.count += count
        self.ns += ns


@dataclass(slots=True)
class BatchTotals:
    """The runs of one size."""

    input: Total = field(default_factory=Total)
    infer: Total = field(default_factory=Total)
    output: Total = field(default_factory=Total)

    def add(self, facts: BatchFacts) -> None:
        """One more run."""
        self.input.add(facts.input_ns)
        self.infer.add(facts.infer_ns)
        self.output.add(facts.output_ns)


@dataclass(slots=True)
class Totals:
    """Everything of one version since it was loaded.

    `queue` counts requests, a large one once for each of its parts; `input`, `infer` and `output` count runs. Reading requests
    and writing answers is part of `success` and `fail`.
    """

    success: Total = field(default_factory=Total)
    fail: Total = field(default_factory=Total)
    decode: Total = field(default_factory=Total)
    encode: Total = field(default_factory=Total)
    queue: Total = field(default_factory=Total)
    computed: BatchTotals = field(default_factory=BatchTotals)
    rows: int = 0
    by_rows: dict[int, BatchTotals] = field(default_factory=dict)
    last_at: float = 0.0
    """When the last run ended, in seconds since 1970; 0 before the first."""


class Statistics:
    """The totals of one version, and those who want to know every fact. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._totals = Totals()
        self._lock = threading.Lock()
        self._requests: list[Callable[[RequestFacts], None]] = []
        self._batches: list[Callable[[BatchFacts], None]] = []

    def listen(
        self, request: Callable[[RequestFacts], None] | None = None, batch: Callable[[BatchFacts], None] | None = None
    ) -> None:
        """Has these called with the facts of every request and every run, in the thread that worked."""
        self._requests += [request] if request else []
        self._batches += [batch] if batch else []

    def request(self) -> "Request":
        """A `with` block around one request."""
        return Request(self._ended)

    def batch(self, facts: BatchFacts) -> None:
        """A run has ended well."""
        with self._lock:
            totals = self._totals
            totals.rows += facts.rows
            totals.queue.add(sum(facts.queue_ns), len(facts.queue_ns))
            totals.computed.add(facts)
            totals.by_rows.setdefault(facts.rows, BatchTotals()).add(facts)
            totals.last_at = time.time()
        for listener in self._batches:
            listener(facts)

    @property
    def totals(self) -> Totals:
        """What they are now; a copy."""
        with self._lock:
            return deepcopy(self._totals)

    def _ended(self, facts: RequestFacts) -> None:
        with self._lock:
            totals = self._totals
            ended = totals.success if facts.status < 400 else totals.fail
            ended.add(facts.decode_ns + facts.infer_ns + facts.encode_ns)
            totals.decode.add(facts.decode_ns)
            if facts.status < 400:
                totals.encode.add(facts.encode_ns)
        for listener in self._requests:
            listener(facts)


class Request(AbstractContextManager["Request"]):
    """Takes the time of one request: `decoded` and `computed` are called where these end. What it raises is its status."""

    __slots__ = ("_at", "_decode_ns", "_ended", "_infer_ns", "_outputs", "facts")

    def __init__(self, ended: Callable[[RequestFacts], None]):
        self._ended = ended
        self._outputs: tuple[Output, ...] | None = None
        self._decode_ns = self._infer_ns = 0
        self.facts: RequestFacts | None = None  # until it has ended
        self._at = time.perf_counter_ns()

    def decoded(self, request: InferRequest) -> None:
        """It has been read."""
        self._outputs = request.outputs
        self._decode_ns = self._lap()

    def computed(self) -> None:
        """Its outputs are there."""
        self._infer_ns = self._lap()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        last = self._lap()
        decode, infer, encode = self._decode_ns, self._infer_ns, 0
        if self._outputs is None:
            decode = last
        elif not infer:
            infer = last
        else:
            encode = last
        status = 200 if error is None else error.status if isinstance(error, HeadserveError) else 500
        self.facts = RequestFacts(status, self._outputs or (), decode, infer, encode)
        self._ended(self.facts)

    @property
    def at_ns(self) -> int:
        """When the last of its steps ended, on the clock of `time.perf_counter_ns`."""
        return self._at

    def _lap(self) -> int:
        now = time.perf_counter_ns()
        lap, self._at = now - self._at, now
        return lap
