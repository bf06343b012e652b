"""What `/metrics` tells of the real application after known requests."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from service import Settings, create_app
from service.metrics import FAMILIES, Metrics
from service.metrics.heads import MOST_CLASSES, HeadRecorder
from service.metrics.histogram import Histogram
from service.metrics.recorder import FOLD, Recorder
from service.statistics import BatchFacts, RequestFacts
from service.types import HeadSpec, ModelSpec, TensorSpec

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
OLD, NEW = {"title": "Heat", "year": 1995, "budget": 6e7}, {"title": "Up", "year": 2009, "budget": 1.0}
FILMS = {"model": "films", "version": "2"}

Value = Callable[..., float | None]


def values(client: httpx.Client) -> Value:
    """A function that finds a sample of a scrape by its name and all of its labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    found = {(it.name, frozenset(it.labels.items())): it.value for family in families for it in family.samples}
    return lambda name, **labels: found.get((f"headserve_{name}", frozenset(labels.items())))


def labels(client: httpx.Client, name: str) -> set[str]:
    """The values of a label, wherever they are."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {it.labels[name] for family in families for it in family.samples if name in it.labels}


@pytest.fixture(scope="module")
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture(scope="module")
def served(app: FastAPI, serving: Any) -> Iterator[httpx.Client]:
    """An application of this module's own: nobody else asks it."""
    with serving(app) as client:
        yield client


def rise(client: httpx.Client, ask: Callable[[], httpx.Response], status: int = 200) -> Value:
    """By how much samples rise when that is asked."""
    before = values(client)
    answer = ask()
    assert answer.status_code == status, answer.text
    after = values(client)
    return lambda name, **labels: (after(name, **labels) or 0) - (before(name, **labels) or 0)


def test_a_request_for_two_heads(served):
    body = {"instances": [OLD, NEW], "heads": ["genres", "age"]}
    rose = rise(served, lambda: served.post("/models/films/predict", json=body))
    asked = FILMS | {"api": "native", "status": "200"}
    assert [rose("requests_total", head=head, **asked) for head in ("genres", "age", "rating")] == [1, 1, 0]
    for phase in ("decode", "queue", "compute", "encode"):
        assert rose("request_seconds_count", phase=phase, **FILMS) == 1
        assert 0 < rose("request_seconds_sum", phase=phase, **FILMS) < 10
    assert (rose("batch_rows_count", **FILMS), rose("batch_rows_sum", **FILMS)) == (1, 2)
    assert [rose("batch_rows_bucket", le=le, **FILMS) for le in ("1.0", "2.0", "+Inf")] == [0, 1, 1]


def test_what_the_heads_answered(served):
    body = {"instances": [OLD, NEW, NEW], "heads": "*"}
    rose = rise(served, lambda: served.post("/models/films/predict", json=body))
    age, genres, rating = (FILMS | {"head": head} for head in ("age", "genres", "rating"))
    assert [rose("predictions_total", **age, **{"class": name}) for name in ("old", "new")] == [1, 2]
    assert (rose("score_ratio_count", **age), rose("score_ratio_sum", **age), rose("unsure_total", **age)) == (3, 3, 0)
    # genres: 0 and 0, 0.1 and 0.7 twice
    assert [rose("score_ratio_bucket", le=le, **genres) for le in ("0.1", "0.6", "0.7", "1.0")] == [1, 1, 3, 3]
    assert rose("unsure_total", **genres) == 1
    assert values(served)("score_ratio_count", **rating) is None


def test_keys_that_were_not_asked_for_are_not_counted(served):
    body = {"instances": [OLD], "heads": ["age"], "keys": ["class_ids"]}
    rose = rise(served, lambda: served.post("/models/films/predict", json=body))
    assert rose("predictions_total", head="age", **FILMS, **{"class": "old"}) == 1
    assert rose("score_ratio_count", head="age", **FILMS) == 0


@pytest.mark.parametrize(
    ("path", "body", "api"),
    [
        pytest.param("/v1/models/films/versions/2:predict", {"signature_name": "predict", "instances": [OLD]}, "v1", id="v1"),
        pytest.param(
            "/v2/models/films/versions/2/infer",
            {
                "inputs": [
                    {"name": "title", "shape": [1], "datatype": "BYTES", "data": ["Up"]},
                    {"name": "year", "shape": [1], "datatype": "INT64", "data": [2009]},
                ],
            },
            "v2",
            id="v2",
        ),
    ],
)
def test_other_protocols(served, path, body, api):
    rose = rise(served, lambda: served.post(path, json=body))
    assert rose("requests_total", head="age", api=api, status="200", **FILMS) == 1


def test_outputs_of_a_signature_that_is_no_heads(served):
    """TensorFlow traced `serving_default` apart from the heads of this model."""
    rose = rise(served, lambda: served.post("/v1/models/films:predict", json={"instances": [OLD]}))
    assert rose("requests_total", head=":serving_default", api="v1", status="200", **FILMS) == 1


def test_no_label_is_the_clients(served):
    known = {name: labels(served, name) for name in ("model", "version", "head", "class")}
    assert served.post("/models/hacked/predict", json={"instances": [OLD]}).status_code == 404
    assert served.post("/models/films/versions/77/predict", json={"instances": [OLD]}).status_code == 404
    assert served.post("/models/films/predict", json={"instances": [OLD], "heads": ["hacked"]}).status_code == 422
    asked = FILMS | {"api": "native", "head": "", "status": "400"}
    assert rise(served, lambda: served.post("/models/films/predict", content=b"{"), 400)("requests_total", **asked) == 1
    after = {name: labels(served, name) for name in known}
    assert after.pop("head") == known.pop("head") | {""}
    assert after == known


