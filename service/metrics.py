"""The metrics that `GET /metrics` returns in Prometheus' format.

Requests only increment plain counters. These become metrics when the endpoint is called, with the labels of the served models,
so that a client cannot add labels.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from service.counters import Counts, Rejections
from service.counters.heads import HeadCounts
from service.counters.histogram import ROWS, Histogram
from service.lifecycle.served_models import IN_MEMORY, Loaded, ServedModels, State, VersionStatus
from service.runtime import devices

Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

_KINDS: dict[str, type[Family]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
_VERSION = ("model", "version")
_HEAD = (*_VERSION, "head")


class MetricSpec(NamedTuple):
    """A metric; the name of a counter ends in `_total`."""

    kind: str
    name: str
    labels: tuple[str, ...]
    help: str


FAMILIES = (
    MetricSpec(
        "counter",
        "headserve_requests_total",
        (*_VERSION, "api", "status"),
        "Completed prediction requests, and all requests that were refused because of their key.",
    ),
    MetricSpec(
        "counter",
        "headserve_head_requests_total",
        (*_VERSION, "api", "head", "status"),
        "Requests by selected head; a request for several heads counts once for each head.",
    ),
    MetricSpec(
        "counter",
        "headserve_connections_refused_total",
        ("reason",),
        "Connections that were refused, or cut because the client was too slow.",
    ),
    MetricSpec("counter", "headserve_rejected_total", _VERSION, "Requests rejected because the queue was full (429)."),
    MetricSpec("counter", "headserve_expired_total", _VERSION, "Requests that exceeded their deadline (504)."),
    MetricSpec(
        "histogram",
        "headserve_request_seconds",
        (*_VERSION, "outcome"),
        "Time from receiving a request's whole body until its response is ready, in seconds.",
    ),
    MetricSpec(
        "histogram",
        "headserve_phase_seconds",
        (*_VERSION, "phase"),
        "Time of a request's decode, queue and encode phases, and of a run's compute phase, in seconds.",
    ),
    MetricSpec("histogram", "headserve_batch_rows", _VERSION, "Rows per run, without padding."),
    MetricSpec("gauge", "headserve_queue_rows", _VERSION, "Rows waiting in the queue."),
    MetricSpec("counter", "headserve_loads_total", _VERSION, "How often the version was loaded."),
    MetricSpec(
        "counter",
        "headserve_reloads_total",
        _VERSION,
        "How often the version was loaded again: its folder or its options had changed, or it had been unloaded.",
    ),
    MetricSpec("counter", "headserve_load_failures_total", _VERSION, "How often loading the version failed."),
    MetricSpec(
        "gauge", "headserve_version_state", (*_VERSION, "state"), "1 for the current state of the version, 0 for the others."
    ),
    MetricSpec(
        "gauge", "headserve_version_resident_bytes", _VERSION, "Memory that loading the version took, in bytes; 0 if unloaded."
    ),
    MetricSpec(
        "gauge",
        "headserve_device_memory_bytes",
        ("device", "kind"),
        "GPU memory used by TensorFlow, in bytes: now (current) and the maximum so far (peak).",
    ),
    MetricSpec("counter", "headserve_predictions_total", (*_HEAD, "class"), "Predicted rows by class."),
    MetricSpec(
        "histogram",
        "headserve_score_ratio",
        _HEAD,
        "Largest probability of a row, from 0 to 1 (the logistic value, if the head has no probabilities).",
    ),
    MetricSpec("counter", "headserve_unsure_total", _HEAD, "Rows whose largest probability is below 0.5."),
)
"""All metrics except those of the process (`process_…`), which prometheus-client provides."""


class Metrics(Collector):
    """The metrics of one application and its process. The registry is not global: a process can have several applications."""

    def __init__(self, manager: ServedModels, rejections: Rejections):
        self._manager = manager
        self._rejections = rejections
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def page(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its media type: Prometheus' text format, or OpenMetrics if the header `Accept` asks for it."""
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type

    def collect(self) -> Iterable[Family]:
        """Return the metrics with their samples, for the versions that are on disk or served now."""
        page = _Page()
        for status in self._manager.statuses.values():
            for version in sorted({it.version for it in status.versions}):
                page.version((status.name, str(version)), [it for it in status.versions if it.version == version])
        served = self._manager.served
        for loaded in served:
            page.served(loaded)
        page.rejected(self._rejections)
        if served:  # TensorFlow is imported and its devices are initialized
            page.devices()
        return page.families.values()


