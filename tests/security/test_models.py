"""Hostile and broken models in a real server: hostile ones are refused and write nothing; the server survives all of them."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.cli.inspect import scan
from service.errors import ModelLoadError
from service.models.options import ModelOptions
from service.protocols.native import codec as native
from service.runtime.model import load
from tests.e2e.conftest import Server
from tests.security.hostile import HOSTILE, WRITES_WHEN_CALLED, harmless
from tests.security.rewired import READ_WHEN_LOADED, REWIRED, SERVED, write_file_by_a_saver_of_python
from tests.waiting import until

pytestmark = pytest.mark.e2e

ATTACKS = HOSTILE | REWIRED
BROKEN = [f"broken{number}" for number in range(24)]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the hostile models would write to."""
    return tmp_path_factory.mktemp("targets")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, targets: Path) -> Path:
    """A models folder with all hostile models, a harmless model that gets a hostile second version later, and broken models."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (export, _) in ATTACKS.items():
        export(folder / name / "1", targets / name)
    harmless(folder / "harmless" / "1", targets / "harmless")
    content = shortened(folder / "harmless" / "1")
    for number, name in enumerate(BROKEN):
        shutil.copytree(folder / "harmless", folder / name)
        (folder / name / "1" / "saved_model.pb").write_bytes(broken(content, number))
    return folder


def shortened(folder: Path) -> bytes:
    """The model's file without optional parts, so that a changed byte hits a part that is used."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    model.meta_graphs[0].ClearField("object_graph_def")
    model.meta_graphs[0].meta_info_def.ClearField("stripped_op_list")
    return model.SerializeToString()


