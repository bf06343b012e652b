"""The traces of prediction requests and of the batches in which they run."""

import os
import time
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from opentelemetry.trace import Span, SpanContext, StatusCode
from structlog.contextvars import bind_contextvars

from service.batching.request_queue import BatchTracer, QueuedRequest
from service.inference.request_context import RequestContext, current
from service.protocols.protocol import Match, raw_path_of
from service.tracing.spans import Spans, exporters
from service.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger("headserve.traces")


class Tracing:
    """Spans of requests and batches; `stop` sends the remaining ones."""

    def __init__(self, spans: Spans):
        self._spans = spans
        self.stop = spans.stop

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Return the application with a span for every prediction request."""
        return TracingMiddleware(app, self._spans)

    def of(self, model: str, version: int) -> BatchTracer:
        """Return the tracer for the batcher of one version."""
        return BatchTraces(self._spans, model, version)


def tracing_from_environment(server_version: str) -> Tracing | None:
    """Return tracing as OpenTelemetry's environment variables configure it; None if they disable it. Raises ConfigError."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    return Tracing(Spans(exporters(os.environ), server_version))


@dataclass(frozen=True, eq=False)
class TracingMiddleware:
    """ASGI middleware that makes a span for every prediction request."""

    app: ASGIApp
    spans: Spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request within its span, and add the trace headers to the response."""
        if scope["type"] != "http" or (match := (request := current.get()).match) is None:
            await self.app(scope, receive, send)
            return
        span = self._span(scope, request, match)
        context = span.get_span_context()
        bind_contextvars(trace_id=f"{context.trace_id:032x}", span_id=f"{context.span_id:016x}")
        headers = _headers(context)
        status: int | None = None

        def with_headers(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *headers]
            return send(message)

        if not span.is_recording():
            await self.app(scope, receive, with_headers)
            return
        request.trace = RequestTrace(self.spans, span)
        failure = None
        try:
            await self.app(scope, receive, with_headers)
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            request.trace.end(request, status, failure)

    def _span(self, scope: Scope, request: RequestContext, match: Match) -> Span:
        route = match.path.template
        attributes = {
            "http.request.method": "POST",
            "url.scheme": scope["scheme"],
            "url.path": raw_path_of(scope),
            "headserve.api": request.protocol.name,
            "http.route": route,
            "headserve.model": match.model,
        }
        return self.spans.server(f"POST {route}", scope["headers"], attributes)


class RequestTrace:
    """The span of one request, and the spans of its steps.

    Steps are measured with monotonic clocks (one clock on Linux), spans are in time since 1970. The offset is taken once, when
    the request begins, so that its spans stay nested if the system's clock is set.
    """

    __slots__ = ("_epoch_ns", "_span", "_spans", "_waiting", "context")

    def __init__(self, spans: Spans, span: Span):
        self.context = span.get_span_context()
        self._spans = spans
        self._span = span
        self._waiting: set[QueuedRequest] = set()
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def queued(self, parts: Iterable[QueuedRequest]) -> None:
        """Record that the request, or the parts of a large one, wait in the queue from now on."""
        for part in parts:
            part.trace = self
            self._waiting.add(part)

    def taken(self, part: QueuedRequest) -> bool:
        """Return whether the part waited until now: not if a failed batch is run again, or the request has ended."""
        try:
            self._waiting.remove(part)
        except KeyError:
            return False
        return True

    def waited(self, part: QueuedRequest, until_ns: int) -> None:
        """Add the span of waiting in the queue."""
        self.step("queue", int(part.arrived_s * 1e9), until_ns)

    def step(
        self,
        name: str,
        began_ns: int,
        ended_ns: int,
        links: Sequence[SpanContext] = (),
        attributes: Mapping[str, Any] | None = None,
        error: Exception | None = None,
    ) -> None:
        """Add the span of a step; times are of `time.monotonic`."""
        began_ns, ended_ns = self.at(began_ns), self.at(ended_ns)
        self._spans.add(name, self.context, began_ns, ended_ns, links=links, attributes=attributes, error=error)

    def end(self, request: RequestContext, status: int | None, failure: str | None = None) -> None:
        """End the span of the request.

        The status is None if the client disconnected before the response; `failure` names the exception that prevented it.
        """
        ended_ns = time.monotonic_ns()
        for part in list(self._waiting):
            if self.taken(part):  # its deadline passed, or the client disconnected
                self.waited(part, ended_ns)
        self._codec_steps(request)
        for key, value in (("http.response.status_code", status), *_about(request)):
            if value is not None:
                self._span.set_attribute(key, value)
        if failure is None and status is not None and status >= 500:
            failure = str(status)
        if failure is not None:
            self._span.set_attribute("error.type", failure)
            self._span.set_status(StatusCode.ERROR)
        self._span.end(self.at(ended_ns))

    def at(self, clock_ns: int) -> int:
        """Convert nanoseconds of `time.monotonic` to nanoseconds since 1970."""
        return clock_ns + self._epoch_ns

    def _codec_steps(self, request: RequestContext) -> None:
        """Add the spans of decoding and encoding; the batcher adds those of waiting and computing."""
        sample = request.sample
        if sample is None:
            return
        began_ns = request.ended_ns - sample.decode_ns - sample.infer_ns - sample.encode_ns
        self.step("decode", began_ns, began_ns + sample.decode_ns)
        if sample.encode_ns:
            self.step("encode", request.ended_ns - sample.encode_ns, request.ended_ns)


class BatchTraces:
    """Records the batches of one version that contain a recorded request; called by its batcher."""

    def __init__(self, spans: Spans, model: str, version: int):
        self._spans = spans
        self._attributes = {"headserve.model": model, "headserve.version": version}

    def queued(self, requests: Sequence[QueuedRequest]) -> None:
        """Record that the parts of the current request wait in the queue from now on."""
        request = current.get(None)
        if request is not None and request.trace is not None:
            request.trace.queued(requests)

    @contextmanager
    def run(self, batch: Sequence[QueuedRequest]) -> Iterator[None]:
        """Record a batch that runs in a `with` block."""
        began_ns = time.monotonic_ns()
        waited = [request for request in batch if request.trace is not None and request.trace.taken(request)]
        try:
            yield
        except Exception as error:
            self._add(batch, waited, began_ns, error)
            raise
        self._add(batch, waited, began_ns)

    def _add(
        self, batch: Sequence[QueuedRequest], waited: list[QueuedRequest], began_ns: int, error: Exception | None = None
    ) -> None:
        """Add the spans of a batch with traced requests; `waited` are those whose wait it ended. Raises nothing."""
        ended_ns = time.monotonic_ns()
        try:
            for request in waited:
                request.trace.waited(request, began_ns)
            if traced := [request for request in batch if request.trace is not None]:
                rows = sum(request.rows for request in batch)
                attributes = {**self._attributes, "headserve.rows": rows, "headserve.requests": len(batch)}
                traces: list[RequestTrace] = list(dict.fromkeys(request.trace for request in traced))
                links, times_ns = [trace.context for trace in traces], (traces[0].at(began_ns), traces[0].at(ended_ns))
                run = self._spans.add("batch", None, *times_ns, links=links, attributes=attributes, error=error)
                for request in traced:
                    request.trace.step("compute", began_ns, ended_ns, [run], {"headserve.rows": request.rows}, error)
        except Exception:
            log.exception("a batch could not be traced")


def _about(request: RequestContext) -> list[tuple[str, int | list[str] | None]]:
    outputs = request.sample.outputs if request.sample is not None else ()
    heads = list(dict.fromkeys(head for head, _ in outputs))
    return [("headserve.version", request.version), ("headserve.rows", request.rows), ("headserve.heads", heads or None)]


def _headers(context: SpanContext) -> list[tuple[bytes, bytes]]:
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    headers = [(b"traceparent", parent.encode())]
    if context.trace_state:
        headers.append((b"tracestate", context.trace_state.to_header().encode("latin-1")))
    return headers
