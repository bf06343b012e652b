import pytest

from service.errors import ConfigError
from service.lifecycle.source import scan


def put(models, *paths):
    for path in paths:
        (models / path).mkdir(parents=True)
        (models / path / "saved_model.pb").touch()


def test_versions_are_sorted_as_numbers(tmp_path):
    put(tmp_path, "b/10", "b/9", "a/1", "b/0002")
    found = scan(tmp_path).models
    assert list(found) == ["a", "b"]
    assert [version.version for version in found["b"]] == [2, 9, 10]
    assert found["b"][0].folder == tmp_path / "b" / "0002"


def test_what_is_no_version_is_passed_over(tmp_path):
    put(tmp_path, "a/1", "a/.tmp-2", "a/2.tmp", "a/v3", "a/0", "a/-4", "a/٥", ".hidden/1", "_partial/1", "none/x")
    (tmp_path / "a" / "6").mkdir()
    (tmp_path / "a" / "7").touch()
    (tmp_path / "file").touch()
    assert {name: [version.version for version in versions] for name, versions in scan(tmp_path).models.items()} == {"a": [1]}


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        scan(tmp_path / "nix")


def test_the_folder_of_one_model(tmp_path):
    put(tmp_path, "films/1")
    with pytest.raises(ConfigError, match="one model's folder; give the folder above"):
        scan(tmp_path / "films")
