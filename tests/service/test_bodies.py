"""Request bodies: their limits, decoding in a thread, and requests whose client disconnects."""

import asyncio
import gc
import gzip
import sys
import threading
import weakref
from collections.abc import Callable, Iterable

import pytest

from service import Settings, create_app
from service import bodies as module
from service.bodies import LARGE_BYTES, Bodies, Body, ClientDisconnect, WhileConnected, decode_in_thread
from service.errors import BodyTooLargeError, OverloadedError, WrongTypeError
from service.protocols.oip import routes

SMALL_BYTES = LARGE_BYTES - 1
LARGE = LARGE_BYTES
MOST = 3 * LARGE


@pytest.fixture
def bodies() -> Bodies:
    """Room for three large bodies."""
    return Bodies(2 * LARGE, MOST)


def sends(parts: Iterable[bytes], then: Callable[[], BaseException] | None = None):
    """A client that sends the parts, and then ends the body, or fails with `then`."""
    waiting = list(parts)

    async def receive():
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or then is not None}
        assert then is not None
        raise then()

    return receive


async def read(bodies: Bodies, receive, **headers: bytes) -> Body:
    body = Body(bodies)
    try:
        await body.read(receive, {name.replace("_", "-").encode(): value for name, value in headers.items()})
    except BaseException:
        body.release()
        raise
    return body


async def free(bodies: Bodies) -> int:
    """The number of bytes that are free."""
    found = 0
    held = []
    for size in (2 * LARGE, LARGE):
        try:
            held.append(await read(bodies, sends([b"x" * size])))
        except OverloadedError:
            continue
        found += size
    for body in held:
        body.release()
    return found


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([b""], id="nothing"),
        pytest.param([b"x" * SMALL_BYTES], id="small"),
        pytest.param([b"x"] * 1000, id="small in parts"),
        pytest.param([b"x" * LARGE], id="large"),
        pytest.param([b"x" * SMALL_BYTES, b"", b"x"], id="large in parts"),
        pytest.param([b"x" * LARGE] * 2, id="the largest"),
    ],
)
async def test_a_body_counts_until_it_is_released(bodies, parts):
    body = await read(bodies, sends(parts))
    size = len(b"".join(parts))
    assert (await free(bodies) == MOST) == (size <= SMALL_BYTES)
    assert body.take() == b"".join(parts)
    body.reserve_arrays(0)
    assert (await free(bodies) == MOST) == (size <= SMALL_BYTES)
    body.release()
    assert await free(bodies) == MOST


@pytest.mark.parametrize(
    ("text", "arrays", "counted"),
    [
        pytest.param(SMALL_BYTES, SMALL_BYTES, 0, id="small"),
        pytest.param(LARGE, 0, LARGE, id="strings"),
        pytest.param(0, 2 * LARGE, 2 * LARGE, id="numbers"),
    ],
)
async def test_a_compressed_body_counts_with_its_decoded_size(bodies, text, arrays, counted):
    compressed = gzip.compress(b"x" * text)
    body = await read(bodies, sends([compressed[:9], compressed[9:]]), content_encoding=b"gzip")
    assert len(body.take()) == text
    assert await free(bodies) == MOST
    body.reserve_arrays(arrays)
    assert await free(bodies) == {0: MOST, LARGE: 2 * LARGE, 2 * LARGE: LARGE}[counted]
    body.release()
    assert await free(bodies) == MOST


async def test_decoded_arrays_beyond_the_limit_are_refused(bodies):
    held = await read(bodies, sends([b"x" * LARGE]))
    body = await read(bodies, sends([b"x"]))
    with pytest.raises(OverloadedError):
        body.reserve_arrays(2 * LARGE + 1)
    body.release()
    held.release()
    assert await free(bodies) == MOST


@pytest.mark.parametrize(
    ("parts", "headers", "then", "error"),
    [
        pytest.param(
            [b"x"], {"content_length": b"%d" % (2 * LARGE + 1)}, None, BodyTooLargeError, id="too large by its header"
        ),
        pytest.param([b"x" * LARGE] * 3, {}, None, BodyTooLargeError, id="too large in parts"),
        pytest.param([b"x" * (2 * LARGE + 1)], {}, None, BodyTooLargeError, id="too large at once"),
        pytest.param([b"x" * LARGE], {}, ClientDisconnect, ClientDisconnect, id="disconnect"),
        pytest.param([b"x" * LARGE], {}, asyncio.CancelledError, asyncio.CancelledError, id="cancelled"),
    ],
)
async def test_a_body_that_is_not_received_does_not_count(bodies, parts, headers, then, error):
    with pytest.raises(error):
        await read(bodies, sends(parts, then), **headers)
    assert await free(bodies) == MOST


