"""Models that our training exported, and the real server on them as a process."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.waiting import GENEROUS_S, until

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models `movies`, `penguins` and `every_head`, and those of tests.e2e.canned.

    `make test` and `make test-newest` name one that TensorFlow 2.15.1 exported in HEADSERVE_TEST_MODELS; without it they are
    trained here, for a few steps.
    """
    given = os.environ.get("HEADSERVE_TEST_MODELS")
    if given:
        return REPOSITORY / given
    folder = tmp_path_factory.mktemp("models")
    for name in ("movies", "penguins"):
        train = [
            sys.executable,
            "-m",
            "service",
            "train",
            str(REPOSITORY / f"examples/{name}.toml"),
            "--steps",
            "20",
        ]
        subprocess.run([*train, "--models", str(folder), "--runs", str(folder / "runs")], check=True)
    for module in ("every_head", "canned"):
        subprocess.run([sys.executable, "-m", f"tests.e2e.{module}", str(folder)], check=True, cwd=REPOSITORY)
    return folder


def newest(models: Path, name: str) -> Path:
    """The folder of a model's newest version."""
    return max((child for child in (models / name).iterdir() if child.name.isdigit()), key=lambda child: int(child.name))


def card(version: Path) -> dict[str, Any]:
    """A version's model card."""
    return json.loads((version / "assets.extra/heads.json").read_text())


class Server:
    """`headserve serve` as a process on a free port."""

    def __init__(self, models: Path, *flags: str) -> None:
        # Bound, and not listening, for as long as the server may be: nobody else is given the port.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        port = self._reserved.getsockname()[1]
        command = [sys.executable, "-m", "service", "serve", "--models", str(models), "--port", str(port)]
        command += flags
        # A pipe that nobody reads would be full at some time, and stop the server.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - until `stop`
        environment = os.environ | {"HEADSERVE_TRIALS": "true"}
        self.process = subprocess.Popen(command, stdout=self._output, stderr=subprocess.STDOUT, env=environment)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def wait_until_ready(self) -> None:
        until(self._is_ready)

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"The server ended with {self.process.returncode}: {self.output()}")
        try:
            return self.client.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def output(self) -> str:
        """What it has said, once it has ended."""
        self._output.seek(0)
        return self._output.read().decode()

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.client.close()
        self.process.terminate()
        try:
            return self.process.wait(GENEROUS_S)
        finally:
            self.close()

    def close(self) -> None:
        """Leaves nothing behind, whether it has ended or not."""
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._output.close()
        self._reserved.close()


@pytest.fixture(scope="session")
def server(models: Path) -> Iterator[Server]:
    running = Server(models)
    try:
        running.wait_until_ready()
        yield running
    finally:
        code = running.stop()
    assert code == 0
