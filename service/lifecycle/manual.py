"""Requests of an operator to load and unload models, with a future for each."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from service.errors import ModelLoadError, NotAvailableError, UnknownModelError
from service.lifecycle.model_versions import ModelVersions
from service.lifecycle.routing import Table

_STOPPING = "The server is about to end."


@dataclass(eq=False)
class _Request:
    model: str
    unload: bool
    future: "Future[None]" = field(default_factory=Future)

    def complete(self, error: Exception | None = None) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


class ManualLoads:
    """Requests to load and unload models: queued, accepted before a scan, begun after it.

    `request` and `cancel` may be called from any thread, the other methods from the manager's only.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._queued: list[_Request] = []
        self._accepted: list[_Request] = []
        self._begun: list[_Request] = []
        self._unloaded: set[str] = set()

    def request(self, model: str, *, unload: bool) -> "Future[None]":
        """Request that the model be served, or taken out of service."""
        request = _Request(model, unload)
        with self._lock:
            if self._closed:
                request.complete(NotAvailableError(_STOPPING))
            else:
                self._queued.append(request)
        return request.future

    def accept(self) -> None:
        """Take the requests from the queue, before the next scan of the disk."""
        with self._lock:
            self._accepted += self._queued
            self._queued = []

    def begin(self, models: Mapping[str, ModelVersions]) -> set[str]:
        """Apply the accepted requests, before the models are updated with what is on disk. Returns the models' names."""
        for request in self._accepted:
            if request.model not in models:
                continue
            if request.unload:
                self._unloaded.add(request.model)
            else:
                self._unloaded.discard(request.model)
                for record in models[request.model].records.values():
                    record.retry_now()
        for name, versions in models.items():
            versions.manually_unloaded = name in self._unloaded
        self._begun += self._accepted
        names = {request.model for request in self._accepted}
        self._accepted = []
        return names

    def finish(self, models: Mapping[str, ModelVersions], table: Table) -> None:
        """Complete the futures of finished requests, after the new table is published."""
        self._begun = [request for request in self._begun if not _finished(request, models, table)]

    def cancel(self) -> None:
        """Fail all present and later requests: the server is stopping."""
        with self._lock:
            self._closed = True
            waiting = (*self._queued, *self._accepted, *self._begun)
            self._queued, self._accepted, self._begun = [], [], []
        for request in waiting:
            request.complete(NotAvailableError(_STOPPING))


def _finished(request: _Request, models: Mapping[str, ModelVersions], table: Table) -> bool:
    """Complete the request's future if its outcome is known. Returns whether it is."""
    versions = models.get(request.model)
    if versions is None:
        try:
            table.route(request.model)
        except UnknownModelError as unknown:  # the message lists the models there are
            request.complete(unknown)
        return True
    if request.unload or versions.manually_unloaded:  # a later request may have unloaded what this one loaded
        request.complete()
        return True
    if not versions.decided:
        return False
    failed = [problem.message for problem in versions.problems if problem.kind == "version"]
    error = versions.status.error or (failed[-1] if failed else None)
    message = f"Model {request.model!r} does not load: {error}"
    request.complete(None if error is None else ModelLoadError(message, model=request.model))
    return True
