import os

import pytest

from service.errors import ConfigError
from service.lifecycle.disk import fingerprint, scan, stamp


def put(models, *paths):
    for path in paths:
        (models / path).mkdir(parents=True)
        (models / path / "saved_model.pb").touch()


def test_versions_are_sorted_as_numbers(tmp_path):
    put(tmp_path, "b/10", "b/9", "a/1", "b/2")
    found = scan(tmp_path).models
    assert list(found) == ["a", "b"]
    assert [version.version for version in found["b"]] == [2, 9, 10]
    assert found["b"][0].folder == tmp_path / "b" / "2"


def test_folders_that_are_not_versions_are_not_listed(tmp_path):
    put(tmp_path, "a/1", "a/.tmp-2", "a/2.tmp", "a/v3", "a/0", "a/-4", "a/٥", ".hidden/1", "_partial/1", "none/x")
    (tmp_path / "a" / "6").mkdir()
    (tmp_path / "a" / "7").touch()
    (tmp_path / "file").touch()
    assert {name: [version.version for version in versions] for name, versions in scan(tmp_path).models.items()} == {"a": [1]}


def test_a_missing_folder(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        scan(tmp_path / "nix")


def test_the_folder_of_one_model(tmp_path):
    put(tmp_path, "films/1")
    with pytest.raises(ConfigError, match="one model's folder; give the folder above"):
        scan(tmp_path / "films")


def test_the_folder_of_one_version(tmp_path):
    put(tmp_path, "films/1")
    with pytest.raises(ConfigError, match="is a SavedModel; put it into <models>/<name>/<version>/"):
        scan(tmp_path / "films" / "1")


def test_misplaced_folders(tmp_path):
    put(tmp_path, "flat", "baz/v1", "mixed/1", "mixed/1x", "mixed/0", "hidden/.2", "hidden/_2", "hidden/temp-17")
    (tmp_path / "flat" / "variables").mkdir()
    for path in ("torch/1", "bar/1", "data", "text/assets"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "torch" / "1" / "model.onnx").touch()
    (tmp_path / "text" / "saved_model.pbtxt").touch()
    (tmp_path / "data" / "README.md").touch()
    (tmp_path / "models.toml").touch()
    misplaced = scan(tmp_path).misplaced
    assert {str(path.relative_to(tmp_path)): problem.message for path, problem in misplaced.items()} == {
        "bar/1": "bar/1 has no saved_model.pb; put a SavedModel there, or remove the folder.",
        "baz/v1": "v1 is not a version number; rename the folder to a positive integer.",
        "flat": "saved_model.pb lies in the model's folder; move it, with the files beside it, to flat/1/.",
        "mixed/0": "0 is not a version number; rename the folder to a positive integer.",
        "mixed/1x": "1x is not a version number; rename the folder to a positive integer.",
        "text": "saved_model.pbtxt lies in the model's folder; move it, with the files beside it, to text/1/.",
        "torch/1": "torch/1 has no saved_model.pb; put a SavedModel there, or remove the folder.",
    }
    assert {(problem.kind, problem.model, problem.folder) for problem in misplaced.values()} >= {
        ("folder", "flat", "flat"),
        ("folder", "mixed", "mixed/1x"),
    }


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        pytest.param("007", "rename the folder to 7", id="leading zeros"),
        pytest.param("+7", "rename the folder to 7", id="sign"),
        pytest.param("٧", "rename the folder to 7", id="digit of another script"),
        pytest.param("7 ", "rename the folder to 7", id="space"),
        pytest.param("7\n", "rename the folder to 7", id="line feed"),
        pytest.param("7_0", "rename the folder to 70", id="underscore"),
        pytest.param("-7", "rename the folder to a positive integer", id="negative"),
        pytest.param("²", "rename the folder to a positive integer", id="superscript"),
        pytest.param("00", "rename the folder to a positive integer", id="zero"),
        pytest.param("9223372036854775808", "the largest is 9223372036854775807", id="2^63"),
        pytest.param("9" * 255, "the largest is 9223372036854775807", id="the longest name"),
    ],
)
def test_a_name_that_is_not_how_an_int64_is_written_is_misplaced(tmp_path, name, fix):
    put(tmp_path, "films/1", f"films/{name}")
    found = scan(tmp_path)
    assert [version.version for version in found.models["films"]] == [1]
    (problem,) = found.misplaced.values()
    assert problem.message == f"{name} is not a version number; {fix}."


