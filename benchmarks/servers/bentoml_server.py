"""BentoML with adaptive batching, as https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html advises.

A batchable API has one parameter, a list that is joined and split by its items. An item is a whole request here, so that its
outputs stay columns, and a client sends a list of one.
"""

from typing import Any

import bentoml
from pydantic import BaseModel
from saved_model import Outputs, Row, SavedModel


class Body(BaseModel):
    """Rows, each an object with every input."""

    instances: list[Row]


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Predictor:
    """All outputs of the model."""

    def __init__(self) -> None:
        self.model = SavedModel()

    @bentoml.api(batchable=True, batch_dim=(0, 0), max_batch_size=64, max_latency_ms=1000)
    def predict(self, requests: list[Body]) -> list[dict[str, Any]]:
        """One run for all requests of a batch."""
        return [_answer(outputs) for outputs in self.model.batch([request.instances for request in requests])]


def _answer(outputs: Outputs) -> dict[str, Outputs]:
    return {"predictions": outputs}
