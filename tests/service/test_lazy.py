"""Over HTTP: a server with `lazy`, whose models are loaded at their first request, whatever its protocol."""

import httpx
import pytest

from service import Settings, create_app
from tests.waiting import until

HEAT = {"title": "Heat", "year": 1995, "budget": 6e7}


@pytest.fixture
def lazy(models, serving):
    """A new server of the models, none of which is loaded."""
    with serving(create_app(Settings(models=models, lazy=True))) as client:
        yield client


def state(client: httpx.Client, model: str) -> str:
    return client.get(f"/models/{model}").json()["state"]


def test_no_model_is_loaded_but_all_are_ready(lazy):
    models = lazy.get("/models").json()
    assert {model["state"] for model in models["models"]} == {"unloaded"}
    ready = lazy.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert "films" in ready.json()["ready"]
    assert lazy.get("/v2/health/ready").status_code == 200
    assert lazy.get("/v2/models/films/ready").json() == {"name": "films", "ready": True}
    assert state(lazy, "films") == "unloaded"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "/models/films/predict", {"instances": [HEAT]}, id="native"),
        pytest.param("POST", "/v1/models/films:predict", {"instances": [HEAT]}, id="TensorFlow Serving"),
        pytest.param("GET", "/v1/models/films/metadata", None, id="metadata of TensorFlow Serving"),
        pytest.param("GET", "/v2/models/films", None, id="metadata of the Open Inference Protocol"),
        pytest.param("GET", "/v2/models/films/config", None, id="configuration"),
    ],
)
def test_the_first_request_loads_its_model(lazy, method, path, body):
    answer = lazy.request(method, path, json=body)
    assert answer.status_code == 200, answer.text
    assert state(lazy, "films") == "available"
    assert state(lazy, "vectors") == "unloaded"


def test_a_request_with_too_little_time(lazy):
    predict = {"url": "/models/films/predict", "json": {"instances": [HEAT]}}
    answer = lazy.post(**predict, headers={"X-Request-Timeout-Ms": "1"})
    assert answer.status_code == 504
    assert "is still loading" in answer.text
    until(lambda: state(lazy, "films") == "available")
    assert lazy.post(**predict).status_code == 200


def test_an_unknown_model(lazy):
    assert lazy.post("/models/nix/predict", json={"instances": [1]}).status_code == 404


def test_an_unknown_version(lazy):
    assert lazy.post("/models/films/versions/77/predict", json={"instances": [HEAT]}).status_code == 404


def test_two_models_that_do_not_fit_together(models, serving):
    with serving(create_app(Settings(models=models, lazy=True, lazy_memory_mb=1))) as client:
        for _ in range(2):
            assert client.post("/models/films/predict", json={"instances": [HEAT]}).status_code == 200
            assert client.post("/models/vectors/predict", json={"instances": [[1, 1]]}).status_code == 200
        until(lambda: (state(client, "films"), state(client, "vectors")) == ("unloaded", "available"))
