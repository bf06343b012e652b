import asyncio
import time

import numpy as np
import pytest

from service.batcher import Batcher
from service.errors import OverloadedError, RequestError
from service.model_options import BatchingOptions
from service.statistics import BatchFacts, RequestFacts, Statistics
from service.types import InferRequest

Y = ("h", "y")


def test_a_request_that_is_answered():
    statistics = Statistics()
    seen: list[RequestFacts] = []
    statistics.listen(request=seen.append)
    for _ in range(2):
        with statistics.request() as timed:
            time.sleep(0.002)
            timed.decoded(InferRequest({}, (Y,)))
            time.sleep(0.004)
            timed.computed()
            time.sleep(0.001)
    assert [(facts.status, facts.outputs) for facts in seen] == [(200, (Y,))] * 2
    for facts in seen:
        assert facts.decode_ns >= 2e6
        assert facts.infer_ns >= 4e6
        assert facts.encode_ns >= 1e6
    totals = statistics.totals
    assert (totals.success.count, totals.fail.count, totals.decode.count, totals.encode.count) == (2, 0, 2, 2)
    assert totals.success.ns == sum(facts.decode_ns + facts.infer_ns + facts.encode_ns for facts in seen)


@pytest.mark.parametrize(
    ("error", "status", "steps"),
    [
        pytest.param(RequestError("bad"), 400, 0, id="it cannot be read"),
        pytest.param(OverloadedError("full"), 429, 1, id="it cannot be computed"),
        pytest.param(ValueError("ours"), 500, 2, id="a mistake of ours"),
        pytest.param(asyncio.CancelledError(), 500, 1, id="the client hangs up"),
    ],
)
def test_a_request_that_fails(error, status, steps):
    statistics = Statistics()
    seen: list[RequestFacts] = []
    statistics.listen(request=seen.append)

    def fail() -> None:
        with statistics.request() as timed:
            if steps > 0:
                timed.decoded(InferRequest({}, (Y,)))
            if steps > 1:
                timed.computed()
            raise error

    with pytest.raises(type(error)):
        fail()
    (facts,) = seen
    assert (facts.status, facts.outputs) == (status, (Y,) if steps else ())
    times = (facts.decode_ns > 0, facts.infer_ns > 0, facts.encode_ns > 0)
    assert times == ((True, False, False), (True, True, False), (True, True, True))[steps]
    assert (statistics.totals.success.count, statistics.totals.fail.count) == (0, 1)


def test_runs():
    statistics = Statistics()
    seen: list[BatchFacts] = []
    statistics.listen(batch=seen.append)
    before = time.time()
    facts = [BatchFacts(3, [10, 20], 1, 2, 3), BatchFacts(3, [5], 10, 20, 30), BatchFacts(1, [0], 100, 200, 300)]
    for fact in facts:
        statistics.batch(fact)
    assert seen == facts
    totals = statistics.totals
    assert (totals.rows, totals.queue.count, totals.queue.ns) == (7, 4, 35)
    assert (totals.computed.infer.count, totals.computed.infer.ns) == (3, 222)
    assert {rows: (of.input.ns, of.infer.ns, of.output.ns) for rows, of in totals.by_rows.items()} == {
        3: (11, 22, 33),
        1: (100, 200, 300),
    }
    assert before <= totals.last_at <= time.time()


def test_totals_are_a_copy():
    statistics = Statistics()
    statistics.batch(BatchFacts(1, [1], 1, 1, 1))
    before = statistics.totals
    statistics.batch(BatchFacts(1, [1], 1, 1, 1))
    assert (before.rows, before.by_rows[1].infer.count, statistics.totals.by_rows[1].infer.count) == (1, 1, 2)


async def test_the_batcher_tells_of_every_run():
    statistics = Statistics()

    def run(inputs, outputs):
        time.sleep(0.01)
        return {Y: inputs["x"]}

    batcher = Batcher("m", [run], BatchingOptions(max_batch_size=4), seen=statistics.batch)
    batcher.start()
    try:
        await asyncio.gather(*(batcher.submit({"x": np.zeros(rows)}, (Y,)) for rows in (1, 2)))
        await batcher.submit({"x": np.zeros(5)}, (Y,))
        await batcher.submit({"x": np.zeros(2)}, (Y,), alone=True)
    finally:
        batcher.close()
    totals = statistics.totals
    assert totals.rows == 1 + 2 + 5 + 2
    assert totals.queue.count == 2 + 2 + 1
    assert totals.computed.infer.count == sum(of.infer.count for of in totals.by_rows.values())
    assert totals.computed.infer.ns >= totals.computed.infer.count * 10e6


async def test_a_run_that_fails_is_not_counted():
    statistics = Statistics()

    def run(inputs, outputs):
        raise RequestError("no")

    batcher = Batcher("m", [run], BatchingOptions(), seen=statistics.batch)
    batcher.start()
    with pytest.raises(RequestError):
        await batcher.submit({"x": np.zeros(1)}, (Y,))
    batcher.close()
    assert statistics.totals.rows == 0
