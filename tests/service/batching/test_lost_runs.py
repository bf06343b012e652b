"""Runs that do not return: their threads are replaced within a bound, and nothing waits for them."""

import asyncio
import threading

import numpy as np
import pytest

from service.batching.batcher import Batcher
from service.batching.slots import LOST_AFTER_S
from service.batching.workers import Workers
from service.errors import DeadlineExceededError, UnloadingError
from service.models.options import BatchingOptions
from tests.service.batches import TWICE
from tests.service.batching.test_batcher import Clock, becomes, queued
from tests.waiting import GENEROUS_S

HANGS = 7


class Model:
    """Doubles; a run with the value HANGS does not return before `gate` is set."""

    def __init__(self):
        self.gate = threading.Event()
        self.hanging = 0

    def __call__(self, inputs, outputs):
        if (inputs["x"] == HANGS).any():
            self.hanging += 1
            self.gate.wait()
            self.hanging -= 1
        return {TWICE: inputs["x"] * 2}


@pytest.fixture
def model():
    model = Model()
    yield model
    model.gate.set()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def batcher(model, clock):
    return Batcher("m", [model], BatchingOptions(max_batch_size=1), threads=2, clock=clock, workers=Workers())


async def answer(batcher, value, deadline=None):
    return (await batcher.submit({"x": np.array([value])}, (TWICE,), deadline))[TWICE].tolist()


async def hang(batcher, model, clock):
    """Run a request that does not return, with a deadline in 1000 s, and cancel it."""
    before = model.hanging
    request = asyncio.create_task(answer(batcher, HANGS, clock() + 1000))
    await becomes(lambda: model.hanging == before + 1)
    request.cancel()
    await becomes(request.done)


async def lose(batcher, model, clock):
    """Run a request that does not return, and let its run be found as lost."""
    await hang(batcher, model, clock)
    assert batcher.replace_overdue() == 0
    clock.now_s += LOST_AFTER_S
    assert batcher.replace_overdue() == 1


async def test_a_lost_run_is_replaced(batcher, model, clock):
    for _ in range(2):
        await hang(batcher, model, clock)
    waiting = asyncio.create_task(answer(batcher, 1))
    await queued(batcher, 1)
    assert batcher.replace_overdue() == 0, "they have time left"
    clock.now_s += LOST_AFTER_S
    assert batcher.replace_overdue() == 2
    assert batcher.lost_runs == batcher.max_lost_runs == 2
    assert await waiting == [2]
    assert batcher.replace_overdue() == 0, "each is counted once"


async def test_a_lost_run_that_returns_frees_its_place(batcher, model, clock):
    await lose(batcher, model, clock)
    model.gate.set()
    await becomes(lambda: batcher.lost_runs == 0)
    assert await asyncio.gather(*(answer(batcher, i) for i in range(5))) == [[2 * i] for i in range(5)]


async def test_a_run_is_not_lost_while_somebody_waits_for_it(model, clock):
    batcher = Batcher("m", [model], BatchingOptions(max_batch_size=2), clock=clock, workers=Workers())
    requests = [asyncio.create_task(answer(batcher, HANGS, clock() + s)) for s in (1, 10_000)]
    await becomes(lambda: model.hanging == 1)
    for passed_s, lost in ((5_000, 0), (4_999, 0), (1, 0), (LOST_AFTER_S - 1, 0), (1, 1)):
        clock.now_s += passed_s
        assert batcher.replace_overdue() == lost
    for request in requests:
        request.cancel()


async def test_the_time_without_anybody_waiting_is_that_of_one_run(batcher, model, clock):
    await hang(batcher, model, clock)
    assert batcher.replace_overdue() == 0
    model.gate.set()
    await becomes(lambda: model.hanging == 0)
    model.gate.clear()
    for _ in range(2):  # both slots are busy
        await hang(batcher, model, clock)
    clock.now_s += LOST_AFTER_S
    assert batcher.replace_overdue() == 0


async def test_a_batcher_that_has_failed_refuses_queued_and_new_requests(batcher, model, clock):
    for _ in range(2):
        await hang(batcher, model, clock)
    waiting = asyncio.create_task(answer(batcher, 1))
    await queued(batcher, 1)
    batcher.fail("it hangs")
    for refused in (waiting, answer(batcher, 2)):
        with pytest.raises(UnloadingError, match="'m' is being unloaded: it hangs; try again"):
            await refused
    assert batcher.waiting_rows == 0


@pytest.mark.parametrize("ends", ["cancelled", "past its deadline"])
async def test_closing_does_not_wait_for_a_run_that_nobody_waits_for(batcher, model, clock, ends):
    request = asyncio.create_task(answer(batcher, HANGS, clock() + 1000))
    await becomes(lambda: model.hanging == 1)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    await becomes(lambda: batcher._closing)
    assert not closing.done(), "somebody waits for it"
    if ends == "cancelled":
        request.cancel()
    else:
        clock.now_s += 1000
    assert await asyncio.wait_for(closing, GENEROUS_S) == 1
    assert model.hanging == 1
    request.cancel()


async def test_closing_knows_the_deadline_of_a_request_that_runs_alone(batcher, model, clock):
    request = asyncio.create_task(batcher.submit({"x": np.array([HANGS])}, (TWICE,), clock() + 1000, alone=True))
    await becomes(lambda: model.hanging == 1)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    await becomes(lambda: batcher._closing)
    assert not closing.done(), "somebody waits for it"
    clock.now_s += 1000
    assert await asyncio.wait_for(closing, GENEROUS_S) == 1
    request.cancel()


async def test_closing_with_lost_runs_finishes_the_others(batcher, model, clock):
    await lose(batcher, model, clock)
    others = [asyncio.create_task(answer(batcher, i)) for i in range(5)]
    await asyncio.sleep(0)  # they are submitted
    assert await asyncio.wait_for(asyncio.to_thread(batcher.close), GENEROUS_S) == 1
    assert await asyncio.gather(*others) == [[2 * i] for i in range(5)]


async def test_closing_does_not_wait_for_requests_that_no_thread_can_run(batcher, model, clock):
    for _ in range(2):
        await hang(batcher, model, clock)
    late = asyncio.create_task(answer(batcher, 1, clock() + 0.2))
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    with pytest.raises(DeadlineExceededError):
        await late
    assert await asyncio.wait_for(closing, GENEROUS_S) == 2
