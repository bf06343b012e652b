import os

import pytest

from service.errors import ConfigError
from service.lifecycle.models_folder import ModelsFolder
from service.lifecycle.report import Reporter
from tests.service.lifecycle.conftest import put


@pytest.fixture
def folder(models):
    return ModelsFolder(models, Reporter())


def test_a_replacement_by_an_empty_folder_is_an_error_until_it_has_models(models, folder):
    put(models, "a/1")
    assert list(folder.scan()) == ["a"]
    models.rename(models.with_name("away"))
    models.mkdir()
    with pytest.raises(ConfigError, match="is its disk mounted"):
        folder.scan()
    put(models, "b/1")
    assert list(folder.scan()) == ["b"]


def test_a_folder_that_was_emptied_has_no_models(models, folder):
    version = put(models, "a/1")
    folder.scan()
    (version / "saved_model.pb").unlink()
    assert folder.scan() == {}


def test_a_folder_that_is_empty_at_the_start_has_no_models(folder):
    assert folder.scan() == {}


def test_models_in_folders_that_cannot_be_read_keep_their_versions(models, folder, monkeypatch):
    for path in ("a/1", "b/1", "c/1"):
        put(models, path)
    before = folder.scan()
    refused = {"b", "lost+found"}
    (models / "lost+found").mkdir()
    scandir = os.scandir

    def listed(path):
        if path.name in refused:  # root may read everything, whatever the permissions are
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listed)
    put(models, "c/2")
    found = folder.scan()
    assert list(found) == ["a", "b", "c"]
    assert found["b"] == before["b"]
    assert [version.version for version in found["c"]] == [1, 2]


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def test_a_misplaced_folder_is_a_problem_once_it_has_settled(models):
    clock = Clock()
    folder = ModelsFolder(models, Reporter(), settle_s=5, clock=clock)
    (models / "films" / "1").mkdir(parents=True)
    for number in range(3):  # a copy under way
        (models / "films" / "1" / f"variables.data-{number}").touch()
        folder.scan()
        clock.now_s += 4
    assert (folder.problems, folder.settled) == ((), False)
    clock.now_s += 1
    folder.scan()
    assert [(problem.model, problem.folder) for problem in folder.problems] == [("films", "films/1")]
    assert folder.settled
    (models / "films" / "1" / "saved_model.pb").touch()
    assert list(folder.scan()) == ["films"]
    assert folder.problems == ()


def test_a_misplaced_model_is_known(models, folder):
    put(models, "films/1")
    put(models, "flat/v1")
    folder.scan()
    assert [folder.has(name) for name in ("films", "flat", "birds")] == [True, True, False]
