"""LitServe with batching, as https://lightning.ai/docs/litserve/features/batching advises.

Requests go to the worker by ZeroMQ (`fast_queue`), which its documentation advises above a hundred requests a second. A
batch is what waits when the worker is free: of 0, 1, 5 and 20 ms to wait for more, the first is the fastest here.
"""

import sys
from typing import Any

import litserve as ls
from saved_model import Outputs, Row, SavedModel

MAX_BATCH_SIZE = 64
BATCH_TIMEOUT_S = 0.0


class PredictAPI(ls.LitAPI):
    """Batches are lists of requests, each a list of rows."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Loads the model, in the worker."""
        self.model = SavedModel()

    def decode_request(self, request: dict[str, Any]) -> list[Row]:
        """The rows."""
        return request["instances"]

    def predict(self, x: list[list[Row]]) -> list[Outputs]:
        """One run for all."""
        return self.model.batch(x)

    def encode_response(self, output: Outputs) -> dict[str, Outputs]:
        """The answer to one request."""
        return {"predictions": output}


if __name__ == "__main__":
    api = PredictAPI(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)
