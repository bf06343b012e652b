"""Verifies, loads and unloads versions in separate threads, so that nothing else waits for it."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import structlog

from service.errors import HeadserveError, ModelError, ModelLoadError, OutOfMemoryError, UnavailableError
from service.lifecycle.attempt import AbandonedError, Attempt
from service.lifecycle.disk import stamp
from service.lifecycle.record import Outcome, Record
from service.lifecycle.served_models import Loaded, Mark, State
from service.lifecycle.verification import verify
from service.models.options import ModelOptions
from service.models.signing import VersionFiles
from service.runtime.memory import give_back, load_tuning, resident_bytes

Load: TypeAlias = Callable[[str, int, Path, ModelOptions], Loaded]
"""Name, version, folder and options → the version in memory. Blocks; raises ModelLoadError or whatever TensorFlow raises."""

TRIALS_AHEAD = 3
"""Versions that are verified or tried out while others load: a trial that takes long keeps the next version waiting later."""
MAX_ABANDONED = 8
"""Loads that never return before no further one is begun: each keeps a thread, and what it has allocated."""
DECIDED_BY_FILES = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""Errors of the system that last until the version's files change."""
TRANSIENT_CODES = frozenset({1, 2, 4, 7, 8, 10, 13, 14})
"""Codes of transient TensorFlow errors: cancelled, unknown, deadline, permission, memory, aborted, internal, unavailable."""

log = structlog.get_logger("headserve.lifecycle")


class Guard(Protocol):
    """Decides whether a version may be loaded, as `service.trials.guard.Guard` does."""

    def admit(
        self, model: str, version: int, options: ModelOptions, files: VersionFiles, on_trial: Callable[[], None], *, again: bool
    ) -> Mark:
        """Return the mark of a version that may be loaded. Blocks; raises ModelLoadError for any other."""

    def prepare(self) -> None:
        """Prepare this process for its first load."""


