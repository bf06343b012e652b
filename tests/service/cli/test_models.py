import io

import orjson
import pytest
from rich.console import Console

from service.cli.models import print_versions
from service.lifecycle.served_models import FileStatus, LabelStatus, ModelStatus, Problem, VersionStatus
from service.protocols.native.routes import ModelList, ModelSummary


def version(number, state, error=None, resident_bytes=0):
    return VersionStatus(number, state, True, error, 0, {state: 0.0}, None, 1_000_000, resident_bytes, 0)


def printed(problems, error=None):
    versions = (version(1, "end"), version(2, "failed", "it failed: no"), version(3, "available", None, 5_000_000))
    status = ModelStatus("films", 3, "available", None, versions, {"stable": LabelStatus(3, available=True)})
    listing = ModelList([ModelSummary(**vars(status))], FileStatus("models.toml", error), {}, problems)
    console = Console(file=io.StringIO(), width=200)
    print_versions(console, orjson.loads(orjson.dumps(listing)), "http://localhost:8000")
    return console.file.getvalue()


@pytest.fixture
def rows():
    return [line.split() for line in printed(()).replace("│", " ").splitlines()]


def test_an_unloaded_version_is_shown_as_such(rows):
    (row,) = (row for row in rows if row[:2] == ["films", "1"])
    assert row == ["films", "1", "unloaded", "1970-01-01", "00:00:00", "0.0", "1.0", "0"]


def test_every_problem_is_printed_once():
    text = printed(
        (
            Problem("version", "films", "Version 2 failed: it failed: no", version=2),
            Problem("folder", "flat", "saved_model.pb lies in the model's folder; move it", folder="flat"),
            Problem("options", "film", "Loading failed: not a failed version"),
        ),
        error="models.toml: not valid TOML",
    )
    below = text.splitlines()[-4:]
    assert below == [
        "models.toml: not valid TOML",
        "films, version 2: it failed: no",
        "flat: saved_model.pb lies in the model's folder; move it",
        "film: Loading failed: not a failed version",
    ]
