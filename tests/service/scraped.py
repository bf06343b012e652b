"""What scrapes of `/metrics` say, and by how much it rises."""

from collections.abc import Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, frozenset[tuple[str, str]]]
Value = Callable[..., float | None]
REQUESTS = {
    "headserve_requests_total": ("model", "version", "api", "status"),
    "headserve_head_requests_total": ("model", "version", "api", "head", "status"),
}


def samples(client: httpx.Client) -> dict[Key, float]:
    """Every sample of a scrape by its name and labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    return {(it.name, frozenset(it.labels.items())): it.value for family in families for it in family.samples}


def values(client: httpx.Client) -> Value:
    """A function that finds a sample of a scrape by its name and all of its labels."""
    found = samples(client)
    return lambda name, **labels: found.get((f"headserve_{name}", frozenset(labels.items())))


def rise(client: httpx.Client, ask: Callable[[], httpx.Response], status: int = 200) -> Value:
    """By how much samples rise when that is asked."""
    before = values(client)
    answer = ask()
    assert answer.status_code == status, answer.text
    after = values(client)
    return lambda name, **labels: (after(name, **labels) or 0) - (before(name, **labels) or 0)


def requests(client: httpx.Client, ask: Callable[[], httpx.Response]) -> dict[tuple[str, ...], float]:
    """By how much `headserve_requests_total` and `headserve_head_requests_total` rise, by the values of their labels."""
    before = samples(client)
    ask()
    after = samples(client)
    return {
        tuple(dict(labels)[label] for label in REQUESTS[name]): value - before.get((name, labels), 0)
        for (name, labels), value in after.items()
        if name in REQUESTS and value != before.get((name, labels), 0)
    }
