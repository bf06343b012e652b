"""The metrics of the real application after known requests."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics import parser as openmetrics

from service import Settings, create_app
from service.counters import Rejections
from service.counters.heads import MAX_CLASSES
from service.lifecycle.manager import Manager
from service.metrics import FAMILIES, Metrics
from tests.service.scraped import requests, rise, samples, values

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
OLD, NEW = {"title": "Heat", "year": 1995, "budget": 6e7}, {"title": "Up", "year": 2009, "budget": 1.0}
FILMS = {"model": "films", "version": "2"}


@pytest.fixture(scope="module")
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture(scope="module")
def served(app: FastAPI, serving: Any) -> Iterator[httpx.Client]:
    """An application of this module: no other test sends it requests."""
    with serving(app) as client:
        yield client


def test_a_request_for_two_heads(served):
    """It is counted once as a request, and once for each head."""
    body = {"instances": [OLD, NEW], "heads": ["genres", "age"]}
    rose = rise(served, lambda: served.post("/models/films/predict", json=body))
    asked = FILMS | {"api": "native", "status": "200"}
    assert rose("requests_total", **asked) == 1
    assert [rose("head_requests_total", head=head, **asked) for head in ("genres", "age", "rating")] == [1, 1, 0]
    for phase in ("decode", "queue", "compute", "encode"):
        assert rose("phase_seconds_count", phase=phase, **FILMS) == 1
        assert 0 < rose("phase_seconds_sum", phase=phase, **FILMS) < 10
    assert rose("request_seconds_count", outcome="success", **FILMS) == 1
    assert rose("request_seconds_count", outcome="fail", **FILMS) == 0
    phases = (rose("phase_seconds_sum", phase=phase, **FILMS) for phase in ("decode", "queue", "compute", "encode"))
    assert sum(phases) <= rose("request_seconds_sum", outcome="success", **FILMS) * 1.5
    assert (rose("batch_rows_count", **FILMS), rose("batch_rows_sum", **FILMS)) == (1, 2)
    assert [rose("batch_rows_bucket", le=le, **FILMS) for le in ("1.0", "2.0", "+Inf")] == [0, 1, 1]


def test_answers_of_the_heads(served):
    body = {"instances": [OLD, NEW, NEW], "heads": "*"}
    rose = rise(served, lambda: served.post("/models/films/predict", json=body))
    age, genres, rating = (FILMS | {"head": head} for head in ("age", "genres", "rating"))
    assert [rose("predictions_total", **age, **{"class": name}) for name in ("old", "new")] == [1, 2]
    assert (rose("score_ratio_count", **age), rose("score_ratio_sum", **age), rose("unsure_total", **age)) == (3, 3, 0)
    # Labels of genres: 0 and 0, then 0.1 and 0.7 twice.
    assert [rose("predictions_total", **genres, **{"class": name}) for name in ("Action", "Drama")] == [0, 2]
    assert [rose("score_ratio_bucket", le=le, **genres) for le in ("0.1", "0.6", "0.7", "1.0")] == [1, 1, 3, 3]
    assert rose("unsure_total", **genres) == 1
    assert values(served)("score_ratio_count", **rating) is None


def test_scores_and_classes_against_numpy(served):
    """The metrics agree with the responses, of requests that share runs with others."""
    rng = np.random.default_rng(0)
    bodies = [
        {"instances": [OLD | {"year": int(year)} for year in rng.integers(1950, 2050, rows)], "heads": "*"}
        for rows in rng.integers(1, 40, 30)
    ]
    before = values(served)
    with ThreadPoolExecutor(8) as pool:
        answers = [
            it.json()["predictions"] for it in pool.map(lambda body: served.post("/models/films/predict", json=body), bodies)
        ]
    after = values(served)

    def rose(name: str, **labels: str) -> float:
        return (after(name, **labels) or 0) - (before(name, **labels) or 0)

    ids = np.concatenate([answer["age"]["class_ids"] for answer in answers]).ravel()
    for number, name in enumerate(("old", "new")):
        assert rose("predictions_total", head="age", **FILMS, **{"class": name}) == (ids == number).sum() > 0
    for head in ("age", "genres"):
        probabilities = np.concatenate([answer[head]["probabilities"] for answer in answers]).astype(np.float32)
        largest = probabilities.max(axis=1)
        assert rose("score_ratio_count", head=head, **FILMS) == len(largest)
        assert rose("score_ratio_sum", head=head, **FILMS) == pytest.approx(largest.sum(dtype=np.float64))
        for bound in ("0.1", "0.5", "0.7", "0.99"):
            expected = (largest <= np.float32(bound)).sum()
            assert rose("score_ratio_bucket", head=head, le=bound, **FILMS) == expected
        assert rose("unsure_total", head=head, **FILMS) == (largest < 0.5).sum()
    assert rose("batch_rows_sum", **FILMS) == len(ids)
    for name, of in (("requests_total", {}), ("head_requests_total", {"head": "age"})):
        assert rose(name, api="native", status="200", **of, **FILMS) == len(bodies)


def test_keys_that_were_not_selected_are_not_counted(served):
    body = {"instances": [OLD], "heads": ["age"], "keys": ["class_ids"]}
    rose = rise(served, lambda: served.post("/models/films/predict", json=body))
    assert rose("predictions_total", head="age", **FILMS, **{"class": "old"}) == 1
    assert rose("score_ratio_count", head="age", **FILMS) == 0


def entry(name: str, datatype: str, value: object) -> dict[str, object]:
    return {"name": name, "shape": [1], "datatype": datatype, "data": [value]}


ROW = [entry("title", "BYTES", "Up"), entry("year", "INT64", 2009)]
NATIVE, V1, V2 = "/models/films/predict", "/v1/models/films:predict", "/v2/models/films/infer"
ALL = ("genres", "rating", "age")


@pytest.mark.parametrize(
    ("path", "body", "status", "heads"),
    [
        pytest.param(NATIVE, {"instances": [OLD]}, 200, ("genres",), id="native"),
        pytest.param("/models/films/versions/2/predict", {"instances": [OLD], "heads": "*"}, 200, ALL, id="native, version"),
        pytest.param(NATIVE, {"instances": [OLD], "heads": ["hacked"]}, 422, (), id="native, no such head"),
        pytest.param(NATIVE, {"instances": []}, 422, (), id="native, no rows"),
        pytest.param(NATIVE, "{", 400, (), id="native, broken"),
        pytest.param(V1, {"signature_name": "predict", "instances": [OLD]}, 200, ALL, id="v1"),
        pytest.param(V1, {"instances": [OLD]}, 200, (":serving_default",), id="v1, a signature without a head"),
        pytest.param(V1, {"signature_name": "hacked", "instances": [OLD]}, 400, (), id="v1, no such signature"),
        pytest.param(V1, {"instances": []}, 400, (), id="v1, no rows"),
        pytest.param(V2, {"inputs": ROW}, 200, ALL, id="v2"),
        pytest.param(V2, {"inputs": ROW, "outputs": [{"name": "age/class_ids"}]}, 200, ("age",), id="v2, one output"),
        pytest.param(V2, {"inputs": ROW, "outputs": [{"name": "hacked"}]}, 400, (), id="v2, no such output"),
        pytest.param(V2, {"inputs": ROW[:1]}, 400, (), id="v2, an input is missing"),
    ],
)
def test_every_protocol(served, path, body, status, heads):
    api = {NATIVE: "native", V1: "v1", V2: "v2"}.get(path, "native")
    content = {"content": body} if isinstance(body, str) else {"json": body}

    def ask() -> httpx.Response:
        answer = served.post(path, **content)
        assert answer.status_code == status, answer.text
        return answer

    of_heads = {("films", "2", api, head, str(status)): 1 for head in heads}
    assert requests(served, ask) == {("films", "2", api, str(status)): 1, **of_heads}


@pytest.mark.parametrize(
    ("path", "body", "model", "api", "status"),
    [
        pytest.param("/models/hacked/predict", b"{}", "", "native", 404, id="no such model"),
        pytest.param("/models/films/versions/77/predict", b"{}", "films", "native", 404, id="no such version"),
        pytest.param("/models/films/versions/x/predict", b"{}", "films", "native", 404, id="no version"),
        pytest.param("/models/films/labels/hacked/predict", b"{}", "films", "native", 404, id="no such label"),
        pytest.param("/models/broken/predict", b"{}", "broken", "native", 503, id="it has failed to load"),
        pytest.param("/models/films/predict", b" " * 10_001, "films", "native", 413, id="a body that is too large"),
        pytest.param("/v1/models/hacked:predict", b"{}", "", "v1", 404, id="v1, no such model"),
        pytest.param("/v1/models/films/labels/hacked:predict", b"{}", "films", "v1", 400, id="v1, no such label"),
        pytest.param("/v2/models/hacked/infer", b"{}", "", "v2", 404, id="v2, no such model"),
        pytest.param("/v2/models/broken/infer", b"{}", "broken", "v2", 503, id="v2, it has failed to load"),
    ],
)
def test_requests_without_a_version(served, path, body, model, api, status):
    def ask() -> httpx.Response:
        answer = served.post(path, content=body)
        assert answer.status_code == status, answer.text
        return answer

    assert requests(served, ask) == {(model, "", api, str(status)): 1}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", "/nothing", id="no path"),
        pytest.param("POST", "/models/films/nothing", id="no path of a protocol"),
        pytest.param("GET", "/models/films/predict", id="no POST"),
        pytest.param("POST", "/v2/repository/index", id="no prediction"),
    ],
)
def test_other_requests_than_predictions_are_not_counted(served, method, path):
    assert requests(served, lambda: served.request(method, path)) == {}


def test_clients_cannot_add_labels(served):
    """Not with the requests of the tests above, nor with these."""
    before = samples(served)
    for number in range(20):
        name = f"hacked{number}"
        body: dict[str, object] = {"instances": [OLD | {name: 1}], "heads": [name], "keys": [name]}
        headers = {"x-request-id": name, "user-agent": name, "content-type": name}
        for path in (NATIVE, V1, V2, f"/models/{name}/predict", f"/v1/models/{name}:predict", f"/v2/models/{name}/infer"):
            assert 400 <= served.post(path, json=body, headers=headers).status_code < 500
        assert served.post(f"/models/films/versions/{number + 3}/predict", json=body).status_code == 404
        assert served.post(f"/models/films/labels/{name}/predict", json=body).status_code == 404
        served.request(name.upper(), NATIVE)
    after = samples(served)
    assert not [labels for _, labels in after if any("hacked" in value for _, value in labels)]
    new = {(name, frozenset(labels)) for name, labels in after if (name, labels) not in before}
    # A status and a reason that have not been counted before.
    assert {name for name, _ in new} <= {"headserve_requests_total", "headserve_connections_refused_total"}
    assert {value for _, its in new for label, value in its if label == "reason"} <= {"bad_request"}
    labels = {
        label: {value for _, its in after for name, value in its if name == label} for label in ("model", "version", "head")
    }
    assert labels["model"] <= {"films", "vectors", "slow", "broken", ""}
    assert labels["version"] <= {"1", "2", "7", ""}
    assert labels["head"] <= {*ALL, ":serving_default"}


def test_nothing_is_lost_under_load(served):
    """More requests than are counted at a time, in many threads; all are in the metrics immediately."""
    threads, each = 8, 150
    asked = FILMS | {"api": "native", "status": "200"}
    before = values(served)

    def work(_: int) -> None:
        with httpx.Client(base_url=served.base_url, timeout=60) as client:
            for _ in range(each):
                assert client.post(NATIVE, json={"instances": [NEW], "heads": ["age"]}).status_code == 200

    with ThreadPoolExecutor(threads) as pool:
        scraping = pool.submit(lambda: [values(served)("requests_total", **asked) or 0 for _ in range(20)])
        list(pool.map(work, range(threads - 1)))
        seen = scraping.result()
    after = values(served)
    total = (threads - 1) * each
    assert seen == sorted(seen)
    for name, labels in (
        ("requests_total", asked),
        ("head_requests_total", asked | {"head": "age"}),
        ("request_seconds_count", FILMS | {"outcome": "success"}),
        ("phase_seconds_count", FILMS | {"phase": "queue"}),
        ("batch_rows_sum", FILMS),
        ("predictions_total", FILMS | {"head": "age", "class": "new"}),
        ("score_ratio_count", FILMS | {"head": "age"}),
    ):
        assert (after(name, **labels) or 0) - (before(name, **labels) or 0) == total, name


def test_versions(served):
    value = values(served)
    assert value("version_state", state="available", **FILMS) == 1
    assert value("version_state", state="failed", **FILMS) == 0
    assert (value("loads_total", **FILMS), value("reloads_total", **FILMS)) == (1, 0)
    assert value("version_resident_bytes", **FILMS) > 0
    assert value("queue_rows", **FILMS) == 0
    broken = {"model": "broken", "version": "1"}
    assert value("version_state", state="available", **broken) == 0
    assert value("load_failures_total", **broken) >= 1
    assert value("loads_total", **broken) == 0
    assert value("queue_rows", **broken) is None


def test_the_metrics_of_an_unloaded_version_are_removed(served, app):
    vectors = {"model": "vectors", "version": "7"}
    asked = vectors | {"api": "native", "status": "200"}
    body = {"instances": [[1.0, 2.0]], "heads": ["sum"]}
    assert rise(served, lambda: served.post("/models/vectors/predict", json=body))("requests_total", **asked) == 1
    app.state.manager.unload("vectors").result(60)
    value = values(served)
    assert value("requests_total", **asked) is None
    assert value("batch_rows_count", **vectors) is None
    assert value("version_state", state="available", **vectors) == 0
    app.state.manager.load("vectors").result(60)
    value = values(served)
    assert value("requests_total", **asked) is None
    assert (value("loads_total", **vectors), value("reloads_total", **vectors)) == (2, 1)


def test_the_process_and_openmetrics(served):
    found = samples(served)
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
        assert found[name, frozenset()] > 0
    answer = served.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics.text_string_to_metric_families(answer.text)}
    assert names >= {family.name.removesuffix("_total") for family in FAMILIES}


def test_the_memory_of_gpus(served, monkeypatch):
    """The test machine has none: TensorFlow's answers are made up."""
    import tensorflow as tf

    assert "headserve_device_memory_bytes{" not in served.get("/metrics").text

    class Gpu:
        name = "/device:GPU:0"

    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [Gpu()] if kind == "GPU" else [])
    used = {"GPU:0": {"current": 1_000, "peak": 2_000}}
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", used.__getitem__)
    value = values(served)
    assert value("device_memory_bytes", device="GPU:0", kind="current") == 1_000
    assert value("device_memory_bytes", device="GPU:0", kind="peak") == 2_000


def test_the_page_has_every_metric(tmp_path):
    rows = re.findall(r"^\| `(headserve_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert [(kind, name, tuple(re.findall(r"`(\w+)`", its)), text) for name, kind, its, text in rows] == list(FAMILIES)
    others = re.findall(r"^\| `((?:process|python)_\w+)` \| (\w+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    registered = list(Metrics(Manager(tmp_path, None), Rejections()).registry.collect())
    named = [(it.name + "_total" * (it.type == "counter"), it.type, it.documentation) for it in registered]
    assert named == [(it.name, it.kind, it.help) for it in FAMILIES] + others
    assert str(MAX_CLASSES) in PAGE.read_text()


def test_a_label_that_is_not_utf_8(tmp_path):
    rejections = Rejections()
    rejections.counts["caf\udce9", "native", 401] += 1
    page, _ = Metrics(Manager(tmp_path, None), rejections).page("")
    assert rb'model="caf\\udce9"' in page


def test_two_registries_do_not_mix(tmp_path):
    manager = Manager(tmp_path, None)
    assert Metrics(manager, Rejections()).registry is not Metrics(manager, Rejections()).registry