def broken(content: bytes, number: int) -> bytes:
    """The content with some bytes changed, or cut short; the same for the same number."""
    chance = random.Random(number)
    if number % 5 == 0:
        return content[: chance.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 6)):
        changed[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(changed)


@pytest.fixture(scope="module")
def server(hostile: Path) -> Iterator[Server]:
    running = Server(hostile)
    try:
        until(lambda: ready_or_failed(running))
        yield running
    finally:
        code = running.stop()
    assert code == 0


def ready_or_failed(server: Server) -> bool:
    assert server.process.poll() is None
    try:
        found = models(server)
    except Exception:  # the server does not listen yet
        return False
    return len(found) == len(ATTACKS) + len(BROKEN) + 1 and all(model["state"] != "loading" for model in found.values())


def models(server: Server) -> dict[str, Any]:
    return {model["name"]: model for model in server.client.get("/models").json()["models"]}


def predict(server: Server, name: str) -> int:
    return server.client.post(f"/models/{name}/predict", json={"inputs": {"x": [1.0]}}).status_code


def written(targets: Path, name: str) -> list[Path]:
    return [path for path in targets.iterdir() if path.name.partition(".")[0] == name]


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_model_is_refused_with_its_operation_and_not_run(server: Server, targets: Path, name: str) -> None:
    model = models(server)[name]
    assert model["state"] == "failed"
    assert ATTACKS[name][1] in model["error"]
    assert "set trusted = true" in model["error"]
    assert predict(server, name) == 503
    assert [path for path in written(targets, name) if name not in READ_WHEN_LOADED] == []


def test_the_harmless_model_is_served(server: Server) -> None:
    assert predict(server, "harmless") == 200


def test_broken_models_fail_with_a_message_or_are_served(server: Server) -> None:
    found = [model for name, model in models(server).items() if name in BROKEN]
    failed = [model for model in found if model["state"] == "failed"]
    assert len(failed) > len(BROKEN) / 2
    assert {model["state"] for model in found} <= {"failed", "available"}
    assert [model["error"] for model in failed if not model["error"] or "Traceback" in model["error"]] == []


def test_the_version_before_a_hostile_one_keeps_serving(server: Server, hostile: Path, targets: Path) -> None:
    shutil.copytree(hostile / "loaded" / "1", hostile / "harmless" / ".2")
    (hostile / "harmless" / ".2").rename(hostile / "harmless" / "2")
    until(lambda: models(server)["harmless"].get("problems"))
    model = models(server)["harmless"]
    assert (model["state"], model["version"]) == ("available", 1)
    assert "Version 2 failed: " in model["problems"][0]
    assert "'WriteFile'" in model["problems"][0]
    assert predict(server, "harmless") == 200
    assert written(targets, "loaded") == []


@pytest.mark.parametrize("name", [*ATTACKS, "harmless"])
def test_inspect_finds_what_the_server_refuses(hostile: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    status = scan(hostile / name / "1")
    out = capsys.readouterr().out
    assert status == (0 if name == "harmless" else 1)
    assert ATTACKS[name][1] in out if name in ATTACKS else "nothing found" in out


@pytest.mark.parametrize("name", ["loaded", "implementation", "default", *WRITES_WHEN_CALLED])
def test_a_trusted_hostile_model_writes_its_file(tmp_path: Path, name: str) -> None:
    """The attacks are real: without the scan, the file is written."""
    export, _ = ATTACKS[name]
    (tmp_path / "targets").mkdir()
    export(tmp_path / name / "1", tmp_path / "targets" / name)
    with pytest.raises(ModelLoadError, match=r"could do more than compute"):
        load(name, 1, tmp_path / name / "1", ModelOptions(), native.decode)
    assert written(tmp_path / "targets", name) == []
    model = load(name, 1, tmp_path / name / "1", ModelOptions(trusted=True), native.decode)
    model.warm_up()
    model.close()
    assert written(tmp_path / "targets", name) != []


@pytest.mark.parametrize("name", READ_WHEN_LOADED)
def test_a_trusted_hostile_model_reads_its_file(tmp_path: Path, name: str) -> None:
    """The attacks are real: without the scan, the model returns the lines of the file."""
    export, _ = ATTACKS[name]
    export(tmp_path / name / "1", tmp_path / "target")
    with pytest.raises(ModelLoadError, match=r"could do more than compute"):
        load(name, 1, tmp_path / name / "1", ModelOptions(), native.decode)
    (lines,) = answered(tmp_path / name / "1", SERVED)
    assert lines.tolist() == [b"secret"]


def answered(folder: Path, key: str) -> list[Any]:
    """The model's outputs with that key, computed without a scan."""
    import numpy as np

    from service.runtime.servable import load

    model = load("model", 1, folder)
    try:
        answer = model.run({"x": np.ones(1, np.float32)}, model.spec.outputs)
        return [value for (_, name), value in answer.items() if name == key]
    finally:
        model.close()


def test_a_model_without_a_saver_gets_none_from_tensorflow(tmp_path: Path) -> None:
    """Only a saver that TensorFlow's Python code adds after the scan would run the node that writes."""
    (tmp_path / "targets").mkdir()
    write_file_by_a_saver_of_python(tmp_path / "saver" / "1", tmp_path / "targets" / "saver")
    model = load("saver", 1, tmp_path / "saver" / "1", ModelOptions(), native.decode)
    with pytest.raises(ModelLoadError, match="Could not find variable"):  # as nothing has restored it
        model.warm_up()
    model.close()
    assert written(tmp_path / "targets", "saver") == []


def test_a_model_that_becomes_trusted_is_loaded(server: Server, hostile: Path, targets: Path) -> None:
    """A model that is no longer trusted keeps serving the version that was loaded while it was trusted."""
    (hostile / "models.toml").write_text("[models.print]\ntrusted = true\n")
    until(lambda: models(server)["print"]["state"] == "available")
    assert predict(server, "print") == 200
    assert written(targets, "print") != []
    assert models(server)["write_file"]["state"] == "failed"
    (hostile / "models.toml").unlink()
    until(lambda: models(server)["print"].get("problems"))
    assert "prints lines that can look like the server's own" in models(server)["print"]["problems"][0]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/models/..%2f..%2fetc/predict", id="encoded"),
        pytest.param("/models/%2e%2e/predict", id="encoded dots"),
        pytest.param("/models/harmless%2f1/predict", id="a version's folder"),
        pytest.param("/v1/models/..%2f..%2fetc:predict", id="v1"),
        pytest.param("/v1/models/harmless/labels/..%2f1:predict", id="v1 label"),
        pytest.param("/v2/models/..%2fhostile/infer", id="v2"),
    ],
)
def test_names_in_requests_are_not_used_as_paths(server: Server, path: str) -> None:
    answer = server.client.post(path, json={"inputs": {"x": [1.0]}})
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text
