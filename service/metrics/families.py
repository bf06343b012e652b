"""Every metric of ours: kind, name, labels and help."""

from typing import NamedTuple, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

_KINDS: dict[str, type[Family]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
_VERSION = ("model", "version")
_HEAD = (*_VERSION, "head")


class Described(NamedTuple):
    """One metric, before it has values; a counter's name ends in `_total`."""

    kind: str
    name: str
    labels: tuple[str, ...]
    help: str

    @property
    def empty(self) -> Family:
        """It, to be given values."""
        return _KINDS[self.kind](self.name, self.help, labels=self.labels)


FAMILIES = (
    Described(
        "counter",
        "headserve_requests_total",
        (*_VERSION, "api", "status"),
        "Requests for predictions that have ended, and any other that is refused for its key, in number.",
    ),
    Described(
        "counter",
        "headserve_head_requests_total",
        (*_VERSION, "api", "head", "status"),
        "Heads that requests have asked for, in number: one for several heads counts for each of them.",
    ),
    Described(
        "counter",
        "headserve_connections_refused_total",
        ("reason",),
        "Connections that were refused, or cut while a client was too slow, in number.",
    ),
    Described("counter", "headserve_rejected_total", _VERSION, "Requests that found the queue full (429), in number."),
    Described("counter", "headserve_expired_total", _VERSION, "Requests that had no answer in time (504), in number."),
    Described(
        "histogram",
        "headserve_request_seconds",
        (*_VERSION, "outcome"),
        "Time of a request from when its body is there until its answer is, in seconds.",
    ),
    Described(
        "histogram",
        "headserve_phase_seconds",
        (*_VERSION, "phase"),
        "Time of a request's decode, queue and encode, and of a run's compute, in seconds.",
    ),
    Described("histogram", "headserve_batch_rows", _VERSION, "Size of a run, in rows without padding."),
    Described("gauge", "headserve_queue_rows", _VERSION, "Requests that wait for a run, in rows."),
    Described("counter", "headserve_loads_total", _VERSION, "Times that the version was loaded, in number."),
    Described(
        "counter",
        "headserve_reloads_total",
        _VERSION,
        "Times that it was loaded again: its folder or its options had changed, or it had been unloaded, in number.",
    ),
    Described("counter", "headserve_load_failures_total", _VERSION, "Times that it could not be loaded, in number."),
    Described(
        "gauge", "headserve_version_state", (*_VERSION, "state"), "1 for the state that the version is in, 0 for others."
    ),
    Described("gauge", "headserve_version_resident_bytes", _VERSION, "Memory that loading it took, in bytes; 0 if unloaded."),
    Described(
        "gauge",
        "headserve_device_memory_bytes",
        ("device", "kind"),
        "Memory of a GPU that TensorFlow uses, in bytes: now, and at most so far.",
    ),
    Described("counter", "headserve_predictions_total", (*_HEAD, "class"), "Predictions of the class, in rows."),
    Described(
        "histogram",
        "headserve_score_ratio",
        _HEAD,
        "Largest probability of a row (logistic, where the head has no probabilities), as a ratio of 0 to 1.",
    ),
    Described("counter", "headserve_unsure_total", _HEAD, "Predictions whose largest probability is below 0.5, in rows."),
)
"""All but those of the process (`process_…`), which are prometheus-client's."""
