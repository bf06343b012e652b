"""Per-request context for keys, the access log, Server-Timing, statistics and traces."""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from service.counters import RequestSample
from service.lifecycle.served_models import Loaded
from service.protocols.protocol import Match, ServingProtocol
from service.types import Headers, InferRequest, Output


@dataclass(slots=True, eq=False)
class RequestContext:
    """One HTTP request.

    Attributes:
        id: value of `X-Request-Id`.
        match: the prediction path that the request matches; None if the request is not a prediction.
        key: the `service.auth.keys.Key` of the caller; None without keys and on open paths.
        trace: the `service.tracing.tracing.RequestTrace`; None if the request is not recorded.
        model: name of the model, once the caller may use it.
        version: the version that computes the prediction.
        rows: number of rows; None if the body was not decoded or has no rows.
        queue_full: whether the request was rejected because the queue was full.
        sample: what the statistics count, once the request has ended.
        ended_ns: when the last step ended, on the clock of `time.perf_counter_ns`.
    """

    id: str
    headers: Headers
    protocol: ServingProtocol
    match: Match | None = None
    key: Any = None  # this type and the next are of layers above, which are not imported here
    trace: Any = None
    model: str | None = None
    version: int | None = None
    rows: int | None = None
    queue_full: bool = False
    sample: RequestSample | None = None
    ended_ns: int = 0
    _loaded: Loaded | None = None
    _outputs: tuple[Output, ...] | None = None
    _decode_ns: int = 0
    _infer_ns: int = 0

    def acquired(self, loaded: Loaded) -> None:
        """Start the clock: the request has a version, and its body was received."""
        self._loaded = loaded
        self.version = loaded.spec.version
        self.ended_ns = time.perf_counter_ns()

    def decoded(self, request: InferRequest) -> None:
        """Record the end of decoding."""
        self._outputs = request.outputs
        self._decode_ns = self._lap()

    def computed(self) -> None:
        """Record the end of inference, waiting included."""
        self._infer_ns = self._lap()

    def end(self, status: int) -> bool:
        """Count the request in the statistics of its version. Returns False if it has no version."""
        if self._loaded is None:
            return False
        last_ns = self._lap()
        decode_ns, infer_ns, encode_ns = self._decode_ns, self._infer_ns, 0
        if self._outputs is None:
            decode_ns = last_ns
        elif not infer_ns:
            infer_ns = last_ns
        else:
            encode_ns = last_ns
        self.sample = RequestSample(
            self.protocol.name, status, self._outputs or (), decode_ns, infer_ns, encode_ns, self.queue_full
        )
        self._loaded.statistics.request(self.sample)
        return True

    def _lap(self) -> int:
        now_ns = time.perf_counter_ns()
        lap_ns, self.ended_ns = now_ns - self.ended_ns, now_ns
        return lap_ns


current: ContextVar[RequestContext] = ContextVar("request")
"""The request that runs in this context; the access log sets it for every HTTP request."""
