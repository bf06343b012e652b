"""The places for runs on the replicas of a model: which one gets the next run, and which runs have not returned in time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.batching.batch import Run
from service.batching.request_queue import QueuedRequest

LOST_AFTER_S = 60.0
"""Time after which a run is lost that nobody waits for, since its requests were cancelled or are past their deadlines."""


@dataclass(eq=False, slots=True)
class Slot:
    """A place for one run at a time.

    Attributes:
        replica: number of the replica.
        run: computes a batch on it.
        busy: whether a thread works in the slot.
        lost: whether its run is lost, and another slot has replaced it.
        batch: the requests that are being run.
        unawaited_since_s: since when nobody waits for their answers; infinite while somebody does.
    """

    replica: int
    run: Run
    busy: bool = False
    lost: bool = False
    batch: Sequence[QueuedRequest] = ()
    unawaited_since_s: float = math.inf

    def begin(self, batch: Sequence[QueuedRequest]) -> None:
        """Set the batch that is being run."""
        self.batch = batch
        self.unawaited_since_s = math.inf

    def is_awaited(self, now_s: float) -> bool:
        """Return whether somebody waits for an answer of its run."""
        return any(request.awaited(now_s) for request in self.batch)

    def is_overdue(self, now_s: float) -> bool:
        """Return whether its run is lost. Call it from time to time: it notes since when nobody waits for the run."""
        if not self.batch or self.is_awaited(now_s):
            return False
        self.unawaited_since_s = min(self.unawaited_since_s, now_s)
        return now_s - self.unawaited_since_s >= LOST_AFTER_S


class Slots:
    """The slots of all replicas. The caller holds the batcher's lock."""

    def __init__(self, runs: Sequence[Run], threads: int):
        self._slots = [Slot(replica, run) for _ in range(threads) for replica, run in enumerate(runs)]
        self._busy = [0] * len(runs)
        self._lost: list[Slot] = []
        self.max_lost = len(self._slots)
        """Number of lost runs for which other threads start: as many as there are slots."""

    @property
    def lost(self) -> int:
        """Number of lost runs that have not returned yet."""
        return len(self._lost)

    def idle(self) -> Slot | None:
        """Return an idle slot of the least loaded replica."""
        found = None
        for slot in self._slots:
            if not slot.busy:
                if not self._busy[slot.replica]:
                    return slot
                if found is None or self._busy[slot.replica] < self._busy[found.replica]:
                    found = slot
        return found

    def claim_on_idle_replica(self) -> tuple[Slot | None, bool]:
        """Claim a slot of a replica without runs. Returns None if there is none, and whether another slot is idle."""
        slot = self.idle()
        if slot is None or self._busy[slot.replica]:
            return None, slot is not None
        slot.busy = True
        self._busy[slot.replica] = 1
        return slot, False

    def claim(self, slot: Slot) -> None:
        """Make an idle slot busy."""
        slot.busy = True
        self._busy[slot.replica] += 1

    def free(self, slot: Slot) -> None:
        """Make the slot idle; remove it if its run was lost."""
        slot.busy = False
        if slot.lost:
            self._lost.remove(slot)
        else:
            self._busy[slot.replica] -= 1

    def replace_overdue(self, now_s: float) -> int:
        """Replace the slots of lost runs by idle ones; return how many were found."""
        overdue = [slot for slot in self._slots if slot.is_overdue(now_s)]
        for slot in overdue:
            slot.lost = True
            self._lost.append(slot)
            self._busy[slot.replica] -= 1
            self._slots[self._slots.index(slot)] = Slot(slot.replica, slot.run)
        return len(overdue)

    def awaited(self, now_s: float) -> bool:
        """Return whether the answer of a run is still awaited."""
        return any(slot.is_awaited(now_s) for slot in self._slots)

    def clear(self) -> int:
        """Drop all slots, because they hold the model; return the number of runs that have not returned."""
        running = sum(bool(slot.batch) for slot in (*self._slots, *self._lost))
        self._slots.clear()
        return running