class Loader:
    """Loads and unloads versions, each in a thread of its own, and calls `changed` after each step.

    Args:
        load: loads a version.
        threads: number of versions that load at a time.
        changed: called after each step.
        public_keys: PEM file; only versions that one of the keys has signed are loaded. None: signatures are not required.
        guard: decides whether a version may be loaded; None: every one may be.
        timeout_s: how long a step of a load may take before it is abandoned.
        clock: seconds, of which differences are taken.
    """

    def __init__(
        self,
        load: Load,
        threads: int,
        changed: Callable[[], None],
        public_keys: Path | None = None,
        *,
        guard: Guard | None = None,
        timeout_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.at_a_time = threads if guard is None else threads + TRIALS_AHEAD
        """Number of versions that may be busy: verified, tried, loaded or warmed up."""
        self._public_keys = public_keys
        self._load = load
        self._guard = guard
        self._timeout_s = timeout_s
        self._clock = clock
        self._changed = changed
        self._places = threading.Semaphore(threads)
        self._attempts: list[Attempt] = []
        self._unloads: list[_Unload] = []  # `append` and `remove` are atomic

    def load(self, record: Record) -> None:
        """Verify, try out, load and warm up a version in the background."""
        record.begin_load()
        attempt = Attempt(record, self._clock)
        self._attempts = [*(other for other in self._attempts if not other.ended), attempt]
        if sum(other.abandoned for other in self._attempts) >= MAX_ABANDONED:
            error = f"{MAX_ABANDONED} loads have not returned, and a thread cannot be ended; restart the server to load others."
            attempt.end(_failed(record, ModelLoadError(error, transient=True)))
            self._changed()
        else:
            _start(self._run_load, attempt)

    def abandon_overdue(self) -> None:
        """Fail the versions of which a step takes too long; wait no longer for unloads that take too long.

        Called by the thread that owns the records.
        """
        for unload in [unload for unload in list(self._unloads) if self._clock() - unload.began_s > self._timeout_s]:
            if self._end_unload(unload):
                disk, version = unload.record.disk, unload.record.id.version
                log.error("model does not end; its memory stays allocated", model=disk.model, version=version)
        for attempt in self._attempts:
            if attempt.step_s > self._timeout_s and (place := attempt.abandon()) is not None:
                record = attempt.record
                error = f"It was {record.state} for more than {self._timeout_s:g} s (--load-timeout-ms)."
                record.outcome = _failed(record, ModelLoadError(error))
                if place:
                    self._places.release()

    def unload(self, record: Record) -> None:
        """Close a version and free its memory in the background."""
        unload = _Unload(record, record.loaded, record.mark, self._clock())
        record.loaded = record.handle = record.mark = None
        self._unloads.append(unload)
        _start(self._run_unload, unload)

    def stop(self) -> None:
        """Begin no further step; running steps are not waited for."""
        for attempt in self._attempts:
            attempt.abandon()

    def _run_load(self, attempt: Attempt) -> None:
        outcome, taken_bytes = Outcome(), 0
        try:
            with load_tuning.active():
                taken_bytes = self._load_and_warm_up(attempt)
        except AbandonedError:
            pass
        except Exception as failure:
            attempt.discard()
            if not attempt.abandoned:  # otherwise its failure has been reported
                outcome = _failed(attempt.record, failure)
        if attempt.end(outcome, taken_bytes):
            self._places.release()
        self._changed()

    def _load_and_warm_up(self, attempt: Attempt) -> int:
        """Return the memory that the process has taken for the version, in bytes."""
        record = attempt.record
        folder, name, version = record.disk.folder, record.disk.model, record.id.version
        before = stamp(folder)
        files = verify(folder, self._public_keys)
        if self._guard is not None:
            on_trial, again = partial(self._begin_trial, attempt), record.by_hand
            attempt.mark = self._guard.admit(name, version, record.options, files, on_trial, again=again)
        attempt.pause()
        if self._guard is not None:
            self._guard.prepare()
        self._places.acquire()
        attempt.enter(State.LOADING, has_place=True)
        if attempt.mark is not None:
            attempt.mark.loading()
        self._changed()
        before_bytes = resident_bytes()  # not earlier: with the first version, TensorFlow has been imported meanwhile
        attempt.hold(self._load(name, version, folder, record.options))
        attempt.enter(State.WARMING, has_place=True)
        self._changed()
        attempt.warm_up()
        if stamp(folder) != before:  # the files that were loaded may not be those that were verified
            raise ModelLoadError(
                f"{folder} was changed while it was loaded; it is loaded again once it has settled. "
                "Rename a version into place after it is written.",
                transient=True,
            )
        if attempt.mark is not None:
            attempt.mark.loaded()
        return max(resident_bytes() - before_bytes, 0)

    def _begin_trial(self, attempt: Attempt) -> None:
        attempt.enter(State.TRIAL)
        attempt.pause()
        self._changed()

    def _run_unload(self, unload: "_Unload") -> None:
        name, version = unload.record.disk.model, unload.record.id.version
        try:
            if unload.loaded is not None:
                unload.loaded.close()
        except Exception:
            log.exception("model not closed", model=name, version=version)
        if unload.mark is not None:
            unload.mark.free()
        unload.loaded = unload.mark = None
        give_back()
        log.info("model unloaded", model=name, version=version)
        if self._end_unload(unload):
            self._changed()

    def _end_unload(self, unload: "_Unload") -> bool:
        """Pass on that the version is unloaded. Returns False if that was done before."""
        try:
            self._unloads.remove(unload)
        except ValueError:
            return False
        record = unload.record
        record.outcome = Outcome(record.error, transient=False)  # the error of a version that could not be served any more
        return True


@dataclass(eq=False)
class _Unload:
    """A version that is being unloaded."""

    record: Record
    loaded: Loaded | None
    mark: Mark | None
    began_s: float


def _start(work: Callable[[Any], None], argument: Any) -> None:
    # A thread for each piece of work: one that never ends keeps no other waiting. It has the normal priority, because
    # TensorFlow's own threads, which it starts, would inherit a lower one.
    threading.Thread(target=work, args=(argument,), name="loader", daemon=True).start()


def _failed(record: Record, failure: Exception) -> Outcome:
    """Log the failure of an attempt, and return it."""
    expected = isinstance(failure, HeadserveError)
    error = failure.message if isinstance(failure, HeadserveError) else f"{type(failure).__name__}: {failure}"
    retry = is_transient(failure)
    name, version = record.disk.model, record.id.version
    log.error("model failed", model=name, version=version, error=error, retry=retry, exc_info=not expected)
    return Outcome(error, retry)


def is_transient(failure: Exception) -> bool:
    """Return whether the next attempt may succeed with the same files.

    A failure of the model lasts until its files change, unless it is marked as transient or was caused by the system: an input
    or output error, a missing permission, too little memory. Any other exception is unexpected, and retried.
    """
    if not isinstance(failure, ModelError) or isinstance(failure, OutOfMemoryError):
        return True
    if isinstance(failure, ModelLoadError) and failure.transient:
        return True
    cause = failure.__cause__
    while cause is not None and not _of_the_system(cause):
        cause = cause.__cause__
    return cause is not None


def _of_the_system(cause: BaseException) -> bool:
    if isinstance(cause, OSError):
        return not isinstance(cause, DECIDED_BY_FILES)
    passing = isinstance(cause, MemoryError | OutOfMemoryError | UnavailableError)
    return passing or getattr(cause, "error_code", None) in TRANSIENT_CODES
