"""Prediction requests of every protocol, over a real socket."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from service import Settings, create_app
from service.bodies import LARGE_BYTES, decode_in_thread
from service.errors import RequestError
from service.inference import endpoint
from service.protocols.native import codec as native
from tests.service.scraped import values
from tests.waiting import GENEROUS_S, until

LONG = 2_000_000_000
"""Steps of a counting head, far more than any test waits for."""


def tensor(steps: int) -> dict[str, object]:
    return {"name": "steps", "shape": [1], "datatype": "INT64", "data": [steps]}


ASKING = {
    "/models/slow/predict": lambda steps, head: {"inputs": {"steps": [steps]}, "heads": [head]},
    "/models/slow/versions/1/predict": lambda steps, head: {"inputs": {"steps": [steps]}, "heads": [head]},
    "/v1/models/slow:predict": lambda steps, head: {
        "signature_name": "predict",
        "inputs": {"steps": [steps]},
        "output_filter": [f"{head}/{'counted' if head == 'slow' else 'steps'}"],
    },
    "/v2/models/slow/infer": lambda steps, head: {"inputs": [tensor(steps)], "parameters": {"heads": head}},
}
"""A path of each protocol, and the body of a request for a head."""


@pytest.fixture(scope="module")
def served(models, serving):
    """The application with one compute thread, and a client."""
    app = create_app(Settings(models=models, compute_threads=1))
    with serving(app) as client:
        yield app, client


def send(client: httpx.Client, path: str, body: object) -> socket.socket:
    """A connection that has sent a request."""
    content = orjson.dumps(body)
    address = urlsplit(str(client.base_url))
    connection = socket.create_connection((address.hostname, address.port))
    connection.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (path.encode(), len(content), content))
    return connection


def wait_for_queue(app, rows: int) -> None:
    """Return once so many rows are in the queue."""
    with app.state.manager.acquire("slow") as loaded:
        until(lambda: loaded.waiting_rows == rows, f"{rows} rows wait")


def requests(app) -> int:
    """How many requests have acquired the model."""
    return sum(version.requests for version in app.state.manager.status("slow").versions)


@pytest.mark.parametrize("path", ASKING)
def test_a_disconnected_client_leaves_the_queue(served, path):
    app, client = served
    body = ASKING[path]
    before = requests(app)
    running = send(client, path, body(800_000, "slow"))
    until(lambda: requests(app) > before, "the first request has come")
    wait_for_queue(app, 0)
    waiting = [send(client, path, body(LONG, "slow")) for _ in range(3)]
    wait_for_queue(app, 3)
    for connection in waiting:
        connection.close()
    wait_for_queue(app, 0)
    assert running.recv(1 << 16).startswith(b"HTTP/1.1 200")
    running.close()
    assert client.post(path, json=body(5, "fast")).status_code == 200


class Decoding:
    """The native decoder, which waits until it may begin, and counts how many calls wait and how many run at a time."""

    def __init__(self, monkeypatch):
        self.may_begin = threading.Event()
        self.asked = self.now = self.most = 0
        self._decode = native.decode
        monkeypatch.setattr(native, "decode", self)
        monkeypatch.setattr(endpoint, "decode_in_thread", self.decode_in_thread)

    async def decode_in_thread(self, work):
        self.asked += 1
        return await decode_in_thread(work)

    def __call__(self, *args):
        self.now += 1
        self.most = max(self.most, self.now)
        assert self.may_begin.wait(GENEROUS_S)
        self.now -= 1
        return self._decode(*args)


LARGE = orjson.dumps({"inputs": {"steps": [3]}, "heads": ["fast"]}) + b" " * LARGE_BYTES


def test_large_bodies_are_decoded_one_after_the_other(served, monkeypatch):
    _, client = served
    decoding = Decoding(monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(client.post, "/models/slow/predict", content=LARGE) for _ in range(4)]
        until(lambda: decoding.asked == 4, "all have come")
        small = client.post("/v1/models/slow:predict", json=ASKING["/v1/models/slow:predict"](5, "fast"))
        assert small.status_code == 200
        decoding.may_begin.set()
        assert [answer.result().status_code for answer in answers] == [200] * 4
    assert decoding.most == 1


def test_a_large_body_that_is_not_decoded_in_time(served, monkeypatch):
    _, client = served
    decoding = Decoding(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/models/slow/predict", content=LARGE)
        until(lambda: decoding.now == 1, "the first is decoded")
        late = client.post("/models/slow/predict", content=LARGE, headers={"X-Request-Timeout-Ms": "50"})
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
        decoding.may_begin.set()
        assert first.result().status_code == 200


def test_the_arrays_of_a_small_body_count_with_their_own_size(models, serving):
    """A row of six bytes of JSON takes eight as an array. No queue is full when the memory is."""
    rows = LARGE_BYTES // 8
    body = b'{"instances":[' + b",".join([b"[0,0]"] * rows) + b"]}"
    assert len(body) < LARGE_BYTES
    settings = Settings(models=models, max_body_bytes=LARGE_BYTES - 1, max_total_request_bytes=LARGE_BYTES - 1)
    with serving(create_app(settings)) as client:
        answer = client.post("/models/vectors/predict", content=body)
        assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
        assert values(client)("rejected_total", model="vectors", version="7") == 0, "no queue was full"
        assert client.post("/models/vectors/predict", json={"instances": [[1, 1]]}).status_code == 200


@pytest.fixture
def at_100_s(monkeypatch):
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(monotonic=lambda: 100.0))


@pytest.mark.parametrize(
    ("headers", "deadline"),
    [
        pytest.param({}, 102.5, id="the default"),
        pytest.param({b"x-request-timeout-ms": b"1"}, 100.001, id="the shortest"),
        pytest.param({b"x-request-timeout-ms": b"0900"}, 100.9, id="a leading zero"),
        pytest.param({b"x-request-timeout-ms": b"999999999"}, 100 + 999_999.999, id="the longest"),
    ],
)
def test_deadlines(at_100_s, headers, deadline):
    assert endpoint.deadline_of(headers, 2500) == deadline


@pytest.mark.parametrize("given", [b"", b"0", b"-1", b"1.5", b"5s", b"1000000000", "\u0663".encode()])
def test_invalid_timeouts(given):
    with pytest.raises(RequestError, match="X-Request-Timeout-Ms: expected a whole number of milliseconds from 1 on"):
        endpoint.deadline_of({b"x-request-timeout-ms": given}, 2500)
