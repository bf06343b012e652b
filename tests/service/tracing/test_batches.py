"""Batches of NumPy functions, and their spans."""

import asyncio
import threading

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, StatusCode

from service.batching.batcher import Batcher
from service.errors import DeadlineExceededError, ModelError, OverloadedError
from service.inference.request_context import RequestContext, current
from service.models.options import BatchingOptions
from service.protocols.native.paths import NATIVE
from service.tracing.spans import Spans
from service.tracing.tracing import BatchTraces, RequestTrace
from tests.waiting import GENEROUS_S

Y = ("h", "y")
BAD = -1.0


class Model:
    """Answers its input; waits at `gate`; fails on BAD."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.running = threading.Semaphore(0)

    def __call__(self, inputs, outputs):
        self.running.release()
        assert self.gate.wait(GENEROUS_S)
        if (inputs["x"] == BAD).any():
            raise ZeroDivisionError("a bug")
        return {Y: inputs["x"]}

    async def wait_until_running(self) -> None:
        assert await asyncio.to_thread(self.running.acquire, timeout=GENEROUS_S)


class Traces:
    """Spans in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.spans = Spans([self._exporter], "0")

    def begin(self, trace_parent: str | None = None) -> Span:
        headers = [] if trace_parent is None else [(b"traceparent", trace_parent.encode())]
        return self.spans.server("POST", headers, {})

    def ended(self) -> list[ReadableSpan]:
        """Everything that has ended, oldest first."""
        self.spans.stop()
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.end_time)


async def request(batcher: Batcher, traces: Traces, span: Span | None, *rows: float, deadline: float | None = None) -> float:
    """The answer to one request, traced if there is a span."""
    if span is None or not span.is_recording():
        return (await batcher.submit({"x": np.array(rows)}, (Y,), deadline))[Y].tolist()
    asked, trace = RequestContext("1", {}, NATIVE), RequestTrace(traces.spans, span)
    asked.trace = trace
    current.set(asked)
    status = 200
    try:
        return (await batcher.submit({"x": np.array(rows)}, (Y,), deadline))[Y].tolist()
    except Exception:
        status = 500
        raise
    finally:
        trace.end(asked, status)


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def traces():
    return Traces()


@pytest.fixture
def batcher(model, traces):
    options = BatchingOptions(max_batch_size=4, max_enqueued_batches=2)
    batcher = Batcher("m", [model], options, tracer=BatchTraces(traces.spans, "m", 7))
    yield batcher
    model.gate.set()
    batcher.close()


def of(spans: list[ReadableSpan], span: Span, name: str) -> list[ReadableSpan]:
    """The steps of that name below a span."""
    parent = span.get_span_context().span_id
    return [each for each in spans if each.name == name and each.parent is not None and each.parent.span_id == parent]


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


def id_of(span) -> int:
    return span.get_span_context().span_id


async def test_a_batch_and_its_requests_link_to_each_other(model, traces, batcher):
    """A request that is not recorded shares the batch and has no span."""
    unsampled = traces.begin(f"00-{'1' * 32}-{'1' * 16}-00")
    assert not unsampled.is_recording()
    first, *others = [traces.begin() for _ in range(3)]
    running = asyncio.create_task(request(batcher, traces, first, 1.0))
    await model.wait_until_running()
    waiting = [asyncio.create_task(request(batcher, traces, span, 2.0)) for span in (*others, unsampled, None)]
    await asyncio.sleep(0)  # they have asked
    model.gate.set()
    assert await asyncio.gather(running, *waiting) == [[1.0], [2.0], [2.0], [2.0], [2.0]]
    spans = traces.ended()
    batches = [span for span in spans if span.name == "batch"]
    assert [linked(batch) for batch in batches] == [[id_of(first)], [id_of(span) for span in others]]
    assert [dict(batch.attributes) for batch in batches] == [
        {"headserve.model": "m", "headserve.version": 7, "headserve.rows": rows, "headserve.requests": rows} for rows in (1, 4)
    ]
    assert all(batch.parent is None for batch in batches)
    for span, batch in zip((first, *others), (batches[0], batches[1], batches[1]), strict=True):
        (queue,), (compute,) = of(spans, span, "queue"), of(spans, span, "compute")
        assert linked(compute) == [id_of(batch)]
        assert queue.start_time <= queue.end_time == compute.start_time <= compute.end_time
    traced = {id_of(span) for span in (first, *others, *batches)}
    assert {span.parent.span_id for span in spans if span.parent is not None} <= traced