def test_a_version_in_two_folders_is_that_of_the_canonical_name(tmp_path):
    put(tmp_path, "films/7", "films/007")
    found = scan(tmp_path)
    assert [version.folder.name for version in found.models["films"]] == ["7"]
    (problem,) = found.misplaced.values()
    assert problem.message == (
        "007 is not a version number; there is a folder 7 too: remove one, or rename this one to another positive integer."
    )


def test_the_largest_version(tmp_path):
    put(tmp_path, f"films/{2**63 - 1}")
    assert [version.version for version in scan(tmp_path).models["films"]] == [2**63 - 1]


def test_folders_whose_names_are_not_utf_8_are_left_out(tmp_path):
    model, version = os.fsdecode(b"fil\xffms"), os.fsdecode(b"\xfe1")
    put(tmp_path, f"{model}/1", f"birds/{version}", "birds/1")
    found = scan(tmp_path)
    assert list(found.models) == ["birds"]
    assert {(problem.model, problem.folder): problem.message for problem in found.misplaced.values()} == {
        ("fil\\xffms", "fil\\xffms"): (
            r"The name fil\xffms is not valid UTF-8, and no request can contain it; rename the folder."
        ),
        ("birds", r"birds/\xfe1"): r"\xfe1 is not a version number; rename the folder to a positive integer.",
    }


def test_a_graph_as_text_makes_a_version(tmp_path):
    (tmp_path / "a" / "1").mkdir(parents=True)
    (tmp_path / "a" / "1" / "saved_model.pbtxt").touch()
    assert [version.version for version in scan(tmp_path).models["a"]] == [1]


def test_links_are_listed_and_dangling_links_are_not(tmp_path):
    put(tmp_path, "a/1", ".data/x")
    (tmp_path / "a" / "2").symlink_to(tmp_path / ".data" / "x")
    (tmp_path / "a" / "3").symlink_to("nowhere")
    (tmp_path / "a" / "4").symlink_to("4")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("c")
    found = scan(tmp_path).models
    assert {name: [version.version for version in versions] for name, versions in found.items()} == {"a": [1, 2], "b": [1, 2]}


def test_a_dangling_link_is_part_of_the_fingerprint(tmp_path):
    put(tmp_path, "a/1")
    before = fingerprint(tmp_path / "a" / "1")
    (tmp_path / "a" / "1" / "variables").symlink_to("nowhere")
    assert fingerprint(tmp_path / "a" / "1") != before


def alter(folder):
    (folder / "saved_model.pb").write_bytes(b"x")


def put_back(folder):
    """Write the same bytes again, with the same time."""
    status = (folder / "saved_model.pb").stat()
    (folder / "saved_model.pb").write_bytes(b"graph")
    os.utime(folder / "saved_model.pb", ns=(status.st_atime_ns, status.st_mtime_ns))


def swap_and_swap_back(folder):
    """Put another folder in its place for a moment."""
    folder.rename(folder.with_name("aside"))
    folder.mkdir()
    folder.rmdir()
    folder.with_name("aside").rename(folder)


@pytest.mark.parametrize("change", [alter, put_back, swap_and_swap_back])
def test_the_stamp_shows_every_change(tmp_path, change):
    put(tmp_path, "a/1")
    folder = tmp_path / "a" / "1"
    (folder / "saved_model.pb").write_bytes(b"graph")
    before = stamp(folder)
    assert stamp(folder) == before
    ticked = max(path.stat().st_ctime_ns for path in (folder, *folder.iterdir()))
    while (tmp_path / "clock").write_bytes(b"") is not None and (tmp_path / "clock").stat().st_ctime_ns <= ticked:
        pass  # the clock of the disk advances in steps
    change(folder)
    assert stamp(folder) != before


def test_a_removed_folder_has_no_stamp(tmp_path):
    put(tmp_path, "a/1")
    (tmp_path / "a" / "1").rename(tmp_path / "b")
    assert stamp(tmp_path / "a" / "1") == frozenset() or stamp(tmp_path / "a" / "1") is None
