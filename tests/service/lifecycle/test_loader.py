import hashlib
import json
import os

import pytest

from service.errors import ConfigError, ModelError, ModelLoadError, OutOfMemoryError, OverloadedError, RejectedByModelError
from service.lifecycle.loader import is_transient
from service.lifecycle.verification import verify
from tests.service.conftest import FILMS_CARD


class TensorFlowError(Exception):
    def __init__(self, error_code):
        super().__init__("from C++")
        self.error_code = error_code


def caused_by(cause):
    error = ModelLoadError("The model does not load.")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("failure", "transient"),
    [
        pytest.param(ModelLoadError("refused by the scan"), False, id="refused"),
        pytest.param(caused_by(ValueError("no protocol buffer")), False, id="corrupt"),
        pytest.param(caused_by(FileNotFoundError(2, "No such file")), False, id="missing file"),
        pytest.param(caused_by(RejectedByModelError("Tensor of the wrong size")), False, id="refused warm-up request"),
        pytest.param(ModelError("Could not find variable dense/bias."), False, id="failed execution"),
        pytest.param(caused_by(TensorFlowError(3)), False, id="invalid argument"),
        pytest.param(caused_by(TensorFlowError(8)), True, id="resource exhausted"),
        pytest.param(caused_by(TensorFlowError(7)), True, id="permission denied"),
        pytest.param(ModelLoadError("changed while it was loaded", transient=True), True, id="marked"),
        pytest.param(caused_by(PermissionError(13, "Permission denied")), True, id="not readable"),
        pytest.param(caused_by(caused_by(OSError(5, "Input/output error"))), True, id="cause of the cause"),
        pytest.param(caused_by(OutOfMemoryError("Out of memory.")), True, id="memory in warm-up"),
        pytest.param(OutOfMemoryError("Out of memory."), True, id="memory"),
        pytest.param(caused_by(MemoryError()), True, id="memory of Python"),
        pytest.param(caused_by(OverloadedError("The queue is full.")), True, id="overloaded"),
        pytest.param(ConfigError("The public keys cannot be read."), True, id="a setting"),
        pytest.param(RuntimeError("unexpected"), True, id="unexpected"),
    ],
)
def test_which_failures_are_retried(failure, transient):
    assert is_transient(failure) is transient


CONTENTS = {"saved_model.pb": b"graph", "variables/variables.index": b"index"}


@pytest.fixture
def version(tmp_path):
    files = {}
    for name, content in CONTENTS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "heads.json").write_text(json.dumps(FILMS_CARD | {"files": files}))
    return tmp_path


def test_files_as_they_were_exported(version):
    verify(version)


def test_a_version_without_card_is_not_compared(version):
    (version / "assets.extra" / "heads.json").unlink()
    verify(version)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"grap", r"saved_model\.pb has 4 bytes; the model card says 5", id="cut short"),
        pytest.param(b"graps", r"saved_model\.pb is not the file that was exported: its sha256", id="altered"),
        pytest.param(None, r"saved_model\.pb, which the model card lists, cannot be read: No such file", id="missing"),
    ],
)
def test_the_file_that_differs_is_named(version, content, message):
    (version / "saved_model.pb").unlink()
    if content is not None:
        (version / "saved_model.pb").write_bytes(content)
    with pytest.raises(ModelLoadError, match=message):
        verify(version)


def test_a_card_that_names_files_elsewhere(version):
    path = version / "assets.extra" / "heads.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"files": {"../../secret": {"bytes": 1, "sha256": ""}}}))
    with pytest.raises(ModelLoadError, match="not in the version's folder"):
        verify(version)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        pytest.param("variables/variables.data-00001-of-00002", True, id="variables"),
        pytest.param("assets/words.txt", True, id="assets"),
        pytest.param("saved_model.pbtxt", True, id="another graph"),
        pytest.param("assets.extra/warmup_requests.jsonl", False, id="warm-up requests"),
        pytest.param("README.md", False, id="beside it all"),
    ],
)
def test_files_that_the_card_does_not_list(version, name, refused):
    path = version / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    if not refused:
        verify(version)
        return
    with pytest.raises(ModelLoadError, match=f"{name} is not listed in the model card"):
        verify(version)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        pytest.param("assets", "/etc", id="a folder elsewhere"),
        pytest.param("assets.extra/warmup_requests.jsonl", "/etc/passwd", id="a file elsewhere"),
        pytest.param("copy.pb", "saved_model.pb", id="within the version"),
        pytest.param("gone", "nowhere", id="nowhere"),
        pytest.param("assets", "assets", id="itself"),
    ],
)
def test_links_in_a_version(version, name, target):
    (version / name).symlink_to(target)
    with pytest.raises(ModelLoadError, match=rf"{name} is a symbolic link; a version holds its files itself"):
        verify(version)


def test_the_graph_as_a_link(version):
    (version / "saved_model.pb").rename(version.parent / "elsewhere.pb")
    (version / "saved_model.pb").symlink_to(version.parent / "elsewhere.pb")
    with pytest.raises(ModelLoadError, match=r"saved_model\.pb is a symbolic link"):
        verify(version)


def test_a_pipe_is_refused(version):
    os.mkfifo(version / "variables" / "pipe")
    with pytest.raises(ModelLoadError, match="pipe is neither a file nor a folder"):
        verify(version)


def linked(models, version):
    """`<models>/films/1` and `<models>/alias/1`, which are `version` behind links."""
    (models / ".data").mkdir(parents=True)
    version.rename(models / ".data" / "rev1")
    (models / "films").mkdir()
    (models / "films" / "1").symlink_to(models / ".data" / "rev1")
    (models / "alias").symlink_to("films")
    return models


def test_links_within_the_models_folder(version, tmp_path_factory):
    models = linked(tmp_path_factory.mktemp("x") / "models", version)
    verify(models / "films" / "1")
    verify(models / "alias" / "1")


def test_links_out_of_the_models_folder(version, tmp_path_factory):
    elsewhere = linked(tmp_path_factory.mktemp("x") / "models", version)
    models = tmp_path_factory.mktemp("models")
    (models / "songs").symlink_to(elsewhere / "films")
    (models / "films").mkdir()
    (models / "films" / "1").symlink_to(elsewhere / ".data" / "rev1")
    for folder in (models / "songs" / "1", models / "films" / "1"):
        with pytest.raises(ModelLoadError, match=r"is a link that leads out of the models folder, to .*rev1"):
            verify(folder)
