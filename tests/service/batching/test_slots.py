"""Which replica a run gets, and what becomes of the slot of a run that does not return."""

import numpy as np
import pytest

from service.batching.request_queue import QueuedRequest
from service.batching.slots import LOST_AFTER_S, Slot, Slots


class Future:
    """The future of a request whose client has left."""

    def done(self) -> bool:
        return True


def lose(slot: Slot, slots: Slots) -> None:
    """Let nobody wait for the slot's run any more, until it is lost."""
    slot.begin([QueuedRequest({"x": np.zeros(1)}, (), 1, None, Future(), 0.0)])
    assert slots.replace_overdue(0.0) == 0
    assert slots.replace_overdue(LOST_AFTER_S + 1) == 1


@pytest.fixture
def slots() -> Slots:
    """Two replicas with two threads each."""
    return Slots([lambda inputs, outputs: {}, lambda inputs, outputs: {}], 2)


def test_runs_are_spread_over_replicas_before_one_gets_a_second(slots):
    first, _ = slots.claim_on_idle_replica()
    second, _ = slots.claim_on_idle_replica()
    assert {first.replica, second.replica} == {0, 1}
    assert slots.claim_on_idle_replica() == (None, True), "a helper may join"
    slots.claim(slots.idle())
    slots.claim(slots.idle())
    assert slots.idle() is None
    assert slots.claim_on_idle_replica() == (None, False)


def test_the_replica_of_a_lost_run_is_idle_again(slots):
    slot, _ = slots.claim_on_idle_replica()
    lose(slot, slots)
    assert {slots.claim_on_idle_replica()[0].replica for _ in range(2)} == {0, 1}
    assert slots.claim_on_idle_replica() == (None, True)


def test_a_lost_run_that_returns_frees_no_second_slot(slots):
    lost, _ = slots.claim_on_idle_replica()
    lose(lost, slots)
    slots.free(lost)
    assert slots.lost == 0
    claimed = [slots.claim_on_idle_replica()[0] for _ in range(3)]
    assert [slot is None for slot in claimed] == [False, False, True]