class _Page:
    """The metrics of one scrape while they are written."""

    def __init__(self) -> None:
        self.families: dict[str, Any] = {it.name: _KINDS[it.kind](it.name, it.help, labels=it.labels) for it in FAMILIES}

    def version(self, labels: tuple[str, str], statuses: list[VersionStatus]) -> None:
        """Add a version. While it is reloaded it has two statuses, which have the same numbers of loads and failures."""
        states, newest = {it.state for it in statuses}, statuses[-1]
        for state in State:
            self._put("headserve_version_state", (*labels, state.value), state.value in states)
        resident = sum(it.resident_bytes for it in statuses if it.state in IN_MEMORY)
        self._put("headserve_version_resident_bytes", labels, resident)
        self._put("headserve_loads_total", labels, newest.loads)
        self._put("headserve_reloads_total", labels, max(newest.loads - 1, 0))
        self._put("headserve_load_failures_total", labels, newest.failures)

    def served(self, loaded: Loaded) -> None:
        """Add the counts of a served version."""
        labels = (loaded.spec.name, str(loaded.spec.version))
        self._put("headserve_queue_rows", labels, loaded.waiting_rows)
        with loaded.statistics.counted() as counts:
            self._requests(labels, counts)
            self._runs(labels, counts)
            for head in counts.heads:
                self._head((*labels, head.spec.name), head)

    def rejected(self, rejections: Rejections) -> None:
        """Add requests that were rejected before they had a version, and refused connections."""
        for reason, count in dict(rejections.connections).items():
            self._put("headserve_connections_refused_total", (reason,), count)
        for (model, api, status), count in dict(rejections.counts).items():
            self._put("headserve_requests_total", (model, "", api, str(status)), count)

    def devices(self) -> None:
        """Add the memory of every GPU."""
        for device, bytes_by_kind in devices.memory().items():
            for kind, used_bytes in bytes_by_kind.items():
                self._put("headserve_device_memory_bytes", (device, kind), used_bytes)

    def _requests(self, labels: tuple[str, str], counts: Counts) -> None:
        for (api, status), count in counts.requests.items():
            self._put("headserve_requests_total", (*labels, api, str(status)), count)
        for (api, head, status), count in counts.head_requests.items():
            self._put("headserve_head_requests_total", (*labels, api, head, str(status)), count)
        self._put("headserve_rejected_total", labels, counts.rejected)
        self._put("headserve_expired_total", labels, counts.expired)
        for outcome, seconds in (("success", counts.success), ("fail", counts.fail)):
            self._fill("headserve_request_seconds", (*labels, outcome), seconds)
        for phase, seconds in counts.seconds.items():
            self._fill("headserve_phase_seconds", (*labels, phase), seconds)

    def _runs(self, labels: tuple[str, str], counts: Counts) -> None:
        rows = Histogram(ROWS)
        times = [totals.runs for totals in counts.by_rows.values()]
        rows.add(np.array(list(counts.by_rows), np.int64), np.array(times, np.int64))
        self._fill("headserve_batch_rows", labels, rows)

    def _head(self, labels: tuple[str, ...], head: HeadCounts) -> None:
        for name, count in head.by_class.items():
            self._put("headserve_predictions_total", (*labels, name), count)
        if head.scores is not None:
            self._fill("headserve_score_ratio", labels, head.scores)
        if head.unsure is not None:
            self._put("headserve_unsure_total", labels, head.unsure)

    def _put(self, name: str, labels: tuple[str, ...], value: float) -> None:
        self.families[name].add_metric(_texts(labels), float(value))

    def _fill(self, name: str, labels: tuple[str, ...], histogram: Histogram) -> None:
        self.families[name].add_metric(_texts(labels), histogram.buckets, histogram.sum)


def _texts(labels: tuple[str, ...]) -> list[str]:
    """Return the labels as valid UTF-8: one bad text, for instance the name of a class, would fail the whole page."""
    return [label.encode(errors="backslashreplace").decode() for label in labels]
