"""The served models as the rest of the server sees them: states, statuses, and the interfaces of manager and versions.

A version goes through these states:

    START → VERIFYING → TRIAL → LOADING → WARMING → AVAILABLE → UNLOADING → END
               ↑          ↓        ↓         ↓          ↓                    ↓
               └─────── FAILED ←───┴─────────┴──────────┘                  START, when the version is wanted again

An available version whose runs do not return is unloaded, and goes from UNLOADING to FAILED.
TRIAL is left out for trusted versions, and for those that have come through one before.

A failed version is retried when its folder changes, when an operator loads it, and, if the failure may pass, after a delay
that doubles. A version that is no longer wanted when it is warm goes from WARMING to UNLOADING without being served.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from service.counters import Statistics
from service.models.options import ModelOptions
from service.types import Array, InferRequest, ModelSpec, Output


class State(StrEnum):
    """The state of a version; the names are TensorFlow Serving's."""

    START = "start"
    VERIFYING = "verifying"
    TRIAL = "trial"
    LOADING = "loading"
    WARMING = "warming"
    AVAILABLE = "available"
    UNLOADING = "unloading"
    END = "end"
    FAILED = "failed"


NEXT: Mapping[State, frozenset[State]] = {
    State.START: frozenset({State.VERIFYING}),
    State.VERIFYING: frozenset({State.TRIAL, State.LOADING, State.FAILED}),
    State.TRIAL: frozenset({State.LOADING, State.FAILED}),
    State.LOADING: frozenset({State.WARMING, State.FAILED}),
    State.WARMING: frozenset({State.AVAILABLE, State.UNLOADING, State.FAILED}),
    State.AVAILABLE: frozenset({State.UNLOADING}),
    State.UNLOADING: frozenset({State.END, State.FAILED}),
    State.END: frozenset({State.START}),
    State.FAILED: frozenset({State.VERIFYING}),
}
"""The states that may follow each state."""

BUSY = frozenset({State.VERIFYING, State.TRIAL, State.LOADING, State.WARMING})
"""The states in which the loader works on a version."""

IN_MEMORY = BUSY | {State.AVAILABLE, State.UNLOADING}


@dataclass(frozen=True)
class Problem:
    """A folder, an option or a version that is not served as configured."""

    kind: Literal["folder", "options", "version"]
    """`folder`: cannot be served; `options`: `models.toml` names a missing model or version; `version`: failed to load."""
    model: str
    message: str
    """The problem and its fix."""
    folder: str | None = None
    """The path in the models folder, of a problem with a folder."""
    version: int | None = None
    """The version that failed to load; its status has the error too."""


@dataclass(frozen=True)
class VersionStatus:
    """One version that is on disk or in memory."""

    version: int
    state: str
    """One of `State`; `start` while the version is not wanted."""
    wanted: bool
    """Whether the version policy selects this version."""
    error: str | None
    """Why the last attempt to load it failed."""
    attempts: int
    """Failed attempts since the last successful one."""
    times: Mapping[str, float]
    """When the version last entered each state, in seconds since 1970."""
    load_s: float | None
    """Seconds from the first check of the files to serving."""
    file_bytes: int
    resident_bytes: int
    """Memory that loading added to the process; 0 for a version that is not in memory."""
    requests: int
    """Requests that have used the version."""
    loads: int = 0
    """Successful loads since the server started."""
    failures: int = 0
    """Failed loads since the server started."""


def by_version(statuses: Iterable[VersionStatus]) -> dict[int, VersionStatus]:
    """Return one status for each version. A version that is being loaded again has two; the one that is served counts."""
    found: dict[int, VersionStatus] = {}
    for status in statuses:
        known = found.get(status.version)
        if known is None or known.state != State.AVAILABLE:
            found[status.version] = status
    return found


@dataclass(frozen=True)
class LabelStatus:
    """The version of a label, and whether it is served."""

    version: int
    available: bool


@dataclass(frozen=True)
class ModelStatus:
    """A model: the version that is, or should be, served by default, and all versions."""

    name: str
    version: int
    state: Literal["available", "loading", "failed", "unloaded"]
    error: str | None
    """Why no version is served."""
    versions: tuple[VersionStatus, ...]
    labels: Mapping[str, LabelStatus] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """What differs from the configuration, although some version is served."""


@dataclass(frozen=True)
class FileStatus:
    """Path and error of `models.toml`."""

    path: str
    error: str | None


class Mark(Protocol):
    """Marks that this process loads and runs a version, for the next process if this one dies: `with mark:` around each run."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
    def loading(self) -> None: ...
    def loaded(self) -> None: ...
    def free(self) -> None: ...


class Loaded(Protocol):
    """One version of a model in memory, as `service.runtime.model.Model` implements it."""

    statistics: Statistics
    """Counts and times of requests and batches."""

    @property
    def spec(self) -> ModelSpec:
        """Inputs, heads and signatures."""

    @property
    def waiting_rows(self) -> int:
        """Rows in the queue."""

    def warm_up(self) -> None:
        """Run every batch size and head once, so that the first requests are not slow. Blocks; raises ModelLoadError."""

    def mark_runs(self, mark: Mark) -> None:
        """Mark each run from here on."""

    def check_runs(self) -> str | None:
        """Replace threads whose runs do not return; return why the version cannot be served any more, or None."""

    async def infer(self, request: InferRequest, deadline: float | None, rows: int | None) -> Mapping[Output, Array]:
        """Compute the requested outputs. `deadline` is in seconds of `time.monotonic`."""

    def close(self) -> None:
        """Free the memory. Blocks; called once, after the last request."""


class ServedModels(Protocol):
    """The models that a request can see: `Manager` shows all of them, `AuthorizedManager` those that the request's key is for.

    `Manager` documents the methods. Those with a model's name raise UnknownModelError and, in `AuthorizedManager`,
    InsufficientScopeError.
    """

    @property
    def statuses(self) -> Mapping[str, ModelStatus]: ...
    @property
    def specs(self) -> list[ModelSpec]: ...
    @property
    def served(self) -> list[Loaded]: ...
    @property
    def models_file(self) -> FileStatus: ...
    @property
    def problems(self) -> tuple[Problem, ...]: ...
    @property
    def settled(self) -> bool: ...
    @property
    def draining(self) -> bool: ...
    def knows(self, model: str) -> bool: ...
    def options(self, model: str) -> ModelOptions: ...
    def status(self, model: str) -> ModelStatus: ...
    def acquire(self, model: str, version: int | None = None, label: str | None = None) -> AbstractContextManager[Loaded]: ...
    def lookup(self, model: str, version: int | None = None, label: str | None = None) -> Loaded: ...
    def loads_on_demand(self, model: str) -> bool: ...
    def demand(self, model: str) -> "Future[None]": ...
    def load(self, model: str) -> "Future[None]": ...
    def unload(self, model: str) -> "Future[None]": ...
