import asyncio
import threading
import time

import numpy as np
import pytest

from service.batching.batcher import Batcher
from service.counters import BatchSample, RequestSample, Statistics
from service.counters import statistics as module
from service.counters.statistics import MANY, MANY_BYTES
from service.errors import RequestError
from service.models.options import BatchingOptions
from service.types import HeadSpec, TensorSpec

Y, IDS, PROBABILITIES = ("h", "y"), ("h", "class_ids"), ("h", "probabilities")
EIGHT = {"max_batch_size": 8, "allowed_batch_sizes": (8,)}
HEADS = (
    HeadSpec(
        "h", (TensorSpec("class_ids", "int64", (-1, 1)), TensorSpec("probabilities", "float32", (-1, 2))), classes=("a", "b")
    ),
)


def asked(status: int = 200, outputs=(Y,), api: str = "native") -> RequestSample:
    return RequestSample(api, status, outputs, 1, 2, 3)


def ran(rows: int, *queue_ns: int) -> BatchSample:
    return BatchSample(rows, queue_ns or [10], 1, 2, 3)


def test_requests_by_protocol_head_and_status():
    statistics = Statistics()
    two = (("a", "x"), ("a", "y"), ("b", "x"))
    for sample in (
        asked(),
        asked(),
        asked(outputs=two),
        asked(429, two, "v1")._replace(queue_full=True),
        asked(504),
        asked(422, (), "v2"),
    ):
        statistics.request(sample)
    with statistics.counted() as counts:
        assert counts.requests == {("native", 200): 3, ("v1", 429): 1, ("native", 504): 1, ("v2", 422): 1}
        assert counts.head_requests == {
            ("native", "h", 200): 2,
            ("native", "a", 200): 1,
            ("native", "b", 200): 1,
            ("v1", "a", 429): 1,
            ("v1", "b", 429): 1,
            ("native", "h", 504): 1,
        }
        assert (counts.rejected, counts.expired) == (1, 1)
        assert (counts.success.count, counts.fail.count, counts.success.total) == (3, 3, 18)
        assert (counts.seconds["decode"].count, counts.seconds["encode"].count) == (6, 3)


def test_equal_outputs_in_different_tuples_are_the_same():
    statistics = Statistics()
    for _ in range(3):
        statistics.request(asked(outputs=tuple([("h", "x"), ("h", "y")])))  # noqa: C409 - a new one each time
    with statistics.counted() as counts:
        assert (counts.requests, counts.head_requests) == ({("native", 200): 3}, {("native", "h", 200): 3})


def test_runs():
    statistics = Statistics()
    before = time.time()
    for sample in (BatchSample(3, [10, 20], 1, 2, 3), BatchSample(3, [5], 10, 20, 30), BatchSample(1, [0], 100, 200, 300)):
        statistics.batch(sample)
    for _ in range(2):  # reading takes nothing away
        with statistics.counted() as counts:
            assert (counts.rows, counts.seconds["queue"].count, counts.seconds["queue"].total) == (7, 4, 35)
            assert (counts.seconds["compute"].count, counts.seconds["compute"].total) == (3, 666)
            assert (counts.computed.runs, counts.computed.infer_ns) == (3, 222)
            assert {rows: (of.input_ns, of.infer_ns, of.output_ns) for rows, of in counts.by_rows.items()} == {
                3: (11, 22, 33),
                1: (100, 200, 300),
            }
            assert before <= counts.last_at <= time.time()
    statistics.batch(BatchSample(1, [7], 1, 1, 1))
    with statistics.counted() as counts:
        assert (counts.by_rows[1].runs, counts.by_rows[1].infer_ns, counts.computed.infer_ns) == (2, 201, 223)


