"""The routing table: which loaded version a request gets, and the handle by which the request holds it.

The table is immutable; the manager replaces the whole table.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from service.errors import ModelLoadError, NotAvailableError, UnknownLabelError, UnknownModelError, UnknownVersionError
from service.lifecycle.served_models import Loaded, ModelStatus
from service.messages import did_you_mean, listed
from service.models.options import ModelOptions


class VersionHandle:
    """Counts the holders of a loaded version; `on_idle` is called once, after `retire()`, when there are none.

    Every method may be called from any thread.
    """

    def __init__(self, loaded: Loaded, on_idle: Callable[[], None]):
        self.loaded = loaded
        self.requests = 0
        """How often the version has been taken since it was loaded."""
        self.used_s = time.monotonic()
        """When the version was last taken, or loaded."""
        self._on_idle = on_idle
        self._lock = threading.Lock()
        self._holders = 0
        self._retired = False

    def __enter__(self) -> Loaded:
        """Return the version that `take` has taken; leaving the block releases it."""
        return self.loaded

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> bool:
        """Hold the version until `release()`. Returns False if it is retired."""
        with self._lock:
            if self._retired:
                return False
            self._holders += 1
            self.requests += 1
            self.used_s = time.monotonic()
            return True

    def release(self) -> None:
        """Undo one `take`."""
        with self._lock:
            self._holders -= 1
            idle = self._retired and not self._holders
        if idle:
            self._on_idle()

    def retire(self) -> None:
        """Make every further `take` fail."""
        with self._lock:
            idle = not (self._retired or self._holders)
            self._retired = True
        if idle:
            self._on_idle()


@dataclass(frozen=True)
class Route:
    """One model: its status, its available versions, its options, and whether a request loads it."""

    status: ModelStatus
    available: Mapping[int, VersionHandle]
    options: ModelOptions
    on_demand: bool = False

    def find(self, version: int | None, label: str | None) -> VersionHandle:
        """Return the handle of a version; the newest one by default. Raises what `Table.find` does."""
        if label is not None:
            version = self._labelled(label)
        elif version is None:
            version = self.status.version
        found = self.available.get(version)
        if found is None:
            self._refuse(version, label)
        return found

    def _labelled(self, label: str) -> int:
        labels = self.options.labels
        if label not in labels:
            raise UnknownLabelError(
                f"Model {self.status.name!r} has no label {label!r}; it has {listed(labels)}.{did_you_mean(label, labels)}",
                model=self.status.name,
                label=label,
                expected=list(labels),
            )
        return labels[label]

    def _refuse(self, version: int, label: str | None) -> NoReturn:
        name = self.status.name
        if self.status.state == "unloaded":
            raise NotAvailableError(f"Model {name!r} is not served. {self.status.error}", model=name)
        known = next((status for status in self.status.versions if status.version == version), None)
        if known is not None and known.wanted:
            if known.error is not None:
                raise ModelLoadError(f"Model {name!r}, version {version}, failed to load: {known.error}", model=name)
            message = f"Model {name!r}, version {version}, is not served yet: {known.state}; try again."
            raise NotAvailableError(message, model=name)
        if label is not None:
            raise NotAvailableError(f"Label {label!r} of model {name!r} points to version {version}, which is not served.")
        served = sorted(self.available)
        *most, last = map(str, served) if served else ("",)
        there = f"versions {', '.join(most)} and {last} are" if most else f"version {last} is" if served else "none is"
        on_disk = " It is on disk, but not loaded." if known is not None else ""
        raise UnknownVersionError(
            f"Model {name!r} has no version {version} to serve; {there}.{on_disk}",
            model=name,
            version=version,
            expected=served,
        )


@dataclass(frozen=True)
class Table:
    """Every model, by name, in alphabetical order."""

    routes: Mapping[str, Route] = field(default_factory=dict)

    def route(self, model: str, version: int | None = None) -> Route:
        """Return a model's route. Raises UnknownModelError, with the requested version in its details."""
        route = self.routes.get(model)
        if route is None:
            raise UnknownModelError(
                f"There is no model {model!r}; there are {listed(self.routes)}.{did_you_mean(model, self.routes)}",
                model=model,
                version=version,
                expected=list(self.routes),
            )
        return route

    def find(self, model: str, version: int | None, label: str | None) -> VersionHandle:
        """Return the handle of the version that a request names; the newest one by default.

        Raises:
            UnknownModelError, UnknownVersionError, UnknownLabelError: the message lists what there is.
            NotAvailableError: the version is not loaded yet, or no longer.
            ModelLoadError: the version is on disk but failed to load.
        """
        return self.route(model, version).find(version, label)
