"""The spans of a version's runs, and what they say of the requests in them: what a batcher tells."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from service.lanes import Waiting
from service.traces.request import RequestTrace, current
from service.traces.spans import Spans


class BatchTraces:
    """What the batcher of one version calls. A run is recorded when one of its requests is."""

    def __init__(self, spans: Spans, model: str, version: int):
        self._spans = spans
        self._about = {"headserve.model": model, "headserve.version": version}

    def queued(self, requests: Sequence[Waiting]) -> None:
        """They wait from now on; called where the request is the current one."""
        trace = current.get()
        if trace is not None:
            trace.queued(requests)

    @contextmanager
    def run(self, batch: Sequence[Waiting]) -> Iterator[None]:
        """A block in which they are computed."""
        began_ns, error = time.monotonic_ns(), None
        traced: list[tuple[Waiting, RequestTrace]] = [
            (request, request.trace) for request in batch if request.trace is not None
        ]
        for request, trace in traced:
            trace.taken(request, began_ns)
        try:
            yield
        except Exception as raised:
            error = raised
            raise
        finally:
            if traced:
                self._ran(batch, traced, began_ns, error)

    def _ran(
        self, batch: Sequence[Waiting], traced: list[tuple[Waiting, RequestTrace]], began_ns: int, error: Exception | None
    ) -> None:
        ended_ns, first = time.monotonic_ns(), traced[0][1]
        about = {**self._about, "headserve.rows": sum(request.rows for request in batch), "headserve.requests": len(batch)}
        links = list(dict.fromkeys(trace.context for _, trace in traced))
        run = self._spans.add("batch", None, first.at(began_ns), first.at(ended_ns), links=links, attributes=about, error=error)
        for request, trace in traced:
            rows = {"headserve.rows": request.rows}
            times_ns = (trace.at(began_ns), trace.at(ended_ns))
            self._spans.add("compute", trace.context, *times_ns, links=[run], attributes=rows, error=error)