def test_answers_of_all_kinds():
    """Runs of all outputs, of some, of different ones for each request, and with another shape of a row."""
    statistics = Statistics(HEADS)
    statistics.batch(ran(2), [{IDS: np.array([[0], [1]]), PROBABILITIES: np.array([[0.9, 0.1], [0.4, 0.4]], np.float32)}])
    statistics.batch(ran(1), [{IDS: np.array([[1]]), Y: np.array(["x"])}])
    statistics.batch(ran(3), [{IDS: np.array([[1], [1]])}, {PROBABILITIES: np.array([[0.0, 1.0]], np.float32)}])
    statistics.batch(ran(1), [{IDS: np.array([0, 0])}])
    statistics.batch(ran(1), [{IDS: np.array(0)}])
    with statistics.counted() as counts:
        (head,) = counts.heads
        assert head.by_class == {"a": 4, "b": 4 + 1}  # the last one by its probabilities
        assert (head.scores.count, head.unsure) == (3, 1)


@pytest.mark.parametrize(
    "probabilities",
    [
        pytest.param(np.zeros((1, 3), np.float32), id="of more classes"),
        pytest.param(np.zeros((1, 2, 2), np.float32), id="of another rank"),
        pytest.param(np.float32(0.5), id="of no row"),
    ],
)
def test_probabilities_that_show_no_class(probabilities):
    statistics = Statistics(HEADS)
    statistics.batch(ran(1), [{PROBABILITIES: probabilities}])
    statistics.batch(ran(2), [{PROBABILITIES: np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)}])
    with statistics.counted() as counts:
        assert counts.heads[0].by_class == {"a": 1, "b": 1}


@pytest.fixture
def counted_at_a_time(monkeypatch):
    """The numbers of requests and runs that were counted at a time."""
    counted_at_a_time, original = [], module._removed
    monkeypatch.setattr(module, "_removed", lambda samples: counted_at_a_time.append(len(samples)) or original(samples))
    return counted_at_a_time


def test_requests_are_counted_many_at_a_time(counted_at_a_time):
    statistics = Statistics()
    for _ in range(2 * MANY - 1):
        statistics.request(asked())
    assert counted_at_a_time == [MANY, 0]
    with statistics.counted() as counts:
        assert counts.requests == {("native", 200): 2 * MANY - 1}
    assert counted_at_a_time == [MANY, 0, MANY - 1, 0]


def test_large_answers_are_counted_soon(counted_at_a_time):
    statistics = Statistics(HEADS)
    rows = MANY_BYTES // 8
    statistics.batch(ran(rows), [{Y: np.zeros(rows)}])
    assert counted_at_a_time == []
    statistics.batch(ran(rows), [{IDS: np.ones((rows, 1), np.int64)}])
    assert counted_at_a_time == [0, 2]
    with statistics.counted() as counts:
        assert counts.heads[0].by_class == {"a": 0, "b": rows}


def test_the_memory_of_uncounted_runs_is_bounded(counted_at_a_time):
    statistics = Statistics()
    for _ in range(5000):
        statistics.batch(ran(1))
    assert counted_at_a_time
    assert max(counted_at_a_time) < 5000
    with statistics.counted() as counts:
        assert counts.rows == 5000


def test_a_request_does_not_wait_for_a_reader():
    statistics = Statistics()
    with statistics.counted() as counts:
        for _ in range(2 * MANY):
            statistics.request(asked())
        assert not counts.requests
    with statistics.counted() as counts:
        assert counts.requests.total() == 2 * MANY


def test_an_error_while_counting_fails_no_request(caplog):
    statistics = Statistics()
    statistics.request(asked(outputs="no pairs"))
    with statistics.counted() as counts:
        assert not counts.requests
    assert "counting failed" in caplog.text
    statistics.request(asked())
    with statistics.counted() as counts:
        assert counts.requests.total() == 1


def test_nothing_is_lost_between_threads():
    statistics = Statistics(HEADS)
    threads, each = 8, 3 * MANY
    begin, ended = threading.Barrier(threads + 1), threading.Event()
    seen = []

    def work() -> None:
        begin.wait()
        for _ in range(each):
            statistics.batch(ran(2, 1, 2), [{IDS: np.array([[0], [1]])}])
            statistics.request(asked())

    def read() -> None:
        begin.wait()
        while not ended.is_set():
            with statistics.counted() as counts:
                seen.append(counts.requests.total())

    workers = [threading.Thread(target=work) for _ in range(threads)]
    reader = threading.Thread(target=read)
    for thread in (*workers, reader):
        thread.start()
    for thread in workers:
        thread.join()
    ended.set()
    reader.join()
    assert seen == sorted(seen)
    with statistics.counted() as counts:
        assert counts.requests == {("native", 200): threads * each}
        assert (counts.success.count, counts.seconds["queue"].count) == (threads * each, 2 * threads * each)
        assert {rows: of.runs for rows, of in counts.by_rows.items()} == {2: threads * each}
        assert counts.heads[0].by_class == {"a": threads * each, "b": threads * each}


