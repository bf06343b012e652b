"""The images `server` and `trainer`, built as compose builds them; without an engine all tests here say so and are skipped."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine import SERVER, TAG, TRAINER, Compose, Container, composed, docker, run, serving
from tests.e2e.conftest import models
from tests.waiting import until

__all__ = ["models"]

HERE = Path(__file__).parent
PENGUINS = "/examples/penguins.toml"
"""What is trained, in the trainer."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks all tests of this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """Skips what needs an engine where there is none."""
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("There is no command `docker`.")
    if done.returncode:
        pytest.skip(f"There is no Docker engine: {done.stderr.strip()}")


@pytest.fixture(scope="session")
def images(engine: None) -> None:
    """The two images, and what they replace removed."""
    before = [docker("images", "--quiet", name) for name in (SERVER, TRAINER)]
    run("make", "images", HEADSERVE_TAG=TAG)
    for name, old in zip((SERVER, TRAINER), before, strict=True):
        if old and old != docker("images", "--quiet", name):
            docker("rmi", old, check=False)


@pytest.fixture(scope="session")
def compose(images: None) -> Iterator[Compose]:
    """compose.yaml, up: a trainer that is done, and a server that is ready."""
    with composed(HEADSERVE_TRAIN=PENGUINS) as running:
        running("up", "--detach")
        until(running.container("server").is_ready)
        yield running


@pytest.fixture(scope="module")
def server(images: None, models: Path) -> Iterator[Container]:
    """A server that the tests of a module leave as it is."""
    with serving(SERVER, models) as running:
        yield running
