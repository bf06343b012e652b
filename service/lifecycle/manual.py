"""Requests to load and unload models, with a future for each: those of an operator, and those of clients that need a model."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from service.errors import ModelLoadError, NotAvailableError, UnknownModelError
from service.lifecycle.model_versions import ModelVersions
from service.lifecycle.routing import Table

BY_HAND = "It was unloaded on request; it is served again when it is loaded on request."
ON_DEMAND = "It is loaded at its first request."

Kind: TypeAlias = Literal["load", "unload", "demand"]
"""`demand` loads a model that is loaded at its first request, but none that was unloaded by hand."""

_STOPPING = "The server is about to end."


@dataclass(eq=False)
class _Request:
    model: str
    kind: Kind
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

    `request` and `cancel` may be called from any thread, the other methods from the manager's only. With `on_demand`, a model
    is out of service until a request needs it.
    """

    def __init__(self, *, on_demand: bool = False) -> None:
        self._on_demand = on_demand
        self._lock = threading.Lock()
        self._closed = False
        self._queued: list[_Request] = []
        self._accepted: list[_Request] = []
        self._begun: list[_Request] = []
        self._unloaded: set[str] = set()
        """Names of the models that were unloaded by hand, and not loaded since."""
        self._demanded: set[str] = set()
        """Names of the models that were requested, and not put back since."""

    def request(self, model: str, kind: Kind) -> "Future[None]":
        """Request that the model be served, or taken out of service."""
        request = _Request(model, kind)
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
            if request.kind == "unload":
                self._unloaded.add(request.model)
                continue
            self._demanded.add(request.model)
            if request.kind == "load":
                self._unloaded.discard(request.model)
                for record in models[request.model].records.values():
                    record.retry_now()
        for versions in models.values():
            self._apply(versions)
        self._begun += self._accepted
        names = {request.model for request in self._accepted}
        self._accepted = []
        return names

    def put_back(self, versions: ModelVersions) -> None:
        """Take the model out of service until the next request for it."""
        self._demanded.discard(versions.name)
        self._apply(versions)

    def _apply(self, versions: ModelVersions) -> None:
        by_hand = versions.name in self._unloaded
        versions.on_demand = self._on_demand and not by_hand
        waits = versions.on_demand and versions.name not in self._demanded
        versions.unloaded = BY_HAND if by_hand else ON_DEMAND if waits else None

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
    if request.kind == "unload" or versions.unloaded is not None:  # by a later request, after this one
        request.complete()
        return True
    if not versions.decided:
        return False
    failed = [problem.message for problem in versions.problems if problem.kind == "version"]
    error = versions.status.error or (failed[-1] if failed else None)
    message = f"Model {request.model!r} does not load: {error}"
    request.complete(None if error is None else ModelLoadError(message, model=request.model))
    return True
