"""The command `docker`, containers that end with their test, and compose under a project of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx

from tests.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
TAG = "test"
"""Of the images that the tests build; they stay, for the next time."""

SERVER, TRAINER = f"headserve-server:{TAG}", f"headserve-trainer:{TAG}"
OPEN = ("--env", "HEADSERVE_NO_AUTH=true")
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


def run(*words: str, check: bool = True, **environment: str) -> str:
    """What the command prints, errors included; AssertionError with that if it fails and should not."""
    done = subprocess.run(
        words,
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or not check, f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout.strip()


def docker(*words: str, check: bool = True) -> str:
    """What `docker …` prints."""
    return run("docker", *words, check=check)


def inspected(name: str, template: str) -> str:
    """A member of a container or an image."""
    return docker("inspect", "--format", "{{" + template + "}}", name)


class Container:
    """A container, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getitem__(self, template: str) -> str:
        return inspected(self.name, template)

    @property
    def url(self) -> str:
        """Its own address: no proxy accepts a connection that the server would refuse."""
        return f"http://{self['range .NetworkSettings.Networks}}{{.IPAddress}}{{end']}:8000"

    @property
    def exit_code(self) -> int:
        return int(self[".State.ExitCode"])

    def python(self, code: str) -> str:
        """What the code prints in the container."""
        return docker("exec", self.name, "python", "-c", code)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=60).status_code == httpx.codes.OK
        except (httpx.TransportError, httpx.InvalidURL):
            assert self[".State.Status"] != "exited", docker("logs", self.name)
            return False


@contextmanager
def container(image: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """A container of the image, hardened as in compose.yaml; removed at the end."""
    started = Container(f"headserve-test-{uuid4().hex[:12]}")
    docker("run", "--detach", "--name", started.name, *HARDENED, *options, image, *command)
    try:
        yield started
    finally:
        docker("rm", "--force", "--volumes", started.name)


@contextmanager
def serving(image: str, models: Path, *options: str) -> Iterator[Container]:
    """A server on the models, ready."""
    with container(image, "--volume", f"{models.resolve()}:/models:ro", *OPEN, *options) as server:
        until(server.is_ready)
        yield server


class Compose:
    """docker compose, v2 or 1.29, on compose.yaml, under a project of its own and on free ports."""

    def __init__(self, **variables: str) -> None:
        v2 = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        self._command = ("docker", "compose") if v2 else ("docker-compose",)
        self.project = f"headserve-test-{uuid4().hex[:12]}"
        self._variables = {"HEADSERVE_TAG": TAG, "HEADSERVE_PUBLISHED_PORT": "0"} | variables

    def __call__(self, *words: str, files: tuple[str, ...] = ("docker/compose.yaml",)) -> str:
        chosen = [word for file in files for word in ("--file", file)]
        return run(*self._command, "--project-name", self.project, *chosen, *words, **self._variables)

    def container(self, service: str) -> Container:
        """A service's container, running or not."""
        labels = {"project": self.project, "service": service, "oneoff": "False"}
        filters = [word for name, value in labels.items() for word in ("--filter", f"label=com.docker.compose.{name}={value}")]
        found = docker("ps", "--all", "--quiet", *filters)
        assert found, f"there is no container of {service}"
        return Container(found.split()[0])

    def address(self, service: str, port: int) -> str:
        """Where the service is published on this machine."""
        return self("port", service, str(port))


@contextmanager
def composed(**variables: str) -> Iterator[Compose]:
    """`Compose`; everything that it started is removed at the end, with its volumes."""
    compose = Compose(**variables)
    try:
        yield compose
    finally:
        compose("down", "--volumes", "--remove-orphans")


def which(program: str) -> str | None:
    """A program on the PATH or of Debian's package in build/."""
    return shutil.which(program, path=f"{os.environ['PATH']}:{REPOSITORY / 'build/prometheus/usr/bin'}")
