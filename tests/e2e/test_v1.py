"""TensorFlow Serving's clients, and the models that our training exported: every head, by any signature, as a process."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.e2e.conftest import Server, card, newest
from tests.e2e.test_serve import FILMS, HEADS, in_process

pytestmark = pytest.mark.e2e

COLUMNS = {key: [film.get(key) for film in FILMS] for key in FILMS[0]}
ROWS = [{key: float("nan") if film.get(key) is None else film[key] for key in COLUMNS} for film in FILMS]
EXAMPLES = [{key: value for key, value in film.items() if value is not None} for film in FILMS]


def ask(server: Server, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer; NaN is written and read as Python does, and as TensorFlow Serving does."""
    response = server.client.post(f"/v1/models/{path}", content=json.dumps(body))
    assert response.status_code == httpx.codes.OK, response.text
    return response.json()


def same(got: Any, expected: np.ndarray) -> None:
    if expected.dtype == object:
        assert got == [[item.decode() for item in row] for row in expected]
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_every_head_in_one_call(server: Server, models: Path) -> None:
    expected = in_process(models, "movies")
    columns = {name: [row[name] for row in ROWS] for name in COLUMNS}
    by_column = ask(server, "movies:predict", {"signature_name": "predict", "inputs": columns})["outputs"]
    assert by_column.keys() == expected.keys()
    assert {name.partition("/")[0] for name in by_column} == set(HEADS)
    for name, values in expected.items():
        same(by_column[name], values)
    by_row = ask(server, "movies:predict", {"signature_name": "predict", "instances": ROWS})["predictions"]
    assert by_row == [{name: values[i] for name, values in by_column.items()} for i in range(len(ROWS))]


def test_every_signature_of_raw_tensors(server: Server, models: Path) -> None:
    signatures = [name for name in card(newest(models, "movies"))["signatures"] if not name.startswith("examples:")]
    for name in signatures:
        answer = ask(server, "movies:predict", {"signature_name": name, "instances": ROWS})["predictions"]
        expected = in_process(models, "movies", name)
        for output, values in expected.items():
            same([row[output] if len(expected) > 1 else row for row in answer], values)


@pytest.mark.parametrize("prefix", ["", "examples:"])
def test_classify_and_regress(server: Server, models: Path, prefix: str) -> None:
    """`year` is written as a whole number: the signature of raw tensors says that it is a float."""
    for head in ("genres", "mpaa", "popular"):
        body = {"signature_name": f"{prefix}{head}/classification", "examples": EXAMPLES}
        results = ask(server, "movies:classify", body)["results"]
        expected = in_process(models, "movies", f"{head}/classification")
        same([[score for _, score in row] for row in results], expected["scores"])
        same([[label for label, _ in row] for row in results], expected["classes"])
    for head in ("rating", "popular"):
        body = {"signature_name": f"{prefix}{head}/regression", "examples": EXAMPLES}
        same(
            ask(server, "movies:regress", body)["results"], in_process(models, "movies", f"{head}/regression")["outputs"][:, 0]
        )


def test_the_default_signature_classifies(server: Server) -> None:
    default, first = (
        ask(server, "movies:classify", body | {"examples": EXAMPLES}) for body in ({}, {"signature_name": "genres"})
    )
    assert default == first


@pytest.mark.parametrize("given", [{"examples": EXAMPLES}, {"instances": ROWS}], ids=["examples", "rows"])
def test_every_head_by_its_own_method(server: Server, given: dict[str, Any]) -> None:
    tasks = [
        {"signature_name": "genres/classification", "method_name": "classify"},
        {"signature_name": "rating/regression", "method_name": "regress"},
        {"signature_name": "predict", "method_name": "predict", "output_filter": ["mpaa/classes", "popular/logits"]},
    ]
    classified, regressed, predicted = ask(server, "movies:multiInference", {"tasks": tasks} | given)["results"]
    everything = ask(server, "movies:predict", {"signature_name": "predict", "instances": ROWS})["predictions"]
    scores = [[score for _, score in row] for row in classified["results"]]
    np.testing.assert_allclose(scores, [row["genres/probabilities"] for row in everything], rtol=1e-5)
    np.testing.assert_allclose(regressed["results"], [row["rating/predictions"][0] for row in everything], rtol=1e-5)
    assert [row["mpaa/classes"] for row in predicted["predictions"]] == [row["mpaa/classes"] for row in everything]


def test_heads_within_heads(server: Server) -> None:
    body = {"signature_name": "predict", "instances": [[1, 2, 3, 4]]}
    (row,) = ask(server, "every_head:predict", body)["predictions"]
    assert "a_b/a/probabilities" in row


def test_a_model_of_ones_own_csv(server: Server, models: Path) -> None:
    example = card(newest(models, "penguins"))["example"]
    (row,) = ask(server, "penguins:predict", {"instances": [example], "signature_name": "predict"})["predictions"]
    (result,) = ask(server, "penguins:classify", {"examples": [example]})["results"]
    assert [label for label, _ in result] == row["species/all_classes"]
    np.testing.assert_allclose([score for _, score in result], row["species/probabilities"], rtol=1e-5)
    weight = ask(server, "penguins:regress", {"examples": [example], "signature_name": "body_mass_g"})["results"]
    np.testing.assert_allclose(weight, row["body_mass_g/predictions"], rtol=1e-5)


def test_the_metadata_names_every_signature(server: Server, models: Path) -> None:
    answer = server.client.get("/v1/models/movies/metadata").json()
    assert set(answer["metadata"]["signature_def"]["signature_def"]) == set(card(newest(models, "movies"))["signatures"])