async def test_a_batch_without_a_traced_request_has_no_span(model, traces, batcher):
    model.gate.set()
    assert await request(batcher, traces, None, 1.0) == [1.0]
    assert traces.ended() == []


async def test_a_failed_batch_is_run_again_in_parts(model, traces, batcher):
    """Each run has a span; waiting has one."""
    first, good, bad = [traces.begin() for _ in range(3)]
    running = asyncio.create_task(request(batcher, traces, first, 1.0))
    await model.wait_until_running()
    answers = [asyncio.create_task(request(batcher, traces, span, x)) for span, x in ((good, 2.0), (bad, BAD))]
    await asyncio.sleep(0)
    model.gate.set()
    await running
    assert await answers[0] == [2.0]
    with pytest.raises(ModelError):
        await answers[1]
    spans = traces.ended()
    together, alone, alone_bad = [span for span in spans if span.name == "batch"][1:]
    assert [linked(batch) for batch in (together, alone, alone_bad)] == [[id_of(good), id_of(bad)], [id_of(good)], [id_of(bad)]]
    codes = [batch.status.status_code for batch in (together, alone, alone_bad)]
    assert codes == [StatusCode.ERROR, StatusCode.UNSET, StatusCode.ERROR]
    assert together.attributes["error.type"] == "ZeroDivisionError"
    for span, last in ((good, alone), (bad, alone_bad)):
        assert len(of(spans, span, "queue")) == 1
        assert [linked(compute) for compute in of(spans, span, "compute")] == [[id_of(together)], [id_of(last)]]
    assert [span.status.status_code for span in of(spans, good, "compute")] == [StatusCode.ERROR, StatusCode.UNSET]


async def test_a_request_that_expires_in_the_queue_has_waited_until_its_end(model, traces, batcher):
    first, late = traces.begin(), traces.begin()
    running = asyncio.create_task(request(batcher, traces, first, 1.0))
    await model.wait_until_running()
    deadline = asyncio.get_running_loop().time() + 0.01
    with pytest.raises(DeadlineExceededError):
        await request(batcher, traces, late, 2.0, deadline=deadline)
    model.gate.set()
    await running
    spans = traces.ended()
    (queue,) = of(spans, late, "queue")
    (server,) = [span for span in spans if id_of(span) == id_of(late)]
    assert queue.start_time < queue.end_time == server.end_time
    assert of(spans, late, "compute") == []


async def test_a_rejected_request_has_not_waited(model, traces, batcher):
    spans = [traces.begin() for _ in range(3)]
    tasks = [asyncio.create_task(request(batcher, traces, spans[0], 1.0))]
    await model.wait_until_running()
    tasks.append(asyncio.create_task(request(batcher, traces, spans[1], *[2.0] * 8)))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await request(batcher, traces, spans[2], 3.0)
    model.gate.set()
    await asyncio.gather(*tasks)
    ended = traces.ended()
    assert of(ended, spans[2], "queue") == []
    assert [span.attributes["headserve.rows"] for span in of(ended, spans[1], "compute")] == [4, 4]


async def test_an_error_in_tracing_fails_no_request(model, traces, batcher, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Spans, "add", fails)
    model.gate.set()
    assert await batcher.submit({"x": np.array([1.0])}, (Y,)) is not None
    span = traces.begin()
    asked = RequestContext("1", {}, NATIVE)
    asked.trace = RequestTrace(traces.spans, span)
    current.set(asked)
    assert (await batcher.submit({"x": np.array([1.0])}, (Y,)))[Y].tolist() == [1.0]