async def test_every_run_of_the_batcher_is_counted():
    statistics = Statistics()

    def run(inputs, outputs):
        time.sleep(0.01)
        return {Y: inputs["x"]}

    batcher = Batcher("m", [run], BatchingOptions(max_batch_size=4), on_batch=statistics.batch)
    try:
        await asyncio.gather(*(batcher.submit({"x": np.zeros(rows)}, (Y,)) for rows in (1, 2)))
        await batcher.submit({"x": np.zeros(5)}, (Y,))
        await batcher.submit({"x": np.zeros(2)}, (Y,), alone=True)
    finally:
        batcher.close()
    with statistics.counted() as counts:
        assert counts.rows == 1 + 2 + 5 + 2
        assert counts.seconds["queue"].count == 2 + 2 + 1
        assert counts.computed.runs == sum(of.runs for of in counts.by_rows.values())
        assert counts.computed.infer_ns >= counts.computed.runs * 10e6


async def test_a_run_that_fails_is_not_counted():
    statistics = Statistics()

    def run(inputs, outputs):
        raise RequestError("no")

    batcher = Batcher("m", [run], BatchingOptions(), on_batch=statistics.batch)
    with pytest.raises(RequestError):
        await batcher.submit({"x": np.zeros(1)}, (Y,))
    batcher.close()
    with statistics.counted() as counts:
        assert counts.rows == 0


@pytest.mark.parametrize(
    ("options", "selections", "by_class", "scores"),
    [
        pytest.param({}, [(IDS, PROBABILITIES)] * 2, {"a": 2, "b": 1}, 3, id="the same outputs"),
        pytest.param(EIGHT, [(IDS, PROBABILITIES)] * 2, {"a": 2, "b": 1}, 3, id="with padding"),
        pytest.param({}, [(IDS,), (IDS, PROBABILITIES)], {"a": 2, "b": 1}, 2, id="different outputs"),
        pytest.param(EIGHT, [(IDS,), (PROBABILITIES,)], {"a": 2, "b": 1}, 2, id="different outputs, with padding"),
    ],
)
async def test_outputs_that_were_not_selected_are_not_counted(options, selections, by_class, scores):
    """A request of one row and one of two, of classes 0, 1 and 0, in one run."""
    statistics = Statistics(HEADS)
    runs, entered, gate = [], threading.Event(), threading.Event()

    def run(inputs, outputs):
        entered.set()
        assert gate.wait(30)
        runs.append(len(inputs["x"]))
        ids = inputs["x"]
        return {output: np.eye(2)[ids] if output == PROBABILITIES else ids[:, np.newaxis] for output in outputs}

    both = (IDS, PROBABILITIES)
    batcher = Batcher("m", [run], BatchingOptions(**options), share=lambda _: both, on_batch=statistics.batch)
    try:
        first = asyncio.ensure_future(batcher.submit({"x": np.array([1])}, (Y,)))  # keeps the thread busy meanwhile
        while not entered.is_set():
            await asyncio.sleep(0.001)
        rows = (np.array([0]), np.array([1, 0]))
        rest = [asyncio.ensure_future(batcher.submit({"x": x}, chosen)) for x, chosen in zip(rows, selections, strict=True)]
        while batcher.waiting_rows < 3:
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *rest)
    finally:
        gate.set()
        batcher.close()
    assert runs[1:] == ([8] if options else [3])
    with statistics.counted() as counts:
        assert counts.heads[0].by_class == by_class
        assert counts.heads[0].scores.count == scores
