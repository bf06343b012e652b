"""The metrics of requests that are rejected, expire or are cancelled, and of versions that are loaded again."""

import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import orjson
import pytest

from service import Settings, create_app
from tests.service.scraped import requests, values
from tests.waiting import until


@pytest.fixture
def small(tmp_path, models, serving):
    """A client of a server with one thread and a short queue, whose models are in `tmp_path`."""
    shutil.copytree(models / "slow", tmp_path / "slow")
    (tmp_path / "models.toml").write_text("[models.slow.batching]\nmax_batch_size = 1\nmax_enqueued_batches = 1\n")
    app = create_app(Settings(models=tmp_path, compute_threads=1, settle_ms=0, poll_interval_ms=20))
    with serving(app) as client:
        yield client


def test_rejected_and_expired(small):
    slow = {"model": "slow", "version": "1"}
    long = {"inputs": {"steps": [100_000]}, "heads": ["slow"]}

    def ask(timeout_ms: str) -> int:
        return small.post("/models/slow/predict", json=long, headers={"x-request-timeout-ms": timeout_ms}).status_code

    assert ask("1") == 504
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, ["600000"] * 8))
    assert set(statuses) == {200, 429}
    value = values(small)
    assert value("expired_total", **slow) == 1
    assert value("rejected_total", **slow) == statuses.count(429)
    for name, of in (("requests_total", {}), ("head_requests_total", {"head": "slow"})):
        counts = [value(name, api="native", status=status, **of, **slow) for status in ("200", "429", "504")]
        assert counts == [statuses.count(200), statuses.count(429), 1]
    assert value("request_seconds_count", outcome="success", **slow) == statuses.count(200)
    assert value("request_seconds_count", outcome="fail", **slow) == statuses.count(429) + 1


def test_loading_by_hand_without_keys(small):
    for verb in ("load", "unload"):
        assert requests(small, lambda verb=verb: small.post(f"/v2/repository/models/slow/{verb}")) == {("", "", "v2", "403"): 1}


def test_a_client_that_disconnects(small):
    slow = {"model": "slow", "version": "1"}
    content = orjson.dumps({"inputs": {"steps": [300_000]}, "heads": ["slow"]})
    address = urlsplit(str(small.base_url))
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            b"POST /models/slow/predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(content) + content
        )
        until(lambda: small.get("/models").json()["models"][0]["versions"][0]["requests"], "it has come")
    until(lambda: values(small)("requests_total", api="native", status="499", **slow), "it is counted")
    assert values(small)("request_seconds_count", outcome="fail", **slow) == 1


def test_reloads_of_a_version_that_is_changed_in_place(small, tmp_path):
    slow = {"model": "slow", "version": "1"}
    (tmp_path / "models.toml").write_text("[models.slow.batching]\nmax_batch_size = 2\n")
    until(lambda: values(small)("reloads_total", **slow), "it is loaded again")
    value = values(small)
    assert (value("loads_total", **slow), value("reloads_total", **slow), value("load_failures_total", **slow)) == (2, 1, 0)
    assert value("version_state", state="available", **slow) == 1
