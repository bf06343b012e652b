"""A caller never gets another caller's rows, in any batch."""

import asyncio
import random
import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching.batcher import Batcher
from service.errors import DeadlineExceededError, RejectedByModelError
from service.models.options import BatchingOptions
from tests.service.batches import BAD, NEGATIVE, TWICE


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    max_batch_size=st.integers(1, 40),
    threads=st.integers(1, 3),
    replicas=st.integers(1, 2),
    padded=st.booleans(),
    timeout=st.sampled_from([0, 0, 200]),
)
def test_no_caller_gets_rows_of_another(seed, max_batch_size, threads, replicas, padded, timeout):
    """100 interleaved requests each time, of random sizes, delays, outputs and shapes; some cancelled, late, or bad."""
    chance = random.Random(seed)
    allowed = tuple(sorted({chance.randint(1, max_batch_size), max_batch_size})) if padded else None
    options = BatchingOptions(
        max_batch_size=max_batch_size, allowed_batch_sizes=allowed, batch_timeout_micros=timeout, max_enqueued_batches=10**6
    )

    def run(inputs, outputs):
        if chance.random() < 0.3:
            time.sleep(chance.random() * 0.002)
        if (inputs["x"] == BAD).any():
            raise RejectedByModelError("refused")
        return {output: inputs["x"] * 2 if output == TWICE else -inputs["x"] for output in outputs}

    share = (lambda _: (TWICE, NEGATIVE)) if chance.random() < 0.5 else (lambda _: None)
    batcher = Batcher("m", [run] * replicas, options, threads=threads, share=share)

    async def client(number):
        await asyncio.sleep(chance.random() * 0.05)
        size = chance.choice([1, 1, 1, 2, 5, 50])
        inner = chance.choice([(), (2,)])
        x = np.arange(number * 1000, number * 1000 + size * (2 if inner else 1)).reshape(size, *inner)
        kind = chance.choice(["good"] * 7 + ["bad", "late", "cancelled"])
        if kind == "bad":
            x.flat[0] = BAD
        outputs = chance.choice([(TWICE,), (NEGATIVE,), (NEGATIVE, TWICE)])
        late = time.monotonic() + chance.random() * 0.003 if kind == "late" else None
        task = asyncio.ensure_future(batcher.submit({"x": x}, outputs, late))
        if kind == "cancelled":
            await asyncio.sleep(chance.random() * 0.003)
            task.cancel()
        try:
            answer = await task
        except RejectedByModelError:
            assert kind == "bad"
        except DeadlineExceededError:
            assert kind == "late"
        except asyncio.CancelledError:
            assert kind == "cancelled"
        else:
            assert kind != "bad"
            assert tuple(answer) == outputs
            for output, array in answer.items():
                np.testing.assert_array_equal(array, x * 2 if output == TWICE else -x)

    async def clients():
        await asyncio.gather(*(client(number) for number in range(1, 101)))
        assert batcher.waiting_rows == 0

    asyncio.run(clients())
    batcher.close()
