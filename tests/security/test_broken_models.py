"""Versions with broken graphs: the real server says what is wrong, or serves them; it never ends."""

import random
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Server
from tests.security.hostile import edit, harmless
from tests.security.test_signed import listed
from tests.waiting import until

pytestmark = pytest.mark.e2e

MODELS = 40


def broken(content: bytes, number: int) -> bytes:
    """A few bytes altered, or the file cut short; the same for a number every time."""
    chance = random.Random(number)
    if number % 5 == 0:
        return content[: chance.randrange(len(content))]
    altered = bytearray(content)
    for _ in range(chance.randrange(1, 6)):
        altered[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(altered)


def shorten(model) -> None:
    """Without what nobody needs, so that a change hits what matters."""
    model.meta_graphs[0].ClearField("object_graph_def")
    model.meta_graphs[0].meta_info_def.ClearField("stripped_op_list")


def test_the_server_outlives_them(tmp_path: Path) -> None:
    models = tmp_path / "models"
    harmless(models / "harmless" / "1", tmp_path / "target")
    edit(models / "harmless" / "1", shorten)
    content = (models / "harmless" / "1" / "saved_model.pb").read_bytes()
    for number in range(MODELS):
        shutil.copytree(models / "harmless", models / f"broken{number}")
        (models / f"broken{number}" / "1" / "saved_model.pb").write_bytes(broken(content, number))
    server = Server(models)
    try:
        server.wait_until_ready()
        until(lambda: all(model["state"] in ("available", "failed") for model in listed(server).values()))
        found = listed(server)
        assert len(found) == MODELS + 1
        assert server.client.post("/models/harmless/predict", json={"inputs": {"x": [1.0]}}).json()["predictions"]
        failed = [model for model in found.values() if model["state"] == "failed"]
        assert len(failed) > MODELS / 2
        assert [model["error"] for model in failed if not model["error"] or "Traceback" in model["error"]] == []
    finally:
        code = server.stop()
    assert code == 0
