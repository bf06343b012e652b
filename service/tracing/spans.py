"""Makes and sends spans with OpenTelemetry's SDK, which the environment variables `OTEL_…` configure."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

import structlog
from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from service.errors import ConfigError

NAME = "headserve"
FLUSH_S = 5.0
"""Time limit for sending the remaining spans at the end, so that a collector that is down does not keep the server alive."""

GROUP = "opentelemetry_traces_exporter"
PROTOCOLS = {"http/json": "otlp_json_http", "http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
"""Entry-point names of OTLP's exporters by protocol."""

DEFAULT_PROTOCOL = "http/json"
"""Accepted by every collector, and free of protobuf, of which TensorFlow 2.15 needs an older version than OpenTelemetry."""

RequestHeaders = Sequence[tuple[bytes, bytes]]
Attributes = Mapping[str, Any]

log = structlog.get_logger("headserve.traces")


class Spans:
    """Makes spans, and sends them in batches, in a thread of each exporter. Every method may be called from any thread."""

    def __init__(self, exporters: Iterable[SpanExporter], version: str):
        self._processor = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call] # OpenTelemetry does not type it
        for exporter in exporters:
            self._processor.add_span_processor(BatchSpanProcessor(exporter))
        provider = TracerProvider(resource=_resource(version), active_span_processor=self._processor, shutdown_on_exit=False)
        self._ids = provider.id_generator
        self._resource = provider.resource
        self._scope = InstrumentationScope(NAME, version)
        self._tracer = provider.get_tracer(NAME, version)
        self._propagator = get_global_textmap()
        self._fields = frozenset(field.encode() for field in self._propagator.fields)

    def server(self, name: str, headers: RequestHeaders, attributes: Attributes) -> Span:
        """Start the span of a request, as a child of the span in its headers. The sampler decides whether it is recorded."""
        context = Context()
        if not self._fields.isdisjoint([name for name, _ in headers]):
            carrier: dict[str, list[str]] = {}
            for field, value in headers:
                carrier.setdefault(field.decode("latin-1"), []).append(value.decode("latin-1"))
            context = self._propagator.extract(carrier, context)
        return self._tracer.start_span(name, context, SpanKind.SERVER, attributes)

    def add(
        self,
        name: str,
        parent: SpanContext | None,
        began_ns: int,
        ended_ns: int,
        *,
        links: Sequence[SpanContext] = (),
        attributes: Attributes | None = None,
        error: BaseException | None = None,
    ) -> SpanContext:
        """Add a span that has ended, and return its context. Times are in nanoseconds since 1970.

        The parent's sampling decision is used; without a parent, the span begins a trace, which is sampled. `links` are related
        spans, `error` is the exception that ended the step.
        """
        trace_id = self._ids.generate_trace_id() if parent is None else parent.trace_id
        flags = TraceFlags(TraceFlags.SAMPLED) if parent is None else parent.trace_flags
        state = None if parent is None else parent.trace_state
        context = SpanContext(trace_id, self._ids.generate_span_id(), False, flags, state)
        status = Status(StatusCode.UNSET)
        if error is not None:
            status, attributes = Status(StatusCode.ERROR), {**(attributes or {}), "error.type": type(error).__name__}
        # Not made by the tracer, which takes five times as long to start and end a span.
        span = ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            links=[Link(link) for link in links],
            status=status,
            start_time=began_ns,
            end_time=ended_ns,
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)
        return context

    def stop(self) -> None:
        """Send the remaining spans. Blocks for FLUSH_S at most."""
        sending = threading.Thread(target=self._processor.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(FLUSH_S)
        if sending.is_alive():
            log.warning("the last spans were not sent in time", limit_s=FLUSH_S)


def _resource(version: str) -> Resource:
    """Return the resource; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override our values."""
    own = Resource({SERVICE_NAME: NAME, SERVICE_VERSION: version})
    return Resource.create(own.merge(OTELResourceDetector().detect()).attributes)


def exporters(environment: Mapping[str, str]) -> list[SpanExporter]:
    """Return the exporters in OTEL_TRACES_EXPORTER, by default OTLP. Raises ConfigError for one that is not installed."""
    names = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    return [_exporter(name.strip(), environment) for name in names.split(",") if name.strip() != "none"]


def _exporter(name: str, environment: Mapping[str, str]) -> SpanExporter:
    setting, entry_name = f"OTEL_TRACES_EXPORTER={name}", name
    if name == "otlp":
        variable, protocol = _protocol(environment)
        if protocol not in PROTOCOLS:
            raise ConfigError(f"{variable}: expected one of {', '.join(PROTOCOLS)}, but got {protocol!r}.")
        setting, entry_name = f"{variable}={protocol}", PROTOCOLS[protocol]
    for entry in entry_points(group=GROUP, name=entry_name):
        exporter: SpanExporter = entry.load()()
        return exporter
    raise ConfigError(
        f"{setting}: no installed package has the exporter {entry_name!r}; pip install opentelemetry-exporter-"
        f"{entry_name.replace('_', '-')}, or do without: headserve[otel] brings OTLP as {DEFAULT_PROTOCOL}."
    )


def _protocol(environment: Mapping[str, str]) -> tuple[str, str]:
    variables = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    return next(
        ((name, environment[name].strip()) for name in variables if environment.get(name)), (variables[1], DEFAULT_PROTOCOL)
    )
