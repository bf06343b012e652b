"""Health: `/livez` (the process answers) and `/readyz` (it can predict)."""

import orjson
from fastapi import APIRouter, Response

from service.lifecycle.manager import Manager


def router(manager: Manager) -> APIRouter:
    """The routes that an orchestrator asks."""
    routes = APIRouter(tags=["health"])

    @routes.get("/livez", summary="Is the process alive?")
    async def livez() -> Response:
        """Always 200: the event loop answers, also while models load and compute."""
        return _json({"status": "alive"})

    @routes.get("/readyz", summary="Can it predict?", responses={503: {"description": "Loading, ending, or no model."}})
    async def readyz() -> Response:
        """200 when the models that were there at the start are loaded; 503 before, without any model, and from SIGTERM on.

        A model that failed does not take the others off the network: `status` is then `degraded`, and the body names it.
        """
        states = {name: status.state for name, status in manager.statuses.items()}
        ready = [name for name, state in states.items() if state == "available"]
        failed = [name for name, state in states.items() if state == "failed"]
        loading = [name for name, state in states.items() if state == "loading"]
        answers = bool(ready) and manager.settled and not manager.draining
        if manager.draining:
            status = "draining"
        elif not answers:
            status = "not ready"
        else:
            status = "degraded" if failed else "ready"
        return _json({"status": status, "ready": ready, "loading": loading, "failed": failed}, 200 if answers else 503)

    return routes


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
