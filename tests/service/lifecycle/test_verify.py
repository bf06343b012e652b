import hashlib
import json

import pytest

from service.errors import ModelLoadError
from service.lifecycle.verify import verify
from tests.service.conftest import FILMS_CARD

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


def test_without_a_card_there_is_nothing_to_compare(version):
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
