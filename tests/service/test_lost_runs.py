"""A server with a model whose runs do not return if the first value is negative."""

import io

from rich.console import Console

from service import Settings, create_app
from service.cli.models import print_versions
from tests.security.harmful import waits_for_a_queue_if_negative
from tests.waiting import until


def test_a_version_with_too_many_lost_runs_fails_and_the_next_one_is_served(tmp_path, serving, monkeypatch):
    monkeypatch.setattr("service.batching.slots.LOST_AFTER_S", 0.0)
    monkeypatch.setattr("service.lifecycle.manager.CHECK_RUNS_S", 0.01)
    for folder in ("stuck/1", ".2"):
        waits_for_a_queue_if_negative(tmp_path / folder)
    settings = Settings(models=tmp_path, cache=tmp_path / ".cache", compute_threads=1, trials=False, settle_ms=0)
    with serving(create_app(settings)) as client:

        def predict(value, timeout_ms=60_000):
            headers = {"X-Request-Timeout-Ms": str(timeout_ms)}
            return client.post("/models/stuck/predict", json={"instances": [value]}, headers=headers)

        def state():
            return client.get("/models/stuck").json()["versions"][0]["state"]

        until(lambda: predict(-1.0, timeout_ms=50).status_code == 503)
        until(lambda: state() == "failed")
        listing = client.get("/models").json()
        assert listing["problems"][0]["message"].startswith("Version 1 failed: 2 of its runs had not returned")
        refused = predict(1.0)
        assert refused.status_code == 503
        assert "2 of its runs had not returned" in refused.json()["detail"]
        console = Console(file=io.StringIO(), width=200)
        print_versions(console, listing, str(client.base_url))
        assert "stuck, version 1: 2 of its runs had not returned" in console.file.getvalue()
        (tmp_path / ".2").rename(tmp_path / "stuck" / "2")
        until(lambda: predict(1.0).status_code == 200)
