"""The lines of TensorFlow Serving's documentation, by curl, as `docs/tensorflow-serving.md` shows them."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import REPOSITORY, Server
from tests.half_plus import export_half_plus_three, export_half_plus_two

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")]


def lines() -> list[Any]:
    """Each command of the page, and the lines that it shows as its answer."""
    (block,) = re.findall(
        r"^```console\n(.*?)^```$", (REPOSITORY / "docs/tensorflow-serving.md").read_text(), re.DOTALL | re.MULTILINE
    )
    commands = [part.splitlines() for part in block.split("$ ")[1:]]
    return [pytest.param(command, answer, id=command.rpartition("/v1/")[2]) for command, *answer in commands]


@pytest.fixture(scope="module")
def half_plus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of TensorFlow Serving's own test models."""
    folder: Path = tmp_path_factory.mktemp("half_plus")
    export_half_plus_two(folder / "half_plus_two" / "123")
    export_half_plus_three(folder / "half_plus_three" / "123")
    running = Server(folder)
    try:
        running.wait_until_ready()
        yield running
    finally:
        assert running.stop() == 0


@pytest.mark.parametrize(("command", "shown"), lines())
def test_the_page_is_true(half_plus: Server, command: str, shown: list[str]) -> None:
    words = shlex.split(command.replace("http://localhost:8501", str(half_plus.client.base_url).rstrip("/")))
    given = subprocess.run([*words, "--silent", "--show-error", "--noproxy", "*"], capture_output=True, text=True, check=True)
    head, _, body = given.stdout.rpartition("\n\n")
    answer = json.loads(body)
    if shown:
        assert answer == json.loads(shown[-1])
    assert shown[:-1] == head.splitlines()[: len(shown) - 1]
    assert "error" not in answer or "404" in head


def test_the_metadata_has_every_signature(half_plus: Server) -> None:
    address = f"{str(half_plus.client.base_url).rstrip('/')}/v1/models/half_plus_two/metadata"
    given = subprocess.run(["curl", "--silent", "--noproxy", "*", address], capture_output=True, check=True)
    signatures = json.loads(given.stdout)["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "classify_x_to_y", "regress_x_to_y"} <= signatures.keys()
    assert signatures["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
