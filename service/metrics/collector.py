"""Reads the recorders and the manager's statuses when somebody asks."""

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector as Base

from service.lifecycle.manager import Manager
from service.lifecycle.status import VersionStatus
from service.lifecycle.versions import IN_MEMORY, State
from service.metrics.families import FAMILIES, Family
from service.metrics.heads import HeadRecorder
from service.metrics.histogram import Histogram
from service.metrics.recorder import Recorder
from service.types import Loaded


class Collector(Base):
    """The values of all `FAMILIES`, of the versions that are on disk or served at that time.

    Args:
        manager: knows the versions.
        recorder: finds that of a loaded version.
    """

    def __init__(self, manager: Manager, recorder: Callable[[Loaded], Recorder | None]):
        self._manager = manager
        self._recorder = recorder

    def describe(self) -> Iterable[Family]:
        """The metrics, without values."""
        return [family.empty for family in FAMILIES]

    def collect(self) -> Iterable[Family]:
        """The metrics, with values."""
        page = _Page()
        for status in self._manager.statuses.values():
            for version in sorted({it.version for it in status.versions}):
                page.version((status.name, str(version)), [it for it in status.versions if it.version == version])
        for loaded in self._manager.served:
            recorder = self._recorder(loaded)
            if recorder is not None:
                page.served((loaded.spec.name, str(loaded.spec.version)), loaded.waiting_rows, recorder)
        return page.families.values()


class _Page:
    """One scrape, being written."""

    def __init__(self) -> None:
        self.families: dict[str, Family] = {family.name: family.empty for family in FAMILIES}

    def version(self, labels: tuple[str, str], statuses: list[VersionStatus]) -> None:
        """A version; there are two statuses of it while its reloaded self takes over."""
        states = {it.state for it in statuses}
        for state in State:
            self._put("headserve_version_state", (*labels, state.value), state.value in states)
        resident = sum(it.resident_bytes for it in statuses if it.state in IN_MEMORY)
        self._put("headserve_version_resident_bytes", labels, resident)
        self._put("headserve_loads_total", labels, sum(it.loads for it in statuses))
        self._put("headserve_load_failures_total", labels, sum(it.failures for it in statuses))

    def served(self, labels: tuple[str, str], waiting_rows: int, recorder: Recorder) -> None:
        """A version that is served."""
        with recorder.folded():
            self._put("headserve_queue_rows", labels, waiting_rows)
            self._put("headserve_rejected_total", labels, recorder.rejected)
            self._put("headserve_expired_total", labels, recorder.expired)
            for asked, count in recorder.requests.items():
                self._put("headserve_requests_total", (*labels, *asked), count)
            for phase, seconds in recorder.seconds.items():
                self._fill("headserve_request_seconds", (*labels, phase), seconds)
            self._fill("headserve_batch_rows", labels, recorder.rows)
            for head in recorder.heads:
                self._head((*labels, head.spec.name), head)

    def _head(self, labels: tuple[str, ...], head: HeadRecorder) -> None:
        if head.counts is not None:
            counts: dict[str, int] = {}
            for name, count in zip(head.spec.classes or (), head.counts.tolist(), strict=True):
                counts[name] = counts.get(name, 0) + count
            for name, count in counts.items():
                self._put("headserve_predictions_total", (*labels, name), count)
        if head.scores is not None:
            self._fill("headserve_score_ratio", labels, head.scores)
        if head.unsure is not None:
            self._put("headserve_unsure_total", labels, head.unsure)

    def _put(self, name: str, labels: tuple[str, ...], value: float) -> None:
        family = self.families[name]
        if isinstance(family, CounterMetricFamily | GaugeMetricFamily):
            family.add_metric(labels, float(value))

    def _fill(self, name: str, labels: tuple[str, ...], histogram: Histogram) -> None:
        family = self.families[name]
        if isinstance(family, HistogramMetricFamily):
            family.add_metric(labels, histogram.buckets, histogram.sum)
