"""What is in the images, and what is not."""

import json
import tomllib

import httpx
import pytest

from tests.docker.engine import REPOSITORY, SERVER, TRAINER, Container, docker, inspected
from tests.waiting import until

BASE = "python:3.11-slim-bookworm"
BOTH = [pytest.param(SERVER, id="server"), pytest.param(TRAINER, id="trainer")]

pytestmark = pytest.mark.usefixtures("images")


def shell(image: str, script: str) -> str:
    """What the script prints; what the user may not look into does not count."""
    return docker("run", "--rm", "--entrypoint", "sh", image, "-c", f"({script}) 2>/dev/null || true")


@pytest.mark.parametrize(
    ("image", "limit_gb"), [pytest.param(SERVER, 1.3, id="server"), pytest.param(TRAINER, 1.5, id="trainer")]
)
def test_size(image: str, limit_gb: float, capsys: pytest.CaptureFixture[str]) -> None:
    base, size = (int(inspected(name, ".Size")) / 1e9 for name in (BASE, image))
    with capsys.disabled():
        print(f"\n{image}: {size:.2f} GB, {size - base:.2f} GB over {BASE}")
    assert size - base <= limit_gb


@pytest.mark.parametrize("image", BOTH)
def test_is_a_user_that_owns_nothing_but_the_volumes(image: str) -> None:
    assert inspected(image, ".Config.User") == "1000:1000"
    assert shell(image, "id -u; id -g") == "1000\n1000"
    assert shell(image, "find / -xdev -uid 1000 -not -path '/proc/*' | sort").split() == ["/cache", "/models", "/runs"]
    assert shell(image, "find / -xdev -writable -type d -not -path '/proc/*' -not -path '/dev/*' | sort").split() == [
        "/cache",
        "/models",
        "/run/lock",
        "/runs",
        "/tmp",
        "/var/tmp",
    ]


@pytest.mark.parametrize("image", BOTH)
def test_has_no_compiler_and_no_cache(image: str) -> None:
    for program in ("gcc", "cc", "g++", "ld", "strip", "make", "git"):
        assert shell(image, f"command -v {program} || echo none") == "none"
    as_root = ("run", "--rm", "--user", "0", "--entrypoint", "sh", image, "-c")
    assert docker(*as_root, "find / -xdev -path '*/.cache/*' -o -xdev -path '/build*' -o -xdev -name 'headserve*.whl'") == ""


@pytest.mark.parametrize("image", BOTH)
def test_every_module_is_compiled(image: str) -> None:
    uncompiled = (
        "cd /opt/headserve/lib/python3.11/site-packages && find heads service -name '*.py' | while read -r f; do "
        'test -e "$(dirname $f)/__pycache__/$(basename $f .py).cpython-311.pyc" || echo $f; done'
    )
    assert shell(image, uncompiled) == ""


@pytest.mark.parametrize("image", BOTH)
def test_labels(image: str) -> None:
    labels = json.loads(inspected(image, "json .Config.Labels"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert {"org.opencontainers.image.title", "org.opencontainers.image.description"} <= set(labels)


@pytest.mark.parametrize("image", BOTH)
def test_nothing_about_the_machine_that_built_it(image: str) -> None:
    """Indexes and proxies, which may hold passwords, are for the stages that install."""
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    base = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", BASE)
    own = history.removesuffix(base)
    assert not any(word in own for word in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"))


def test_the_server_answers(server: Container) -> None:
    answer = httpx.post(
        f"{server.url}/models/movies/predict",
        json={"instances": [{"title": "Heat", "year": 1995, "length": 170}]},
        timeout=60,
    )
    assert answer.status_code == httpx.codes.OK
    assert answer.json()["predictions"]["genres"]["classes"]


def test_the_server_gets_healthy(server: Container) -> None:
    until(lambda: server[".State.Health.Status"] == "healthy")


def test_the_server_writes_nowhere_but_to_its_tmpfs(server: Container) -> None:
    assert server["json .HostConfig.ReadonlyRootfs"] == "true"
    assert docker("diff", server.name) == ""
    code = "import os; print([path for path in ('/', '/opt/headserve', '/models', '/tmp') if os.access(path, os.W_OK)])"
    assert server.python(code) == "['/tmp']"


def test_the_server_is_the_first_process(server: Container) -> None:
    assert (
        server.python("print(open('/proc/1/cmdline').read().split(chr(0))[1:-1])")
        == "['/opt/headserve/bin/headserve', 'serve']"
    )


def test_without_keys_the_server_does_not_start_for_everybody() -> None:
    assert "--no-auth" in docker("run", "--rm", SERVER, check=False)


def test_without_the_gpu_that_is_required_the_server_does_not_start() -> None:
    printed = docker("run", "--rm", "--env", "HEADSERVE_REQUIRE_GPU=1", SERVER, check=False)
    assert "A GPU is required (HEADSERVE_REQUIRE_GPU), and TensorFlow finds none." in printed
