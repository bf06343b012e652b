"""What Prometheus and Grafana are given: Debian's Prometheus loads the real configuration and scrapes the real server.

It runs beside the server, in its network, as it does with the profile `monitoring`; Grafana's part is that each query of the
dashboard is understood and asks for metrics that the server has.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.docker.engine import REPOSITORY, SERVER, Compose, Container, container, docker, run, which
from tests.waiting import until

CONFIGURATION = REPOSITORY / "docker/prometheus"
DASHBOARD = json.loads((REPOSITORY / "docker/grafana/dashboards/headserve.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
MAY_BE_EMPTY = {"GPU memory"}
BODY = {"instances": [{"island": "Biscoe", "flipper_length_mm": 210.0}], "heads": "*"}


def queries(panel: dict[str, Any]) -> list[str]:
    """A panel's queries as Grafana sends them for all models."""
    expressions = [target["expr"] for target in panel["targets"]]
    return [expression.replace("$__rate_interval", "1m").replace("$model", ".*") for expression in expressions]


@pytest.fixture(scope="module")
def programs() -> Path:
    found = which("prometheus")
    if not found:
        pytest.skip("There is no Prometheus: `make prometheus` gets Debian's.")
    return Path(found).resolve().parent


@pytest.fixture(scope="module")
def prometheus(compose: Compose, programs: Path) -> Iterator[httpx.Client]:
    """Prometheus, which has scraped the server twice with requests in between."""
    network = compose.container("server")["range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end"]
    options = ["--network", network, "--volume", f"{CONFIGURATION}:/etc/prometheus:ro", "--volume", f"{programs}:/programs:ro"]
    options += ["--publish", "127.0.0.1::9090", "--tmpfs", "/data:uid=1000", "--entrypoint", "/programs/prometheus"]
    command = ("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data")
    with container(SERVER, *options, command=command) as started:
        address = docker("port", started.name, "9090").splitlines()[0]
        with httpx.Client(base_url=f"http://{address}", timeout=60) as client:
            until(lambda: _is_up(client, started))
            scrapes = 'count_over_time(up{job="headserve"}[5m])'
            for _ in range(2):
                before = _value(client, scrapes)
                for _ in range(20):
                    url = f"{compose.container('server').url}/models/penguins/predict"
                    httpx.post(url, json=BODY, timeout=60).raise_for_status()
                until(lambda before=before: _value(client, scrapes) > before)
            yield client


def _is_up(client: httpx.Client, started: Container) -> bool:
    try:
        return client.get("/-/ready").status_code == httpx.codes.OK and _value(client, 'up{job="headserve"}') == 1
    except httpx.TransportError:
        assert started[".State.Status"] == "running", docker("logs", started.name)
        return False


def _asked(client: httpx.Client, expression: str) -> list[Any]:
    """The result of a query; AssertionError if Prometheus does not take it."""
    answer = client.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
    return answer["data"]["result"]


def _value(client: httpx.Client, expression: str) -> float:
    return sum(float(one["value"][1]) for one in _asked(client, expression))


def test_promtool_takes_the_configuration_and_the_rules(programs: Path) -> None:
    run(str(programs / "promtool"), "check", "config", str(CONFIGURATION / "prometheus.yml"))
    run(str(programs / "promtool"), "check", "rules", str(CONFIGURATION / "rules.yml"))


def test_alerts_fire_for_what_they_are_about(programs: Path) -> None:
    run(str(programs / "promtool"), "test", "rules", "tests/docker/alerts.yml")
    tested = set(re.findall(r"alertname: (\w+)\n *exp_alerts", (REPOSITORY / "tests/docker/alerts.yml").read_text()))
    assert tested == set(re.findall(r"alert: (\w+)", (CONFIGURATION / "rules.yml").read_text()))


def test_it_scrapes_the_server(prometheus: httpx.Client) -> None:
    (target,) = prometheus.get("/api/v1/targets").json()["data"]["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert target["scrapeUrl"] == "http://server:8000/metrics"


def test_every_rule_is_evaluated(prometheus: httpx.Client) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("/api/v1/rules").json()["data"]["groups"] for rule in group["rules"]]

    until(lambda: all(rule["health"] != "unknown" for rule in rules()))
    assert [rule["name"] for rule in rules() if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules() if rule.get("state") == "firing"] == []


@pytest.mark.parametrize("panel", [pytest.param(panel, id=panel["title"]) for panel in PANELS])
def test_panel(panel: dict[str, Any], prometheus: httpx.Client) -> None:
    for expression in queries(panel):
        assert _asked(prometheus, expression) or panel["title"] in MAY_BE_EMPTY, expression


def test_panels_and_rules_ask_for_metrics_that_there_are(compose: Compose) -> None:
    exposed = httpx.get(f"{compose.container('server').url}/metrics", timeout=60).text
    there = set(re.findall(r"^# TYPE (\S+)", exposed, re.MULTILINE))
    rules = (CONFIGURATION / "rules.yml").read_text()
    asked = {name for text in (json.dumps(PANELS), rules) for name in re.findall(r"\b(?:headserve|process)_[a-z_]+\b", text)}
    assert {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in asked} <= there


def test_the_variable_finds_the_models(prometheus: httpx.Client) -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
    found = prometheus.get(f"/api/v1/label/{label}/values", params={"match[]": metric}).json()
    assert found["data"] == ["penguins"]


def test_every_panel_uses_the_provisioned_source() -> None:
    provisioned = (REPOSITORY / "docker/grafana/provisioning/datasources/prometheus.yaml").read_text()
    uid = re.search(r"uid: (\w+)", provisioned)[1]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {uid}
