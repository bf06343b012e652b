"""A real model whose runs do not return if the first value is negative."""

import asyncio
import time

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.errors import DeadlineExceededError, UnloadingError
from service.models.options import ModelOptions
from service.protocols.native import codec as native
from service.runtime.model import load
from service.types import InferRequest
from tests.security.harmful import waits_for_a_queue_if_negative
from tests.waiting import until


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr("service.batching.slots.LOST_AFTER_S", 0.0)
    waits_for_a_queue_if_negative(tmp_path / "m" / "7")
    model = load("m", 7, tmp_path / "m" / "7", ModelOptions(), native.decode, threads=1)
    model.warm_up()
    yield model
    model.close()


async def infer(model, value, time_s=None):
    request = InferRequest({"x": np.array([value], np.float32)}, model.spec.outputs)
    answer = await model.infer(request, None if time_s is None else time.monotonic() + time_s)
    return answer[model.spec.outputs[0]].tolist()


async def lose(model, runs):
    """Make requests until so many of their runs are lost, and return what the last check returned."""
    reason = None
    while model._batcher.lost_runs < runs:
        with pytest.raises(DeadlineExceededError):
            await infer(model, -1.0, 0.05)
        reason = model.check_runs()
    return reason


async def test_a_model_goes_on_answering_until_too_many_runs_are_lost(model):
    with capture_logs() as logged:
        assert await lose(model, 1) is None
        assert await infer(model, 3.0) == [6.0]
        reason = await lose(model, 2)
    assert reason.startswith("2 of its runs had not returned")
    assert [line for line in logged if line["event"] == "a run does not return"] == [
        {"event": "a run does not return", "log_level": "error", "model": "m", "version": 7, "runs": runs, "unawaited_s": 60.0}
        for runs in (1, 2)
    ]
    assert model.check_runs() == reason
    with pytest.raises(UnloadingError, match="2 of its runs had not returned"):
        await infer(model, 3.0)


async def test_closing_a_model_cancels_its_lost_runs(model):
    await lose(model, 1)
    with capture_logs() as logged:
        await asyncio.to_thread(model.close)
    assert [(line["log_level"], line["runs"]) for line in logged] == [("warning", 1)]
    await asyncio.to_thread(until, lambda: model._batcher.lost_runs == 0)
