"""The record of one version of one model: state, attempts and memory."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from service.lifecycle.disk import Fingerprint, FolderWatch, VersionOnDisk
from service.lifecycle.policy import Id, Snapshot
from service.lifecycle.routing import VersionHandle
from service.lifecycle.served_models import NEXT, Loaded, Mark, State
from service.messages import readable
from service.models.options import ModelOptions

RETRY_FIRST_S = 1.0
RETRY_CAP_S = 300.0


@dataclass(frozen=True)
class Outcome:
    """How the loader's work on a version ended.

    Attributes:
        error: why the version could not be loaded; None if it is warm, or closed.
        transient: whether the next attempt may succeed with the same files.
    """

    error: str | None = None
    transient: bool = True


@dataclass
class LoadCounts:
    """Successful and failed loads of a version, kept when its folder or its options change."""

    loads: int = 0
    failures: int = 0


@dataclass
class Record:
    """One version of one model, with the options that it is loaded with.

    The manager's thread owns it. A loader's thread calls `enter` and sets `loaded`, `resident_bytes` and `outcome`.
    """

    id: Id
    disk: VersionOnDisk
    options: ModelOptions
    clock: Callable[[], float] = time.monotonic
    state: State = State.START
    times: dict[str, float] = field(default_factory=lambda: {State.START.value: time.time()})
    """When the version last entered each state, in seconds since 1970."""
    error: str | None = None
    """Why the last attempt failed; None after a successful one."""
    attempts: int = 0
    """Failed attempts since the last successful one."""
    counts: LoadCounts = field(default_factory=LoadCounts)
    retry_at: float = 0.0
    """When the next attempt may begin, in seconds of `clock`; infinite if the same files would fail again."""
    file_bytes: int = 0
    resident_bytes: int = 0
    """Memory that loading and warm-up added to the process; exact when one version loads at a time."""
    taken_bytes: int = 0
    """The memory of the last successful load, also after the version was unloaded."""
    loaded: Loaded | None = None
    handle: VersionHandle | None = None
    outcome: Outcome | None = None
    """How the loader's work ended, until the manager's thread has applied it."""
    mark: Mark | None = None
    """The mark of the version in memory."""
    by_hand: bool = False
    """Whether an operator has asked for the next attempt."""
    idle: bool = False
    """Whether the last request has released the retired version."""
    settled: bool = False
    """Whether the folder has stopped changing."""

    def __post_init__(self) -> None:
        self._folder = FolderWatch(self.disk.folder, self.clock)
        self._tried: Fingerprint | None = None

    def begin_load(self) -> None:
        """Start an attempt with the files as they are now."""
        self._tried = self._folder.fingerprint
        self.file_bytes = self._tried.bytes if self._tried else 0
        self.enter(State.VERIFYING)

    def enter(self, state: State) -> None:
        """Change the state, and note the time."""
        if state not in NEXT[self.state]:
            raise RuntimeError(f"{self.disk.model} {self.id}: {self.state.name} must not become {state.name}.")
        self.state = state
        self.times[state.value] = time.time()

    def finish(self) -> None:
        """Apply the loader's outcome, except for a warm version: `serve` decides on that one."""
        if self.outcome is None or self.warm:
            return
        if self.state is State.UNLOADING:
            self.resident_bytes = 0
        if self.outcome.error is not None:
            self._fail(self.outcome)
        else:
            self.enter(State.END)
        self.outcome = None

    @property
    def warm(self) -> bool:
        """Whether the version is loaded and warm, but neither served nor unloaded yet."""
        return self.state is State.WARMING and self.outcome is not None and self.outcome.error is None

    def serve(self, loaded: Loaded, on_idle: Callable[[], None], *, wanted: bool) -> None:
        """Make a warm version available, or unload it if it is no longer wanted."""
        self.outcome = None
        self.handle = VersionHandle(loaded, on_idle)
        self.attempts, self.error, self.taken_bytes = 0, None, self.resident_bytes
        self.counts.loads += 1
        if wanted:
            self.enter(State.AVAILABLE)
        else:
            self.enter(State.UNLOADING)
            self.handle.retire()

    def unload(self) -> VersionHandle | None:
        """Return the handle, which the caller retires once requests can no longer find the version."""
        self.enter(State.UNLOADING)
        return self.handle

    def give_up(self, reason: str) -> VersionHandle | None:
        """Unload a version that cannot be served any more; it fails once it is unloaded. Returns the handle, as `unload`."""
        self.error = reason
        return self.unload()

    def retry_now(self) -> None:
        """Begin the next attempt without delay, because an operator asks for it."""
        self.by_hand = True
        self.retry_at = 0.0

    @property
    def memory_bytes(self) -> int:
        """Memory that the version takes once it is loaded: as the last load has shown, at least the size of its files."""
        seen = self._folder.fingerprint
        return max(self.taken_bytes, seen.bytes if seen is not None else 0)

    @property
    def decided(self) -> bool:
        """Whether the version is served, or has failed since the last `retry_now`."""
        return self.state is State.AVAILABLE or (self.state is State.FAILED and self.retry_at > 0)

    @property
    def pending(self) -> bool:
        """Whether the next step is to load the version."""
        return self.state in {State.START, State.FAILED}

    def replaced_by(self, disk: VersionOnDisk, options: ModelOptions) -> bool:
        """Whether that folder or those options require another load."""
        mine = self.options
        unchanged = (mine.batching, mine.compute, mine.heads) == (options.batching, options.compute, options.heads)
        unchanged = unchanged and mine.trusted == options.trusted
        unchanged = unchanged and (self.state is not State.FAILED or mine.trial == options.trial)
        return not unchanged or self.disk.marker != disk.marker

    def check_folder(self, settle_s: float) -> None:
        """Set `settled`: whether the folder has been unchanged for `settle_s`, by the disk's clock or by this process's."""
        self._folder.check()
        seen = self._folder.fingerprint
        age_s = 0.0 if seen is None else max(self._folder.unchanged_s, time.time() - seen.changed_at)
        self.settled = seen is not None and age_s >= settle_s

    @property
    def due(self) -> bool:
        """Whether an attempt may begin: a failed version waits, unless its folder has changed."""
        seen = self._folder.fingerprint
        changed = self._tried is None or seen is None or seen.entries != self._tried.entries
        return self.settled and (self.state is not State.FAILED or changed or self.clock() >= self.retry_at)

    @property
    def snapshot(self) -> Snapshot:
        """The facts that decisions are made from."""
        return Snapshot(self.id, self.state, self.error is not None and self.state is not State.AVAILABLE, self.due)

    def _fail(self, failed: Outcome) -> None:
        self.attempts += 1
        self.counts.failures += 1
        self.error = readable(failed.error or "")  # it may quote the name of a file
        self.retry_at = self.clock() + retry_delay_s(self.attempts) if failed.transient else math.inf
        self.enter(State.FAILED)


def retry_delay_s(attempts: int) -> float:
    """Return the seconds to wait after so many failed attempts: 1, 2, 4 … at most 300."""
    return min(RETRY_FIRST_S * 2.0 ** min(attempts - 1, 30), RETRY_CAP_S)
