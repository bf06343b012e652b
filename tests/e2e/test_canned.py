"""TensorFlow Serving's clients, and models that tf.estimator exported by itself: the answers are the estimator's own."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.e2e.canned import EXAMPLES, EXPECTED
from tests.e2e.conftest import Server, newest

pytestmark = pytest.mark.e2e

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def expected(models: Path, name: str, key: str) -> list[Any]:
    """What the estimator predicted for each example."""
    return [row[key] for row in json.loads((newest(models, name) / "assets.extra" / EXPECTED).read_text())]


def ask(server: Server, path: str, body: dict[str, Any]) -> Any:
    """The results or predictions that a client gets."""
    response = server.client.post(f"/v1/models/{path}", json=body)
    assert response.status_code == httpx.codes.OK, response.text
    (answer,) = response.json().values()
    return answer


def serialized() -> list[dict[str, str]]:
    """The examples as gRPC's clients write them, in base64."""
    import tensorflow as tf

    def example(place: str, x: list[float]) -> bytes:
        features = {
            "place": tf.train.Feature(bytes_list=tf.train.BytesList(value=[place.encode()])),
            "x": tf.train.Feature(float_list=tf.train.FloatList(value=x)),
        }
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    return [{"b64": base64.b64encode(example(**row)).decode()} for row in EXAMPLES]


@pytest.mark.parametrize(
    ("name", "signature", "head"),
    [
        pytest.param("canned_classifier", None, "", id="canned classifier, default signature"),
        pytest.param("canned_classifier", "classification", "", id="canned classifier"),
        pytest.param("canned_heads", None, "level/", id="first of several heads, default signature"),
        pytest.param("canned_heads", "level/classification", "level/", id="one of several heads"),
    ],
)
def test_classify(server: Server, models: Path, name: str, signature: str | None, head: str) -> None:
    body = {"examples": EXAMPLES} | ({"signature_name": signature} if signature else {})
    results = ask(server, f"{name}:classify", body)
    assert [[label for label, _ in row] for row in results] == expected(models, name, f"{head}all_classes")
    np.testing.assert_allclose(
        [[score for _, score in row] for row in results], expected(models, name, f"{head}probabilities"), **CLOSE
    )


@pytest.mark.parametrize(
    ("name", "signature", "head"),
    [
        pytest.param("canned_regressor", None, "", id="canned regressor, default signature"),
        pytest.param("canned_heads", "price/regression", "price/", id="one of several heads"),
    ],
)
def test_regress(server: Server, models: Path, name: str, signature: str | None, head: str) -> None:
    body = {"examples": EXAMPLES} | ({"signature_name": signature} if signature else {})
    results = ask(server, f"{name}:regress", body)
    np.testing.assert_allclose([[value] for value in results], expected(models, name, f"{head}predictions"), **CLOSE)


def test_whole_numbers_are_floats_where_the_model_reads_floats(server: Server, models: Path) -> None:
    (value,) = ask(server, "canned_regressor:regress", {"examples": [EXAMPLES[3] | {"x": [1, 1]}]})
    np.testing.assert_allclose([value], expected(models, "canned_regressor", "predictions")[3], **CLOSE)


@pytest.mark.parametrize("name", ["canned_classifier", "canned_regressor", "canned_heads"])
def test_the_example_of_a_model_that_parses_is_answered(server: Server, name: str) -> None:
    example = server.client.get(f"/models/{name}").json()["example"]
    response = server.client.post(f"/models/{name}/predict", json={"instances": [example], "heads": "*"})
    assert response.status_code == httpx.codes.OK, response.text


@pytest.mark.parametrize("name", ["canned_heads", "canned_classifier"])
def test_rows_of_features(server: Server, models: Path, name: str) -> None:
    """What the model parses, without serializing it first."""
    response = server.client.post(f"/models/{name}/predict", json={"instances": EXAMPLES, "heads": "*"})
    assert response.status_code == httpx.codes.OK, response.text
    of, head = ("level/", "level") if name == "canned_heads" else ("", "default")
    answer = response.json()["predictions"][head]
    probabilities = answer.get("probabilities", answer.get("scores"))
    np.testing.assert_allclose(probabilities, expected(models, name, f"{of}probabilities"), **CLOSE)


def test_every_head_of_serialized_examples(server: Server, models: Path) -> None:
    rows = ask(server, "canned_heads:predict", {"signature_name": "predict", "instances": serialized()})
    assert [row["level/classes"] for row in rows] == expected(models, "canned_heads", "level/classes")
    for key in ("level/logits", "level/probabilities", "price/predictions"):
        np.testing.assert_allclose([row[key] for row in rows], expected(models, "canned_heads", key), **CLOSE)


def test_the_native_api_reads_the_heads_off_the_signatures(server: Server, models: Path) -> None:
    body = {"instances": serialized(), "heads": "*"}
    response = server.client.post("/models/canned_heads/predict", json=body)
    assert response.status_code == httpx.codes.OK, response.text
    answer = response.json()["predictions"]
    assert set(answer) == {"level", "price"}
    np.testing.assert_allclose(answer["price"]["predictions"], expected(models, "canned_heads", "price/predictions"), **CLOSE)
