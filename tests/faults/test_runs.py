"""Runs that do not return: nothing waits for them once nobody waits for their answers."""

import signal
import threading

import httpx
import pytest

from tests.faults.conftest import Models, Start
from tests.faults.server import Server
from tests.security.harmful import waits_for_a_queue_if_negative
from tests.waiting import GENEROUS_S, until

pytestmark = pytest.mark.e2e

STUCK = "stuck"
SLOTS = 2
"""Runs at the same time of one model."""
DRAIN = {"compute_threads": SLOTS, "drain_delay_ms": 0, "drain_timeout_ms": 600_000}


@pytest.fixture
def models(models: Models) -> Models:
    """The folder with another model, whose runs do not return if the first value is negative."""
    waits_for_a_queue_if_negative(models.version(1, STUCK))
    return models


def predict(server: Server, value: float, timeout_ms: int = 1000 * GENEROUS_S) -> httpx.Response:
    headers = {"X-Request-Timeout-Ms": str(timeout_ms)}
    url = f"{server.url}/models/{STUCK}/predict"
    return httpx.post(url, json={"instances": [value]}, headers=headers, timeout=GENEROUS_S)


def hang(server: Server) -> None:
    """Let every thread that the model may have run something that does not return."""
    until(lambda: server.versions(STUCK).get(1) == "available")
    assert predict(server, 1.0).status_code == 200
    for _ in range(SLOTS):
        assert predict(server, -1.0, timeout_ms=500).status_code == 504
    assert predict(server, 1.0, timeout_ms=500).status_code == 504, "no thread is left"


def requests(server: Server) -> int:
    """How many requests the model has taken."""
    (version,) = httpx.get(f"{server.url}/models/{STUCK}", timeout=GENEROUS_S).json()["versions"]
    return int(version["requests"])


@pytest.mark.parametrize("transition", ["availability", "resource"])
def test_a_new_version_replaces_one_whose_runs_do_not_return(start: Start, models: Models, transition: str) -> None:
    (models.folder / "models.toml").write_text(f'[models.{STUCK}]\ntransition = "{transition}"\n')
    server = start({"compute_threads": SLOTS})
    hang(server)
    waits_for_a_queue_if_negative(models.folder / ".2")
    (models.folder / ".2").rename(models.version(2, STUCK))
    until(lambda: server.versions(STUCK) == {1: "end", 2: "available"})
    assert predict(server, 1.0).status_code == 200
    models.add(2, content=2)
    until(lambda: server.versions("echo") == {1: "end", 2: "available"})


@pytest.mark.parametrize("number", [pytest.param(each, id=each.name) for each in (signal.SIGTERM, signal.SIGINT)])
def test_a_server_ends_without_runs_that_nobody_waits_for(start: Start, models: Models, number: signal.Signals) -> None:
    server = start(DRAIN)
    hang(server)
    server.signal(number)
    assert server.ended() == 0
    assert "Application shutdown complete" in server.output


def test_a_server_ends_after_the_last_deadline_of_a_run_that_does_not_return(start: Start, models: Models) -> None:
    server = start(DRAIN)
    until(lambda: server.versions(STUCK).get(1) == "available")
    answered: list[int] = []
    client = threading.Thread(target=lambda: answered.append(predict(server, -1.0, timeout_ms=5000).status_code))
    client.start()
    until(lambda: requests(server) == 1)
    server.signal(signal.SIGTERM)
    assert server.ended() == 0
    client.join()
    assert answered == [504]
    assert "Application shutdown complete" in server.output


def test_threads_do_not_grow_with_models(start: Start, models: Models) -> None:
    server = start({"compute_threads": 8})
    server.until_ready()
    before = server.threads
    for number in range(20):
        models.add(1, content=1, name=f"echo{number}")
    until(lambda: all(server.versions(f"echo{number}") == {1: "available"} for number in range(20)))
    until(lambda: server.threads <= before)
