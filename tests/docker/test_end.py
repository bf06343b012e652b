"""How containers end: stopped, killed, before they are ready; and what comes then."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.docker.engine import OPEN, SERVER, TRAINER, container, docker, serving
from tests.e2e.conftest import card, newest
from tests.e2e.load import Load
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("images")

LIMIT_S = 34
"""Both drain times of the settings, and what closing takes."""


@pytest.fixture
def body(models: Path) -> dict[str, Any]:
    example = card(newest(models, "penguins"))["example"]
    return {"instances": [example], "heads": "*", "keys": ["probabilities", "class_ids"]}


def test_docker_stop_under_load_loses_nothing(models: Path, body: dict[str, Any]) -> None:
    with serving(SERVER, models) as server:
        with Load(server.url, body, clients=8) as load:
            until(lambda: len(load.versions) > 500)
            started = time.monotonic()
            docker("stop", "--time", "60", server.name)
            took_s = time.monotonic() - started
        assert load.wrong == []
        assert server.exit_code == 0
        assert took_s < LIMIT_S


def test_after_docker_kill_it_starts_again(models: Path) -> None:
    with serving(SERVER, models) as server:
        docker("kill", server.name)
        assert server.exit_code == 137
        docker("start", server.name)
        until(server.is_ready)


def test_a_server_that_dies_is_restarted(models: Path) -> None:
    """`docker kill` is an order, after which no policy restarts; this is what a crash, or the kernel short of memory, does."""
    with serving(SERVER, models, "--restart", "unless-stopped") as server:
        pid = server[".State.Pid"]
        kill = ("run", "--rm", "--pid", "host", "--user", "0", "--entrypoint", "python", SERVER)
        docker(*kill, "-c", f"import os; os.kill({pid}, 9)")
        until(lambda: server[".RestartCount"] == "1" and server[".State.Pid"] not in ("0", pid))
        until(server.is_ready)


def test_docker_stop_is_heard_while_models_load(models: Path) -> None:
    until(lambda: stopped_while_models_load(models), "a stop that comes before the models are loaded")


def stopped_while_models_load(models: Path) -> bool:
    """Whether it was, rather than later, on a busy machine."""
    with container(SERVER, "--volume", f"{models.resolve()}:/models:ro", *OPEN) as server:
        until(lambda: "listening" in docker("logs", server.name))
        docker("stop", "--time", "60", server.name)
        assert server.exit_code == 0
        loaded, _, _ = docker("logs", server.name).partition("draining")
    return loaded.count("model loaded") < len({version.parent for version in models.glob("*/[0-9]*")})


def test_docker_stop_is_heard_by_a_training() -> None:
    command = ("train", "/examples/penguins.toml", "--models", "/tmp/models", "--runs", "/tmp/runs", "--steps", "100000")
    with container(TRAINER, command=command) as trainer:
        until(lambda: "step 1/" in docker("logs", trainer.name))
        docker("stop", "--time", "60", trainer.name)
        assert trainer.exit_code == 128 + 15


def test_its_port_can_be_another(models: Path) -> None:
    options = ("--env", "HEADSERVE_PORT=9000", "--publish", "127.0.0.1::9000", "--volume", f"{models.resolve()}:/models:ro")
    with container(SERVER, *options, *OPEN) as server:
        until(lambda: server[".State.Health.Status"] == "healthy")
        url = f"http://{docker('port', server.name, '9000')}"
        assert httpx.get(f"{url}/readyz", timeout=60).status_code == httpx.codes.OK