async def test_a_large_body_beyond_the_total_is_refused(bodies):
    """A refused body does not count, and small ones are accepted all the time."""
    held = [await read(bodies, sends([b"x" * LARGE])) for _ in range(3)]
    for parts in ([b"x" * LARGE], [b"x" * SMALL_BYTES, b"x"]):
        with pytest.raises(OverloadedError, match=f"at most {MOST} bytes together, but they take {MOST} now") as refused:
            await read(bodies, sends(parts))
        assert refused.value.retry_after_s == 1
    assert len((await read(bodies, sends([b"x" * SMALL_BYTES]))).take()) == SMALL_BYTES
    for body in held:
        body.release()
    assert await free(bodies) == MOST


@pytest.mark.parametrize(
    ("data", "headers", "is_large"),
    [
        pytest.param(b"a" * 10, {}, False, id="small"),
        pytest.param(b"a" * LARGE, {}, True, id="large"),
        pytest.param(gzip.compress(b"a" * 10), {"content_encoding": b"gzip"}, True, id="compressed"),
    ],
)
async def test_a_body_is_dropped_when_it_is_taken(bodies, data, headers, is_large):
    before = sys.getrefcount(data)
    body = await read(bodies, sends([data]), **headers)
    assert body.is_large == is_large
    assert set(body.take()) == {ord("a")}
    assert sys.getrefcount(data) == before


async def test_a_released_body_is_dropped(bodies):
    """A request that has timed out may still wait in the queue of the decoding thread."""
    data = b"x" * LARGE
    before = sys.getrefcount(data)
    body = await read(bodies, sends([data]))
    body.release()
    assert sys.getrefcount(data) == before


async def test_large_bodies_are_decoded_one_at_a_time():
    running, most = 0, 0

    def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threading.Event().wait(0.01)
        running -= 1

    await asyncio.gather(*(decode_in_thread(work) for _ in range(20)))
    assert most == 1


async def test_garbage_collection_is_enabled_again():
    def work() -> None:
        assert not gc.isenabled()
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - raised above
        await decode_in_thread(work)
    assert gc.isenabled()


async def test_an_error_keeps_no_decoded_objects():
    """Otherwise they stay in memory while the next body is decoded."""
    decoded = []

    class Large(list):
        pass

    def work() -> None:
        value = Large()
        decoded.append(weakref.ref(value))
        try:
            value[0]
        except IndexError:
            raise WrongTypeError("no") from None

    with pytest.raises(WrongTypeError, match="no"):
        await decode_in_thread(work)
    assert decoded[0]() is None


def test_large_repository_requests_are_parsed_in_the_thread(tmp_path, serving, monkeypatch):
    """To parse 32 MiB takes more than a second, during which the event loop would be blocked."""
    threads, parse_object = [], routes.parse_object

    def record(text, dialect):
        threads.append(threading.current_thread().name)
        return parse_object(text, dialect)

    monkeypatch.setattr(routes, "parse_object", record)
    with serving(create_app(Settings(models=tmp_path))) as client:
        assert client.post("/v2/repository/index", json={"ready": True, "x": "a" * 2**17}).status_code == 200
        assert client.post("/v2/repository/index", json={"ready": True}).status_code == 200
    assert [name.startswith("decode") for name in threads] == [True, False]


def receiver(*messages, delay_s=0.01):
    waiting = list(messages)

    async def receive():
        await asyncio.sleep(delay_s)
        return waiting.pop(0) if waiting else await asyncio.Event().wait()

    return receive


async def test_a_disconnect_cancels_the_work(monkeypatch):
    monkeypatch.setattr(module, "WATCH_AFTER_S", 0)
    ended = []

    async def work():
        with WhileConnected(receiver({"type": "http.request"}, {"type": "http.disconnect"})):
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

    with pytest.raises(ClientDisconnect):
        await work()
    assert ended == [True]
    await asyncio.sleep(0)  # the cancellation has ended with the block


async def test_the_work_continues_while_the_client_is_connected(monkeypatch):
    monkeypatch.setattr(module, "WATCH_AFTER_S", 0)
    with WhileConnected(receiver()):
        await asyncio.sleep(0.05)


async def test_a_cancellation_from_outside_is_passed_on(monkeypatch):
    monkeypatch.setattr(module, "WATCH_AFTER_S", 0)

    async def work():
        with WhileConnected(receiver()):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
