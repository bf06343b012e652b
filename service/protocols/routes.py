"""The routes for operation, `/livez`, `/readyz` and `/metrics`, and the JSON response of all protocols' routes."""

import orjson
from fastapi import APIRouter, Request, Response

from service.lifecycle.served_models import ModelStatus, ServedModels
from service.metrics import Metrics
from service.protocols import openapi as docs

_NAMES = docs.array(docs.TEXT)
_ALIVE = docs.members(status={"const": "alive"})
_MODELS = {"ready": _NAMES, "loading": _NAMES, "failed": _NAMES}
_READY = docs.members(status={"enum": ["ready", "degraded"]}, **_MODELS) | {"required": ["status"]}
_NOT_READY = docs.members(status={"enum": ["not ready", "draining"]}, **_MODELS) | {"required": ["status"]}
_LIVEZ_DOCS: docs.Responses = {200: docs.body("It is.", _ALIVE)}
_READYZ_DOCS: docs.Responses = {
    200: docs.body("It can; `degraded`: not with all of the models.", _READY),
    503: docs.body("Loading, ending, or no model.", _NOT_READY),
}

_METRICS_DOCS: docs.Responses = {200: docs.body("They are in docs/metrics.md.", docs.TEXT, "text/plain")}
_METRICS_DOCS[200]["content"]["application/openmetrics-text"] = {"schema": docs.TEXT}


def json_response(body: object, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(orjson.dumps(body), status, media_type="application/json")


def answering_state(manager: ServedModels, status: ModelStatus) -> str:
    """Return the model's state; `available` for one that is loaded at its first request."""
    return "available" if manager.loads_on_demand(status.name) else status.state


def operations_router(manager: ServedModels, metrics: Metrics, names: bool) -> APIRouter:
    """Return the routes for health and metrics; `names`: whether `/readyz` names models."""
    routes = APIRouter(tags=["health"])

    @routes.get("/livez", summary="Is the process alive?", responses=_LIVEZ_DOCS)
    async def livez() -> Response:
        """Always 200: the event loop answers, also while models load and compute."""
        return json_response({"status": "alive"})

    @routes.get("/readyz", summary="Can it predict?", responses=_READYZ_DOCS)
    async def readyz() -> Response:
        """200 once the models that were there at the start are loaded; 503 before, without any model, and from SIGTERM on.

        If a model failed, the status is `degraded`, and still 200. The response names models only if the server has no keys.
        """
        states = {name: answering_state(manager, status) for name, status in manager.statuses.items()}
        ready, loading, failed = (
            [name for name, state in states.items() if state == wanted] for wanted in ("available", "loading", "failed")
        )
        answers = bool(ready) and manager.settled and not manager.draining
        if manager.draining:
            status = "draining"
        elif not answers:
            status = "not ready"
        else:
            status = "degraded" if failed else "ready"
        models = {"ready": ready, "loading": loading, "failed": failed} if names else {}
        return json_response({"status": status} | models, 200 if answers else 503)

    @routes.get("/metrics", summary="Metrics for Prometheus", response_class=Response, responses=_METRICS_DOCS)
    def scrape(request: Request) -> Response:
        """Requests, times, batches, versions and predictions of every head, as Prometheus or OpenMetrics text."""
        page, media_type = metrics.page(request.headers.get("accept", ""))
        return Response(page, headers={"content-type": media_type})

    return routes
