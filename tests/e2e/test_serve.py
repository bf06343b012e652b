"""The server as a process, on models that our training exported, spoken to over HTTP."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tensorflow as tf

from tests.e2e.conftest import Server, card, newest

pytestmark = pytest.mark.e2e

FILMS = [
    {"title": "Heat", "year": 1995, "length": 170, "budget": 60000000},
    {"title": "The Land Before Time", "year": 1988, "length": 69, "budget": None},
    {"title": "$", "year": 1971, "length": 121},
]
HEADS = ["genres", "mpaa", "rating", "popular"]


def predict(server: Server, body: dict[str, Any], model: str = "movies") -> dict[str, Any]:
    # Curl's default content type, not JSON's: it is not looked at.
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = server.client.post(f"/models/{model}/predict", content=json.dumps(body), headers=headers)
    assert response.status_code == httpx.codes.OK, response.text
    return response.json()


@cache
def loaded(version: Path) -> Any:
    """Return the version as TensorFlow loads it; loading takes seconds."""
    return tf.saved_model.load(str(version))


def in_process(models: Path, name: str, signature: str = "predict") -> dict[str, np.ndarray]:
    """The same films through `tf.saved_model.load`."""
    run = loaded(newest(models, name)).signatures[signature]
    columns = {key: [film.get(key) for film in FILMS] for key in FILMS[0]}
    tensors = {
        key: tf.constant(values) if key == "title" else tf.constant([np.nan if v is None else v for v in values], tf.float32)
        for key, values in columns.items()
    }
    return {key: value.numpy() for key, value in run(**tensors).items()}


def test_the_first_head_is_the_default(server: Server) -> None:
    answer = predict(server, {"instances": FILMS})
    assert (answer["model"], answer["version"]) == ("movies", 1)
    assert list(answer["predictions"]) == ["genres"]


def test_listed_heads_only(server: Server) -> None:
    assert list(predict(server, {"instances": FILMS, "heads": ["rating", "mpaa"]})["predictions"]) == ["rating", "mpaa"]


def test_all_heads_answer_the_digits_of_the_saved_model(server: Server, models: Path) -> None:
    answer = predict(server, {"instances": FILMS, "heads": "*"})["predictions"]
    assert list(answer) == HEADS
    expected = in_process(models, "movies")
    got = {f"{head}/{key}": value for head, keys in answer.items() for key, value in keys.items()}
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        if value.dtype == object:
            assert got[key] == [[name.decode() for name in row] for row in value]
        else:
            # Shortest decimals read back to the same float32.
            np.testing.assert_array_equal(np.array(got[key], value.dtype), value, err_msg=key)


def test_missing_values_and_titles_without_words_give_numbers(server: Server) -> None:
    answer = predict(server, {"instances": FILMS, "heads": "*", "keys": ["probabilities", "predictions"]})["predictions"]
    assert {head: list(keys) for head, keys in answer.items()} == {
        "genres": ["probabilities"],
        "mpaa": ["probabilities"],
        "rating": ["predictions"],
        "popular": ["probabilities"],
    }
    for keys in answer.values():
        for rows in keys.values():
            assert np.isfinite(np.array(rows, float)).all()


def test_rows_and_columns_are_the_same(server: Server) -> None:
    columns = {key: [film.get(key) for film in FILMS] for key in FILMS[0]}
    assert predict(server, {"inputs": columns, "heads": "*"}) == predict(server, {"instances": FILMS, "heads": "*"})


def test_a_model_of_ones_own_csv_is_served_beside_it(server: Server, models: Path) -> None:
    example = card(newest(models, "penguins"))["example"]
    answer = predict(server, {"instances": [example], "heads": "*"}, "penguins")
    assert list(answer["predictions"]) == ["species", "body_mass_g", "sex"]


def test_bad_input_is_a_problem_document(server: Server) -> None:
    response = server.client.post(
        "/models/movies/predict", json={"instances": [{"title": "Heat", "year": "next", "length": 1}]}
    )
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code in (400, 422)
    assert "year" in response.json()["detail"]


def test_the_card_over_http_has_the_heads_in_order(server: Server, models: Path) -> None:
    described = server.client.get("/models/movies").json()
    assert [head["name"] for head in described["heads"]] == HEADS
    assert described["default_head"] == "genres"
    on_disk = {folder.name for folder in models.iterdir() if any((folder / "1").glob("saved_model.pb"))}
    assert {model["name"] for model in server.client.get("/models").json()["models"]} == on_disk >= {"movies", "penguins"}
