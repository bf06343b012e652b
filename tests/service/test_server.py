"""`headserve serve` as a process."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest


@pytest.mark.e2e
def test_the_server_says_where_it_listens_answers_and_ends_on_sigterm(models):
    command = [sys.executable, "-m", "service.main", "serve", "--models", str(models), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "HEADSERVE_LOG_FORMAT": "json"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        events: list[dict] = []
        for line in process.stderr:
            events += [json.loads(line)] if line.startswith("{") else []
            if sum(event["event"] == "model loaded" for event in events) == 3:
                break
        url = next(event["url"] for event in events if event["event"] == "listening")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        assert {event["model"] for event in events if event["event"] == "model loaded"} == {"films", "slow", "vectors"}
        assert {event["model"] for event in events if event["event"] == "model failed"} == {"broken"}
        answer = httpx.post(f"{url}/models/vectors/predict", content=b'{"instances": [[1, 2]]}', timeout=60)
        assert answer.json()["predictions"]["sum"]["value"] == [[3.0]]
        assert "server" not in answer.headers
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=60)
    assert "Application shutdown complete" in rest
    assert process.returncode == 0
