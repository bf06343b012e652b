"""The threads that the batchers of all models share."""

import asyncio
import threading

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.batching.batcher import Batcher
from service.batching.workers import Workers
from service.models.options import BatchingOptions
from tests.service.batches import TWICE
from tests.waiting import GENEROUS_S, until

MODELS = 100


def doubled(inputs, outputs):
    return {TWICE: inputs["x"] * 2}


async def answer(batcher, value):
    return (await batcher.submit({"x": np.array([value])}, (TWICE,)))[TWICE].tolist()


def threads_of(workers):
    """The threads in which `workers` has run a job, as they do it."""
    seen, both = [], threading.Barrier(2)

    def job(release):
        seen.append(threading.current_thread())
        release()
        both.wait(GENEROUS_S)

    workers.start(job)
    both.wait(GENEROUS_S)
    return seen


def test_a_released_thread_gets_the_next_job():
    workers = Workers()
    assert threads_of(workers) == threads_of(workers)


def test_a_thread_ends_after_it_was_idle():
    (thread,) = threads_of(Workers(idle_s=0.001))
    thread.join(GENEROUS_S)
    assert not thread.is_alive()


def test_jobs_of_many_threads_all_run_while_idle_threads_end():
    """A thread that is about to end must run a job that it was given meanwhile."""
    workers, done = Workers(idle_s=0), threading.Semaphore(0)

    def give():
        for _ in range(200):
            workers.start(lambda release: done.release())

    givers = [threading.Thread(target=give) for _ in range(4)]
    for giver in givers:
        giver.start()
    for _ in range(4 * 200):
        assert done.acquire(timeout=GENEROUS_S)


def test_a_job_that_raises_is_logged_and_its_thread_goes_on():
    workers = Workers()

    def broken(release):
        seen.append(threading.current_thread())
        raise ZeroDivisionError

    seen = []
    with capture_logs() as logged:
        workers.start(broken)
        until(lambda: logged)
    until(lambda: workers._idle)
    assert threads_of(workers) == seen


async def test_idle_models_hold_no_threads():
    workers, others = Workers(idle_s=0.01), threading.active_count()
    batchers = [Batcher(str(i), [doubled], BatchingOptions(), threads=2, workers=workers) for i in range(MODELS)]
    assert threading.active_count() == others
    assert await asyncio.gather(*(answer(batcher, i) for i, batcher in enumerate(batchers))) == [[2 * i] for i in range(MODELS)]
    await asyncio.to_thread(until, lambda: not workers._idle)
    assert await answer(batchers[0], 1) == [2]


async def test_models_share_threads():
    seen = set()

    def run(inputs, outputs):
        seen.add(threading.current_thread())
        return doubled(inputs, outputs)

    workers = Workers()
    for i in range(MODELS):
        assert await answer(Batcher(str(i), [run], BatchingOptions(), threads=2, workers=workers), i) == [2 * i]
    assert len(seen) <= 2, "one, or two if the first had not ended its job yet"


async def test_waiting_for_a_batch_takes_no_thread():
    workers = Workers()
    batcher = Batcher("m", [doubled], BatchingOptions(batch_timeout_micros=3_600_000_000, max_batch_size=2), workers=workers)
    first = asyncio.create_task(answer(batcher, 1))
    await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert batcher.waiting_rows == 1
    assert not workers._idle
    assert await asyncio.gather(first, answer(batcher, 2)) == [[2], [4]]


class RefusedOnce(Workers):
    """Workers of a system that does not allow the first thread."""

    refused = False

    def start(self, job):
        if not self.refused:
            self.refused = True
            raise RuntimeError("can't start new thread")
        super().start(job)


async def test_a_thread_that_the_system_refuses_is_started_later():
    batcher = Batcher("m", [doubled], BatchingOptions(), workers=RefusedOnce())
    with capture_logs() as logged:
        assert await asyncio.wait_for(answer(batcher, 1), GENEROUS_S) == [2]
    refused = {"event": "no thread for a run", "model": "m", "error": "can't start new thread", "log_level": "error"}
    assert logged == [refused]


@pytest.mark.parametrize("threads", [1, 3])
async def test_no_more_runs_at_a_time_than_a_replica_may_have(threads):
    running, most, lock = 0, 0, threading.Lock()

    def run(inputs, outputs):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1
        return doubled(inputs, outputs)

    batcher = Batcher("m", [run], BatchingOptions(max_batch_size=1), threads=threads, workers=Workers())
    await asyncio.gather(*(answer(batcher, i) for i in range(30)))
    assert most <= threads


def test_a_thread_that_gets_a_job_while_it_is_about_to_end():
    workers, done, idled = Workers(idle_s=0.01), [], []
    workers.start(lambda release: done.append(1))
    until(lambda: workers._idle)
    worker = workers._idle.pop()  # as `start` takes it, before it puts the job
    ends = worker._ends
    worker._ends = lambda: idled.append(1) or ends()
    until(lambda: idled)
    worker.jobs.put(lambda release: done.append(2))
    until(lambda: done == [1, 2])