def test_versions(served):
    value = values(served)
    assert value("version_state", state="available", **FILMS) == 1
    assert value("version_state", state="failed", **FILMS) == 0
    assert value("loads_total", **FILMS) == 1
    assert value("version_resident_bytes", **FILMS) > 0
    assert value("queue_rows", **FILMS) == 0
    broken = {"model": "broken", "version": "1"}
    assert value("version_state", state="available", **broken) == 0
    assert value("load_failures_total", **broken) >= 1
    assert value("queue_rows", **broken) is None


def test_what_is_unloaded_vanishes(served, app):
    vectors = {"model": "vectors", "version": "7"}
    asked = vectors | {"api": "native", "head": "sum", "status": "200"}
    body = {"instances": [[1.0, 2.0]], "heads": ["sum"]}
    assert rise(served, lambda: served.post("/models/vectors/predict", json=body))("requests_total", **asked) == 1
    app.state.manager.unload("vectors").result(60)
    value = values(served)
    assert value("requests_total", **asked) is None
    assert value("batch_rows_count", **vectors) is None
    assert value("version_state", state="available", **vectors) == 0
    app.state.manager.load("vectors").result(60)
    assert values(served)("requests_total", **asked) is None
    assert values(served)("loads_total", **vectors) == 2


def test_the_process_and_openmetrics(served):
    assert "\nprocess_resident_memory_bytes " in served.get("/metrics").text
    answer = served.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics.text_string_to_metric_families(answer.text)}
    assert names >= {family.name.removesuffix("_total") for family in FAMILIES}


def test_the_page_has_every_metric():
    rows = re.findall(r"^\| `(headserve_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert [(kind, name, tuple(re.findall(r"`(\w+)`", its)), text) for name, kind, its, text in rows] == list(FAMILIES)


def test_two_registries_do_not_mix():
    assert Metrics().registry is not Metrics().registry


def spec() -> ModelSpec:
    keys = (TensorSpec("class_ids", "int64", (-1, 1)), TensorSpec("probabilities", "float32", (-1, 2)))
    head = HeadSpec("h", keys, classes=("a", "b"))
    return ModelSpec("m", 1, (), (head,), {}, {})


def test_facts_are_counted_when_there_are_many():
    recorder = Recorder(spec())
    for _ in range(FOLD - 1):
        recorder.request(RequestFacts(200, (("h", "class_ids"),), 1, 1, 1, "native"))
    assert not recorder.requests
    recorder.request(RequestFacts(429, (("h", "class_ids"), ("h", "probabilities")), 1, 1, 0, "native"))
    assert recorder.requests == {("native", "h", "200"): FOLD - 1, ("native", "h", "429"): 1}
    recorder.request(RequestFacts(504, (), 1, 1, 0, "v2"))
    with recorder.folded():
        assert (recorder.rejected, recorder.expired, recorder.requests["v2", "", "504"]) == (1, 1, 1)


def test_large_answers_are_not_kept():
    recorder = Recorder(spec())
    rows = 1 << 18
    answer = {("h", "class_ids"): np.ones((rows, 1), np.int64), ("h", "embedding"): np.zeros(rows)}
    recorder.run(BatchFacts(rows, [1], 1, 1, 1, [answer]))
    assert recorder.heads[0].counts is not None
    assert recorder.heads[0].counts.tolist() == [0, rows]


def test_batches_add_up():
    recorder = Recorder(spec())
    for ids in ([[0], [1]], [[1]], [[7]]):
        recorder.run(BatchFacts(len(ids), [10], 1, 2, 3, [{("h", "class_ids"): np.array(ids)}]))
    with recorder.folded():
        assert recorder.heads[0].counts is not None
        assert recorder.heads[0].counts.tolist() == [1, 2]  # 7 is no class
        assert recorder.seconds["compute"].sum == pytest.approx(18e-9)


@pytest.mark.parametrize(
    ("keys", "key", "array", "count", "unsure"),
    [
        pytest.param(["probabilities"], "probabilities", [[0.2, np.nan], [0.4, 0.6]], 1, 1, id="NaN is not sure"),
        pytest.param(["logistic"], "logistic", [[0.2], [0.9]], 2, None, id="logistic alone"),
        pytest.param(["probabilities"], "probabilities", np.zeros((0, 2)), 0, 0, id="no rows"),
    ],
)
def test_scores(keys, key, array, count, unsure):
    head = HeadRecorder(HeadSpec("h", tuple(TensorSpec(name, "float32", None) for name in keys)))
    head.takes[key](np.array(array, np.float32))
    assert head.scores is not None
    assert (head.scores.buckets[-1], head.unsure) == (("+Inf", count), unsure)


def test_a_head_of_too_many_classes_has_no_series_for_each():
    keys = (TensorSpec("class_ids", "int64", (-1, 1)),)
    most, more = (tuple(map(str, range(count))) for count in (MOST_CLASSES, MOST_CLASSES + 1))
    assert HeadRecorder(HeadSpec("h", keys, classes=most)).counts is not None
    assert HeadRecorder(HeadSpec("h", keys, classes=more)).takes == {}
    assert str(MOST_CLASSES) in PAGE.read_text()


def test_a_value_at_a_bound_is_below_it():
    histogram = Histogram((0.1, 1.0))
    histogram.add(np.array([0.1, 1.0, 1.1, np.inf], np.float32))
    histogram.add(np.array([0.1]))
    assert histogram.buckets == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
