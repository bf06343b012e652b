"""The batcher with a model of NumPy, without TensorFlow: the answer to each row shows which row it was."""

import asyncio
import gc
import threading
import time
import weakref
from contextlib import contextmanager

import numpy as np
import pytest

from service.batching.batch import never_share
from service.batching.batcher import LONG_RUN_S, Batcher
from service.errors import DeadlineExceededError, ModelError, OverloadedError, RejectedByModelError, UnloadingError
from service.models.options import BatchingOptions
from tests.service.batches import BAD, NEGATIVE, TWICE
from tests.waiting import GENEROUS_S


class Clock:
    """A clock that stands still until a test sets it."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class Model:
    """Doubles and negates; refuses BAD; records the batches; waits for `gate`."""

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self.running = threading.Semaphore(0)

    def __call__(self, inputs, outputs):
        x = inputs["x"]
        self.batches.append((len(x), outputs))
        self.running.release()
        assert self.gate.wait(GENEROUS_S)
        if (x == BAD).any():
            raise RejectedByModelError("refused")
        if (x == -BAD).any():
            raise ZeroDivisionError("a bug")
        return {output: x * 2 if output == TWICE else -x for output in outputs}

    async def wait_until_running(self):
        assert await asyncio.to_thread(self.running.acquire, timeout=GENEROUS_S)


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def batcher(model, clock):
    """Makes a batcher from options; closes it at the end."""
    made = []

    def make(*runs, **options):
        arguments = {name: options.pop(name) for name in ("threads", "share", "on_batch", "tracer", "clock") if name in options}
        made.append(Batcher("m", runs or [model], BatchingOptions(**options), **arguments))
        return made[-1]

    yield make
    model.gate.set()
    clock.now_s += 1_000_000
    for batcher in made:
        batcher.close()


def rows(*values, dtype=np.int64):
    return {"x": np.array(values, dtype)}


async def twice(batcher, *values, **more):
    return (await batcher.submit(rows(*values), (TWICE,), **more))[TWICE].tolist()


async def becomes(condition):
    """Let the event loop run until the condition is true."""
    async with asyncio.timeout(GENEROUS_S):
        while not condition():
            await asyncio.sleep(0.001)


async def queued(batcher, count):
    """Wait until that many rows are in the queue."""
    await becomes(lambda: batcher.waiting_rows == count)


async def test_an_idle_batcher_runs_a_request_immediately(batcher, model):
    assert await twice(batcher(), 1, 2) == [2, 4]
    assert model.batches == [(2, (TWICE,))]


async def test_a_batch_grows_while_the_previous_one_computes(batcher, model):
    made = batcher()
    model.gate.clear()
    first = asyncio.create_task(twice(made, 1))
    await model.wait_until_running()
    others = [asyncio.create_task(twice(made, i)) for i in range(10)]
    await queued(made, 10)
    model.gate.set()
    assert await first == [2]
    assert await asyncio.gather(*others) == [[2 * i] for i in range(10)]
    assert [size for size, _ in model.batches] == [1, 10]


async def test_requests_of_one_turn_of_the_loop_share_a_batch(batcher, model):
    made = batcher()
    assert await asyncio.gather(*(twice(made, i) for i in range(5))) == [[2 * i] for i in range(5)]
    assert [size for size, _ in model.batches] == [5]


async def test_a_request_waits_for_others_until_the_batch_is_full(batcher, model, clock):
    made = batcher(batch_timeout_micros=10_000_000, max_batch_size=3, clock=clock)
    first = asyncio.create_task(twice(made, 1))
    await queued(made, 1)
    assert await asyncio.gather(first, twice(made, 2, 3)) == [[2], [4, 6]]
    assert [size for size, _ in model.batches] == [3]


async def test_a_request_waits_for_others_until_the_timeout(batcher):
    assert await twice(batcher(batch_timeout_micros=1000), 1) == [2]


async def test_closing_does_not_wait_for_the_timeout(batcher, clock):
    made = batcher(batch_timeout_micros=3_600_000_000, clock=clock)
    waiting = asyncio.create_task(twice(made, 1))
    await queued(made, 1)
    closing = asyncio.create_task(asyncio.to_thread(made.close))
    try:
        async with asyncio.timeout(10):
            assert await asyncio.shield(waiting) == [2]
    finally:
        clock.now_s += 3600
        await closing


async def test_the_time_in_the_queue_is_recorded_in_nanoseconds(batcher, model, clock):
    samples = []
    made = batcher(max_batch_size=2, clock=clock, on_batch=lambda sample, answers: samples.append(sample))
    model.gate.clear()
    running = asyncio.create_task(twice(made, 0))
    await model.wait_until_running()
    waiting = [asyncio.create_task(twice(made, i)) for i in (1, 2)]
    await queued(made, 2)
    clock.now_s += 2.5
    model.gate.set()
    await asyncio.gather(running, *waiting)
    assert [sample.queue_ns for sample in samples] == [[0], [2_500_000_000] * 2]


async def test_padding_is_in_no_answer(batcher, model):
    made = batcher(max_batch_size=8, allowed_batch_sizes=(4, 8))
    assert await twice(made, 1) == [2]
    assert await twice(made, 1, 2, 3, 4, 5) == [2, 4, 6, 8, 10]
    assert [size for size, _ in model.batches] == [4, 8]


async def test_a_large_request_is_split_and_joined(batcher, model):
    assert await twice(batcher(max_batch_size=3), *range(8)) == [2 * i for i in range(8)]
    assert [size for size, _ in model.batches] == [3, 3, 2]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        pytest.param(BAD, RejectedByModelError, "refused", id="refused"),
        pytest.param(-BAD, ModelError, "Model 'm' failed: ZeroDivisionError('a bug')", id="a bug of the model"),
    ],
)
async def test_one_bad_request_fails_alone(batcher, bad, error, message):
    made = batcher()
    values = [*range(6), bad, *range(6)]
    answers = await asyncio.gather(*(twice(made, value) for value in values), return_exceptions=True)
    failed = answers.pop(6)
    assert (type(failed), str(failed)) == (error, message)
    assert answers == [[2 * i] for i in [*range(6), *range(6)]]


async def test_a_part_that_fails_fails_its_request(batcher):
    made = batcher(max_batch_size=2)
    with pytest.raises(RejectedByModelError):
        await twice(made, 1, 2, BAD, 3, BAD)
    assert await twice(made, 1) == [2]
    assert made.waiting_rows == 0


async def test_other_shapes_and_dtypes_run_separately(batcher, model):
    made = batcher()
    answers = await asyncio.gather(
        made.submit(rows([1, 2]), (TWICE,)), made.submit(rows(1), (TWICE,)), made.submit(rows(1.5, dtype=float), (TWICE,))
    )
    assert [answer[TWICE].tolist() for answer in answers] == [[[2, 4]], [2], [3.0]]
    assert len(model.batches) == 3


async def test_inputs_of_variable_length_are_padded_if_the_option_is_set(batcher, model):
    made = batcher(pad_variable_length_inputs=True)
    answers = await asyncio.gather(made.submit(rows([1, 2]), (TWICE,)), made.submit(rows([3]), (TWICE,)))
    assert [answer[TWICE].tolist() for answer in answers] == [[[2, 4]], [[6, 0]]]
    assert len(model.batches) == 1


async def test_other_outputs_run_separately_or_share_a_run(batcher, model):
    both = (TWICE, NEGATIVE)
    for share, batches in ((never_share, [(1, (TWICE,)), (1, (NEGATIVE,))]), (lambda _: both, [(2, both)])):
        model.batches.clear()
        made = batcher(share=share)
        one, other = await asyncio.gather(made.submit(rows(1), (TWICE,)), made.submit(rows(1), (NEGATIVE,)))
        assert (list(one), list(other)) == ([TWICE], [NEGATIVE])
        assert model.batches == batches


async def test_a_request_that_must_run_alone_is_neither_stacked_nor_padded(batcher, model):
    made = batcher(allowed_batch_sizes=(4,), max_batch_size=4)
    await asyncio.gather(*(made.submit(rows(1), (TWICE,), alone=True) for _ in range(3)))
    assert [size for size, _ in model.batches] == [1, 1, 1]


async def test_an_output_without_rows_is_not_split(batcher):
    sizes = []

    def total(inputs, outputs):
        sizes.append(len(inputs["x"]))
        return {output: inputs["x"].sum(keepdims=True) for output in outputs}

    made = batcher(total)
    for _ in range(2):
        answers = await asyncio.gather(*(made.submit(rows(i, i), (TWICE,)) for i in range(3)))
        assert [answer[TWICE].tolist() for answer in answers] == [[0], [2], [4]]
    assert sizes == [6, 2, 2, 2, 2, 2, 2], "the second time, it is known"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda x: np.arange(3), id="constant"),
        pytest.param(lambda x: x.sum(keepdims=True), id="one row"),
        pytest.param(np.sum, id="no dimension"),
    ],
)
async def test_a_large_request_for_an_output_without_rows_runs_whole(batcher, wrong):
    """The parts of the request cannot be joined: the first answer must be right, like the second."""
    sizes = []

    def run(inputs, outputs):
        sizes.append(len(inputs["x"]))
        return {output: np.asarray(wrong(inputs["x"])) for output in outputs}

    made = batcher(run, max_batch_size=2)
    for _ in range(2):
        answer = (await made.submit(rows(*range(5)), (TWICE,)))[TWICE]
        assert answer.tolist() == np.asarray(wrong(np.arange(5))).tolist()
    assert sizes[-2:] == [5, 5]
    assert made.waiting_rows == 0


async def test_a_part_is_not_joined_whose_output_happens_to_have_as_many_rows(batcher):
    """The batch shows that the output cannot be split; alone, the part of two rows would look as if it could."""

    def run(inputs, outputs):
        return {output: np.arange(2) for output in outputs}

    made = batcher(run, max_batch_size=3)
    small, large = await asyncio.gather(made.submit(rows(7), (TWICE,)), made.submit(rows(*range(5)), (TWICE,)))
    assert (small[TWICE].tolist(), large[TWICE].tolist()) == ([0, 1], [0, 1])


async def test_a_request_without_rows_does_not_make_an_output_unsplittable(batcher, model):
    made = batcher(allowed_batch_sizes=(4,), max_batch_size=4)
    assert await twice(made) == []
    await asyncio.gather(twice(made, 1), twice(made, 2))
    assert [size for size, _ in model.batches] == [0, 4]


async def test_a_full_queue_refuses_immediately(batcher, model):
    made = batcher(max_batch_size=2, max_enqueued_batches=2)
    model.gate.clear()
    running = asyncio.create_task(twice(made, 0))
    await model.wait_until_running()
    waiting = asyncio.create_task(twice(made, 1, 2, 3))
    await queued(made, 3)
    with pytest.raises(OverloadedError, match=r"^Model 'm' has 3 rows waiting, and at most 4 may; try again later\.$"):
        await twice(made, 4, 5)
    last = asyncio.create_task(twice(made, 4))
    await queued(made, 4)
    model.gate.set()
    assert [await running, await waiting, await last] == [[0], [2, 4, 6], [8]]


async def test_a_refused_request_is_not_kept_until_its_deadline(batcher, model):
    made = batcher(max_batch_size=1, max_enqueued_batches=1)
    model.gate.clear()
    running = asyncio.create_task(twice(made, 0))
    await model.wait_until_running()
    waiting = asyncio.create_task(twice(made, 1))
    await queued(made, 1)
    refused = rows(2)
    kept = weakref.ref(refused["x"])
    with pytest.raises(OverloadedError):
        await made.submit(refused, (TWICE,), time.monotonic() + GENEROUS_S)
    del refused
    gc.collect()
    assert kept() is None
    model.gate.set()
    assert [await running, await waiting] == [[0], [2]]


async def test_an_answered_request_is_not_kept_until_its_deadline(batcher):
    made = batcher()
    answered = rows(1)
    kept = weakref.ref(answered["x"])
    assert (await made.submit(answered, (TWICE,), time.monotonic() + GENEROUS_S))[TWICE].tolist() == [2]
    assert await twice(made, 2) == [4], "the thread has let go of the batch before"
    del answered
    gc.collect()
    assert kept() is None


async def test_a_request_larger_than_the_queue_runs_when_it_is_empty(batcher):
    assert len(await twice(batcher(max_batch_size=2, max_enqueued_batches=1), *range(9))) == 9


async def running_until_its_deadline(made, model):
    """Return the task of a request that runs when its deadline passes; retried if the deadline passes before it runs."""
    while True:
        running = asyncio.create_task(twice(made, 1, deadline=time.monotonic() + 0.3))
        await becomes(lambda running=running: model.batches or running.done())
        if model.batches:
            return running
        with pytest.raises(DeadlineExceededError):
            await running


async def test_a_deadline_ends_waiting_and_running(batcher, model):
    made = batcher()
    model.gate.clear()
    running = await running_until_its_deadline(made, model)
    with pytest.raises(DeadlineExceededError):
        await twice(made, 2, deadline=time.monotonic() + 0.05)
    assert made.waiting_rows == 0, "it has left the queue"
    with pytest.raises(DeadlineExceededError, match="Model 'm' had no answer"):
        await running
    with pytest.raises(DeadlineExceededError, match="Model 'm' had no answer"):
        await twice(made, 3, deadline=time.monotonic())
    model.gate.set()
    assert await twice(made, 4) == [8]
    assert [size for size, _ in model.batches] == [1, 1], "a request after its deadline is not computed"


async def test_a_cancelled_request_leaves_the_queue(batcher, model):
    made = batcher()
    model.gate.clear()
    running = asyncio.create_task(twice(made, 1))
    await model.wait_until_running()
    waiting = [asyncio.create_task(twice(made, i)) for i in range(3)]
    await queued(made, 3)
    waiting[1].cancel()
    await queued(made, 2)
    running.cancel()
    model.gate.set()
    assert [await waiting[0], await waiting[2]] == [[0], [4]]


async def test_closing_finishes_queued_requests(batcher, model):
    made = batcher()
    model.gate.clear()
    tasks = [asyncio.create_task(twice(made, i)) for i in range(5)]
    await model.wait_until_running()
    tasks += [asyncio.create_task(twice(made, i)) for i in range(5)]
    await queued(made, 5)
    closing = asyncio.create_task(asyncio.to_thread(made.close))
    await becomes(lambda: made._closing)
    with pytest.raises(UnloadingError, match="Model 'm' is being unloaded; try again"):
        await twice(made, 1)
    assert not closing.done()
    model.gate.set()
    assert await asyncio.gather(*tasks) == [[2 * i] for i in [*range(5), *range(5)]]
    await closing


async def test_a_second_thread_helps_during_a_long_run(batcher, model):
    made = batcher(threads=2)
    model.gate.clear()
    first = asyncio.create_task(twice(made, 1))
    await model.wait_until_running()
    second = asyncio.create_task(twice(made, 2))
    await model.wait_until_running()
    model.gate.set()
    assert [await first, await second] == [[2], [4]]


async def test_replicas_share_the_work(batcher):
    models = [Model(), Model()]
    made = batcher(*models)
    for model in models:
        model.gate.clear()
    tasks = [asyncio.create_task(twice(made, 1))]
    await becomes(lambda: models[0].batches or models[1].batches)
    tasks.append(asyncio.create_task(twice(made, 2)))
    for model in models:  # both must run before either ends, as an idle one would take the second request
        await model.wait_until_running()
    for model in models:
        model.gate.set()
    assert await asyncio.gather(*tasks) == [[2], [4]]


@pytest.fixture
def turns(monkeypatch):
    """One entry for each turn of the event loop in which a batcher decides whether to wake a thread."""
    calls = []
    decide = Batcher._wake_worker

    def counted(batcher, loop):
        calls.append(batcher.waiting_rows)
        decide(batcher, loop)

    monkeypatch.setattr(Batcher, "_wake_worker", counted)
    return calls


@pytest.mark.parametrize(
    ("last", "arrivals", "waiting"),
    [
        pytest.param(1, [1], [1], id="a lone request"),
        pytest.param(3, [3], [3], id="as many as in the last batch"),
        pytest.param(3, [2], [2, 2], id="fewer, and no more in the next turn"),
        pytest.param(3, [1, 1, 1], [1, 2, 3], id="one in each turn, until there are as many"),
        pytest.param(9, [1, 1, 1, 1, 1], [1, 2, 3, 4, 5], id="one in each turn, until the maximum of turns"),
    ],
)
async def test_turns_of_the_loop_before_a_thread_is_woken(batcher, model, turns, monkeypatch, last, arrivals, waiting):
    monkeypatch.setattr("service.batching.batcher.MAX_TURNS", 4)
    made = batcher()
    model.gate.clear()
    running = [asyncio.create_task(twice(made, i)) for i in range(last)]
    await model.wait_until_running()
    assert turns == [last]
    turns.clear()

    async def arrive(turn):
        for _ in range(turn):
            await asyncio.sleep(0)
        return await twice(made, turn)

    arriving = [asyncio.create_task(arrive(turn)) for turn, count in enumerate(arrivals) for _ in range(count)]
    await becomes(lambda: len(turns) >= len(waiting))
    for _ in range(3):
        await asyncio.sleep(0)
    assert turns == waiting
    model.gate.set()
    await asyncio.gather(*running, *arriving)
    assert [size for size, _ in model.batches] == [last, sum(arrivals)]


async def test_after_a_short_run_the_next_requests_of_answered_clients_join_the_waiting_ones(batcher, model, clock):
    made = batcher(clock=clock)

    async def client():
        return [await twice(made, 1), await twice(made, 2)]

    model.gate.clear()
    answered = asyncio.create_task(client())
    await model.wait_until_running()
    waiting = asyncio.create_task(twice(made, 3))
    await queued(made, 1)
    model.gate.set()
    assert [await answered, await waiting] == [[[2], [4]], [6]]
    assert [size for size, _ in model.batches] == [1, 2]


@pytest.mark.parametrize("duration_s", [LONG_RUN_S, 1.0])
async def test_after_a_long_run_waiting_requests_run_without_the_loop(batcher, model, clock, duration_s):
    clock.now_s = 0.0

    def run(inputs, outputs):
        answer = model(inputs, outputs)
        clock.now_s += duration_s
        return answer

    made = batcher(run, clock=clock)
    model.gate.clear()
    first = asyncio.create_task(twice(made, 1))
    await model.wait_until_running()
    second = asyncio.create_task(twice(made, 2))
    await queued(made, 1)
    model.gate.set()
    assert model.running.acquire(timeout=GENEROUS_S), "the event loop stands still meanwhile"
    assert [await first, await second] == [[2], [4]]


async def test_an_idle_replica_does_not_wait_for_a_helper(batcher, model, clock, monkeypatch):
    with monkeypatch.context() as without_helpers:
        without_helpers.setattr("service.batching.batcher.LONG_RUN_S", 1e6)
        made = batcher(threads=2, clock=clock)
        for value in (1, 2):
            assert await twice(made, value) == [2 * value]
            await model.wait_until_running()
    model.gate.clear()
    running = []
    for i in range(2):
        running.append(asyncio.create_task(twice(made, i)))
        await model.wait_until_running()
    model.gate.set()
    await asyncio.gather(*running)
    monkeypatch.setattr("service.batching.batcher.LONG_RUN_S", 1e6)
    assert await twice(made, 3) == [6], "neither thread of the replica runs any more"


async def test_the_second_batch_of_a_turn_runs_on_an_idle_replica(batcher):
    models = [Model(), Model()]
    for model in models:
        model.gate.clear()
    made = batcher(*models, max_batch_size=1)
    tasks = [asyncio.create_task(twice(made, i)) for i in (1, 2)]
    for model in models:
        await model.wait_until_running()
    for model in models:
        model.gate.set()
    assert await asyncio.gather(*tasks) == [[2], [4]]


async def test_a_closed_loop_does_not_delay_the_requests_of_another(batcher, model, clock):
    made = batcher(clock=clock)
    model.gate.clear()

    async def end_during_the_run():
        task = asyncio.create_task(twice(made, 1))
        await model.wait_until_running()
        assert not task.done()

    await asyncio.to_thread(asyncio.run, end_during_the_run())
    waiting = asyncio.create_task(twice(made, 2))
    await queued(made, 1)
    model.gate.set()
    assert await waiting == [4]


async def test_the_errors_of_all_parts_are_retrieved(batcher, model, clock):
    """Otherwise the event loop logs that nobody has retrieved them."""
    logged = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: logged.append(context["message"]))

    def run(inputs, outputs):
        clock.now_s += 1  # a long run: the thread does not wait for the loop
        return model(inputs, outputs)

    made = batcher(run, max_batch_size=2, clock=clock)
    model.gate.clear()
    large = asyncio.create_task(twice(made, BAD, 1, BAD, 2))
    await model.wait_until_running()
    last = asyncio.create_task(twice(made, 3))
    await queued(made, 3)
    model.gate.set()
    for _ in range(2):
        assert model.running.acquire(timeout=GENEROUS_S), "the event loop stands still until both parts have failed"
    with pytest.raises(RejectedByModelError):
        await large
    assert await last == [6]
    del large
    gc.collect()
    assert logged == []


async def test_the_deadline_holds_for_a_request_that_runs_again_as_a_whole(batcher, clock):
    def total(inputs, outputs):
        clock.now_s += 10
        return {output: inputs["x"].sum(keepdims=True) for output in outputs}

    made = batcher(total, max_batch_size=2, clock=clock)
    with pytest.raises(DeadlineExceededError):
        await twice(made, *range(5), deadline=clock.now_s + 5)


class Tracer:
    """Records the rows of each request, and whether it is a part, when it is queued and when it is run."""

    def __init__(self):
        self.requests, self.runs = [], []

    def queued(self, requests):
        self.requests.append([(request.rows, request.is_part) for request in requests])

    @contextmanager
    def run(self, batch):
        self.runs.append([(request.rows, request.is_part) for request in batch])
        yield


async def test_a_tracer_gets_every_queued_request_and_every_run(batcher, clock):
    tracer = Tracer()
    made = batcher(tracer=tracer, max_batch_size=3, clock=clock)
    await twice(made, 1, 2, 3)
    await twice(made, 1, 2, 3, 4)
    with pytest.raises(DeadlineExceededError):
        await twice(made, 5, deadline=clock.now_s)
    assert tracer.requests == [[(3, False)], [(3, True), (1, True)]]
    assert tracer.runs == [[(3, False)], [(3, True)], [(1, True)]]


@pytest.mark.parametrize(("given", "counted"), [(7, 7), (None, 1)])
async def test_rows_of_a_request_whose_inputs_do_not_show_them(batcher, model, given, counted):
    made = batcher()
    model.gate.clear()
    running = asyncio.create_task(twice(made, 1))
    await model.wait_until_running()
    inputs = {"x": np.array([1, 2]), "limit": np.array(5)}
    waiting = asyncio.create_task(made.submit(inputs, (TWICE,), rows=given, alone=True))
    await queued(made, counted)
    model.gate.set()
    await running
    assert (await waiting)[TWICE].tolist() == [2, 4]


async def test_threads_have_names_and_do_not_keep_the_process_alive(batcher):
    seen = []

    def run(inputs, outputs):
        seen.append(threading.current_thread())
        return dict.fromkeys(outputs, inputs["x"] * 2)

    await twice(batcher(run), 1)
    assert seen[0].daemon
    assert not seen[0].name.startswith("Thread-")
