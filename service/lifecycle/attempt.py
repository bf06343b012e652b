"""One attempt to load a version, which the manager's thread may abandon."""

import math
import threading
from collections.abc import Callable
from contextlib import suppress

import structlog

from service.lifecycle.record import Outcome, Record
from service.lifecycle.served_models import Loaded, Mark, State
from service.runtime.memory import give_back

log = structlog.get_logger("headserve.lifecycle")


class AbandonedError(Exception):
    """The attempt was abandoned; its thread ends."""


class Attempt:
    """One load of a version: what its thread may still change in the record, and when its present step began."""

    def __init__(self, record: Record, clock: Callable[[], float]):
        self.record = record
        self.mark: Mark | None = None
        self.abandoned = False
        self.ended = False
        self._clock = clock
        self._began_s = clock()
        self._has_place = False
        self._loaded: Loaded | None = None
        self._lock = threading.Lock()

    @property
    def step_s(self) -> float:
        """Seconds since the present step began; negative while none runs."""
        return -math.inf if self.ended or self.abandoned else self._clock() - self._began_s

    def pause(self) -> None:
        """Begin no step yet: the version waits, or is tried out, which has limits of its own. Raises AbandonedError."""
        with self._lock:
            if self.abandoned:
                raise AbandonedError
            self._began_s = math.inf

    def enter(self, state: State, *, has_place: bool = False) -> None:
        """Begin the next step. Raises AbandonedError."""
        with self._lock:
            self._has_place = has_place
            if self.abandoned:
                raise AbandonedError
            self.record.enter(state)
            self._began_s = self._clock()

    def hold(self, loaded: Loaded) -> None:
        """Keep the loaded version, whose runs are marked from here on."""
        self._loaded = loaded
        if self.mark is not None:
            loaded.mark_runs(self.mark)

    def warm_up(self) -> None:
        """Warm the loaded version up."""
        assert self._loaded is not None
        self._loaded.warm_up()

    def discard(self) -> None:
        """Close what was loaded."""
        if self._loaded is not None:
            with suppress(Exception):  # the failed attempt is the error to report
                self._loaded.close()
            self._loaded = None
            give_back()
        if self.mark is not None:
            self.mark.free()
            self.mark = None

    def abandon(self) -> bool | None:
        """Let the thread change nothing any more. Returns whether it had a place; None if the attempt has ended meanwhile."""
        with self._lock:
            if self.ended or self.abandoned:
                return None
            self.abandoned = True
            return self._has_place

    def end(self, outcome: Outcome, resident_bytes: int = 0) -> bool:
        """Pass on the outcome; an abandoned attempt closes what it has loaded. Returns whether its place is free now."""
        with self._lock:
            self.ended = True
            if not self.abandoned:
                record = self.record
                record.loaded, record.mark, record.outcome = self._loaded, self.mark, outcome
                record.resident_bytes = 0 if outcome.error is not None else resident_bytes
                return self._has_place
        self.discard()
        log.info("abandoned load ended", model=self.record.disk.model, version=self.record.id.version)
        return False
