"""The states of a version, and the status of models and versions as `GET /models`, `headserve models` and the log report it.

    START → VERIFYING → LOADING → WARMING → AVAILABLE → UNLOADING → END
               ↑           ↓         ↓                               ↓
               └───────── FAILED ←───┘ (also from VERIFYING)       START, when the version is wanted again

A failed version is retried when its folder changes, when an operator loads it, and, if the failure may pass, after a delay
that doubles. A version that is no longer wanted when it is warm goes from WARMING to UNLOADING without being served.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class State(StrEnum):
    """The state of a version; the names are TensorFlow Serving's."""

    START = "start"
    VERIFYING = "verifying"
    LOADING = "loading"
    WARMING = "warming"
    AVAILABLE = "available"
    UNLOADING = "unloading"
    END = "end"
    FAILED = "failed"


NEXT: Mapping[State, frozenset[State]] = {
    State.START: frozenset({State.VERIFYING}),
    State.VERIFYING: frozenset({State.LOADING, State.FAILED}),
    State.LOADING: frozenset({State.WARMING, State.FAILED}),
    State.WARMING: frozenset({State.AVAILABLE, State.UNLOADING, State.FAILED}),
    State.AVAILABLE: frozenset({State.UNLOADING}),
    State.UNLOADING: frozenset({State.END}),
    State.END: frozenset({State.START}),
    State.FAILED: frozenset({State.VERIFYING}),
}
"""The states that may follow each state."""

BUSY = frozenset({State.VERIFYING, State.LOADING, State.WARMING})
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


def each_version(statuses: Iterable[VersionStatus]) -> list[VersionStatus]:
    """Return one status per version, in ascending order. While a version is reloaded it has two; the serving one counts."""
    found: dict[int, VersionStatus] = {}
    for status in statuses:
        known = found.get(status.version)
        if known is None or known.state != State.AVAILABLE:
            found[status.version] = status
    return [found[version] for version in sorted(found)]


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
