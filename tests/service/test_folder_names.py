"""Folders with unusual names, over HTTP: names that a request can contain are served, the others are reported."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from service import Settings, create_app
from tests.service.conftest import Serving

NAMES = {
    "percent": "a%2Fb",
    "space": " a b ",
    "line feed": "a\nb",
    "escape": "\x1b]0;red\x07",
    "colon": "a:predict",
    "fragment": "a#b&c",
    "umlaut": "käse",
    "longest": "n" * 255,
    "dots": "a..",
    "quotes": "\"'<script>",
    "versions": "versions",
}
PATTERNS = ("a?b", "a[1]", "a\\b", "a*")
"""Names that TensorFlow reads as patterns of several files."""
NOT_UTF_8 = (os.fsdecode(b"fil\xffms/1"), os.fsdecode(b"versions/\xfe"))
NOT_VERSIONS = ("versions/007", "versions/9223372036854775808", "versions/18446744073709551616")
ROWS = {"instances": [[1.0, 2.0]]}


@pytest.fixture(scope="module")
def odd(models: Path, serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("odd")
    for path in (*(f"{name}/7" for name in (*NAMES.values(), *PATTERNS)), *NOT_UTF_8, *NOT_VERSIONS):
        shutil.copytree(models / "vectors" / "7", folder / path)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / os.fsdecode(b"\xff")
    shutil.copytree(models / "vectors" / "7", elsewhere)
    (folder / "link").mkdir()
    (folder / "link" / "1").symlink_to(elsewhere)
    with serving(create_app(Settings(models=folder, trials=False))) as client:
        yield client


@pytest.mark.parametrize("name", [pytest.param(name, id=what) for what, name in NAMES.items()])
def test_every_protocol_serves_a_model_with_an_unusual_name(odd: httpx.Client, name: str) -> None:
    path = quote(name, safe="")
    assert odd.post(f"/models/{path}/predict", json=ROWS).json()["model"] == name
    assert odd.post(f"/v1/models/{path}/versions/7:predict", json=ROWS).status_code == 200
    inputs = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    assert odd.post(f"/v2/models/{path}/infer", json=inputs).json()["model_name"] == name
    assert odd.get(f"/models/{path}").json()["name"] == name


@pytest.mark.parametrize("path", ["/readyz", "/models", "/v1/models", "/v2/models/stats", "/metrics", "/docs"])
def test_the_pages_of_all_models_answer(odd: httpx.Client, path: str) -> None:
    assert odd.get(path).status_code == 200


def test_the_repository_index_lists_the_served_names(odd: httpx.Client) -> None:
    assert {(entry["name"], entry["version"]) for entry in odd.post("/v2/repository/index").json()} == {
        *((name, "7") for name in (*NAMES.values(), *PATTERNS)),
        ("link", "1"),
    }


def test_folders_that_are_left_out_are_reported(odd: httpx.Client) -> None:
    answer = odd.get("/models").json()
    assert {problem["folder"] for problem in answer["problems"] if problem["kind"] == "folder"} == {
        r"fil\xffms",
        r"versions/\xfe",
        *NOT_VERSIONS,
    }


@pytest.mark.parametrize("version", ["9223372036854775808", "18446744073709551616", "9" * 30])
def test_a_version_that_does_not_exist_is_404(odd: httpx.Client, version: str) -> None:
    answer = odd.post(f"/models/versions/versions/{version}/predict", json=ROWS)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("name", PATTERNS)
def test_a_name_that_is_a_pattern_is_refused_with_the_fix(odd: httpx.Client, name: str) -> None:
    answer = odd.post(f"/models/{quote(name, safe='')}/predict", json=ROWS)
    assert (answer.status_code, answer.json()["code"]) == (503, "model_failed")
    assert "Rename the folder" in answer.json()["detail"]


def test_an_error_that_quotes_a_name_that_is_not_utf_8(odd: httpx.Client) -> None:
    answer = odd.post("/models/link/predict", json=ROWS)
    assert (answer.status_code, answer.json()["code"]) == (503, "model_failed")
    assert r"leads out of the models folder, to" in answer.json()["detail"]
    assert r"/\xff. Copy it there." in answer.json()["detail"]
