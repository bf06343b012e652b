"""Reads counts, statuses and devices when Prometheus scrapes the server, and writes the page of metrics."""

from collections.abc import Iterable

import numpy as np
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from service.counters import Counts, Rejections
from service.counters.heads import HeadCounts
from service.counters.histogram import ROWS, Histogram
from service.lifecycle.served_models import IN_MEMORY, Loaded, ServedModels, State, VersionStatus
from service.metrics.families import FAMILIES, Family
from service.runtime import devices


class Metrics(Collector):
    """The metrics of one application and its process. The registry is not global: a process can have several applications.

    Args:
        manager: has the versions.
        rejections: requests that were rejected before they had a version, and refused connections.
    """

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

    def describe(self) -> Iterable[Family]:
        """Return the metrics without samples."""
        return [family.empty for family in FAMILIES]

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
        self.families: dict[str, Family] = {family.name: family.empty for family in FAMILIES}

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
        times = [totals.infer.count for totals in counts.by_rows.values()]
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
        family = self.families[name]
        if isinstance(family, CounterMetricFamily | GaugeMetricFamily):
            family.add_metric(_texts(labels), float(value))

    def _fill(self, name: str, labels: tuple[str, ...], histogram: Histogram) -> None:
        family = self.families[name]
        if isinstance(family, HistogramMetricFamily):
            family.add_metric(_texts(labels), histogram.buckets, histogram.sum)


def _texts(labels: tuple[str, ...]) -> list[str]:
    """Return the labels as valid UTF-8: the name of a folder may be any bytes."""
    return [label.encode(errors="backslashreplace").decode() for label in labels]
