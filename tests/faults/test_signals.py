"""Signals at every phase of a server, also a second one: exit codes, and every request that was read is answered."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.conftest import Models, Start
from tests.faults.server import REPOSITORY, Server
from tests.faults.traffic import Counts, Traffic
from tests.waiting import GENEROUS_S, Pace, not_held_up, until

pytestmark = pytest.mark.e2e

EACH = pytest.mark.parametrize(
    "number", [pytest.param(each, id=each.name) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]
)
LONG = 30_000
"""Turns of the model's loop that make its warm-up take seconds."""
LOGGED = {"access_log": True}
"""So that the log has the ids of all requests that the server reads."""


AS_THE_FIRST = ("unshare", "--pid", "--fork", "--kill-child")
"""Run a process as the first of its namespace, as in a container: the kernel drops signals that it has no handler for."""


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@EACH
def test_starting(start: Start, number: signal.Signals) -> None:
    """While modules are imported. Before that, the kernel or Python ends the process."""
    server = start()
    until(lambda: handles(server.process.pid, signal.SIGTERM))
    server.signal(number)
    assert server.ended() == 0
    assert "Traceback" not in server.output


@pytest.fixture
def first(tmp_path: Path) -> Iterator[int]:
    """`headserve serve` as the first process of a container, with a first import that never ends."""
    try:
        subprocess.run([*AS_THE_FIRST, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs unshare of util-linux, and permission to create a namespace of processes: {error}")
    reached = tmp_path / "reached"
    slow = f"import pathlib, time\npathlib.Path({str(reached)!r}).touch()\nwhile True: time.sleep(1)\n"
    for name in ("typer", "structlog", "pydantic"):
        (tmp_path / f"{name}.py").write_text(slow)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    command = [*AS_THE_FIRST, sys.executable, "-m", "service", "serve", "--models", str(tmp_path)]
    with subprocess.Popen(command, env=environment) as process:
        try:
            until(lambda: reached.exists() or process.poll() is not None)
            assert process.poll() is None
            yield int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        finally:
            process.kill()


def test_the_first_process_of_a_container_can_be_stopped_while_it_imports(first: int) -> None:
    os.kill(first, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{first}").exists())


@EACH
def test_loading(start: Start, counts: Counts, number: signal.Signals) -> None:
    """Requests get 503 until the model is loaded."""

    def signal_before_loaded() -> bool:
        server = start({"drain_delay_ms": 300} | LOGGED)
        before = counts.refused[503]
        with Traffic(server.address, counts, clients=4), Traffic(server.address, counts, clients=4, fresh=True):
            until(lambda: counts.refused[503] > before + 20 or server.logged("model loaded"))
            server.signal(number)
            assert server.ended() == 0
        counts.none_lost_after_reading(server.request_ids)
        assert counts.refused.keys() <= {503}
        events = [line["event"] for line in server.events]
        return "model loaded" not in events[: events.index("draining")]

    until(signal_before_loaded, "a signal before the model was loaded")


@EACH
def test_warming(start: Start, models: Models, counts: Counts, number: signal.Signals) -> None:
    models.add(2, content=2, steps=LONG)
    server = start({"drain_delay_ms": 300} | LOGGED)
    with Traffic(server.address, counts, clients=4), Traffic(server.address, counts, clients=4, fresh=True):
        until(lambda: server.versions("echo").get(2) == "warming")
        server.signal(number)
        assert server.ended() == 0
    counts.none_lost_after_reading(server.request_ids)
    assert counts.refused.keys() <= {503}


@EACH
def test_serving_under_load(start: Start, counts: Counts, number: signal.Signals) -> None:
    server = start(LOGGED)
    server.until_ready()
    with Traffic(server.address, counts, clients=4), Traffic(server.address, counts, clients=4, fresh=True):
        until(lambda: counts.right > 200)
        server.signal(number)
        assert server.ended() == 0
    counts.none_lost_after_reading(server.request_ids)
    assert not counts.refused


@EACH
def test_reloading_under_load(start: Start, models: Models, counts: Counts, number: signal.Signals) -> None:
    server = start({"drain_delay_ms": 300} | LOGGED)
    server.until_ready()
    with Traffic(server.address, counts, clients=4), Traffic(server.address, counts, clients=4, fresh=True):
        models.add(2, content=2, steps=LONG)
        until(lambda: server.versions("echo").get(2) in {"loading", "warming"})
        server.signal(number)
        assert server.ended() == 0
    counts.none_lost_after_reading(server.request_ids)
    assert not counts.refused


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(signal.SIGTERM, signal.SIGTERM, id="SIGTERM twice"),
        pytest.param(signal.SIGTERM, signal.SIGINT, id="SIGTERM, then SIGINT"),
        pytest.param(signal.SIGINT, signal.SIGTERM, id="SIGINT, then SIGTERM"),
        pytest.param(signal.SIGHUP, signal.SIGTERM, id="SIGHUP, then SIGTERM"),
    ],
)
def test_draining(start: Start, first: signal.Signals, second: signal.Signals) -> None:
    """A second signal ends the server at once."""
    server = start()
    with socket.create_connection(server.address, timeout=GENEROUS_S) as connection:
        connection.sendall(b"POST /models/echo/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
        server.until_ready()  # the request was read before this one
        server.signal(first)
        server.until_logged("draining")
        assert server.process.poll() is None
        server.signal(second)
        assert server.ended() == 128 + second


def test_nohup(start: Start) -> None:
    """SIGHUP, which the end of a terminal sends, stays ignored. Were it handled, the other signal would be a second one."""
    server = start(before=("nohup",))
    server.until_ready()
    server.signal(signal.SIGHUP)
    server.signal(signal.SIGTERM)
    assert server.ended() == 0
    assert [line["signal"] for line in server.logged("draining")] == ["SIGTERM"]


PAGE = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n"
"""1.5 MB: a few of them fill the buffers of the kernel."""
LIVE = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"


def answers(sent: bytes) -> list[bool]:
    """For each response, whether it has `Connection: close`. The last one must be complete."""
    closes = []
    while sent:
        head, _, rest = sent.partition(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        length = int(lines[b"content-length"])
        assert len(rest) >= length, "a response was truncated"
        closes.append(lines.get(b"connection") == b"close")
        sent = rest[length:]
    return closes


def drains(server: Server, number: signal.Signals) -> bool:
    """Whether the server has begun to drain."""
    if number is signal.SIGINT:
        return "Shutting down" in server.output
    return httpx.get(f"{server.url}/livez", timeout=GENEROUS_S).headers.get("connection") == "close"


@pytest.mark.parametrize(
    ("number", "pages"),
    [
        pytest.param(signal.SIGTERM, 2, id="SIGTERM, the last response has begun"),
        pytest.param(signal.SIGTERM, 3, id="SIGTERM, a response before the last one has begun"),
        pytest.param(signal.SIGHUP, 2, id="SIGHUP, the last response has begun"),
        pytest.param(signal.SIGINT, 2, id="SIGINT, the last response has begun"),
        pytest.param(signal.SIGINT, 1, id="SIGINT, the last response is written"),
    ],
)
def test_pipelining(start: Start, counts: Counts, number: signal.Signals, pages: int) -> None:
    """Requests before the signal are answered. Later ones are, too, or the response before them has `Connection: close`.

    With SIGINT, a connection without running requests is closed at once: later requests are not read.
    """
    late = 3

    def sends_late_requests(pace: Pace) -> tuple[bytes, int]:
        """Return all responses and the exit code. The late requests arrive while the server drains."""
        server = start({"drain_delay_ms": 1000})
        server.until_ready()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
            connection.settimeout(GENEROUS_S)
            connection.connect(server.address)
            connection.sendall(PAGE * pages)
            got = connection.recv(1000)
            pace.begin()
            server.signal(number)
            until(lambda: drains(server, number))
            connection.sendall(LIVE * late)
            pace.step()
            got += b"".join(iter(lambda: connection.recv(65536), b""))
        return got, server.ended()

    got, code = not_held_up(sends_late_requests, limit_s=0.5)
    assert code == 0
    closes = answers(got)
    counts.sent, counts.right = pages + late, len(closes)
    assert len(closes) >= pages
    assert not any(closes[:-1])
    assert closes[-1] or len(closes) == counts.sent or number is signal.SIGINT
    counts.notes.append(f"{counts.sent - counts.right} not read after the last response")
