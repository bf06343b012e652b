"""Ray Serve with request batching, as https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html advises.

`max_ongoing_requests` is raised and RAY_SERVE_THROUGHPUT_OPTIMIZED set, as its page on performance tuning advises, and requests
come through HAProxy (RAY_SERVE_ENABLE_HA_PROXY), as its page on high throughput does. Of 1, 5 and 20 ms to wait for a batch,
the first is the fastest here.
"""

import signal
import sys
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from saved_model import Outputs, Row, SavedModel
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=1000, ray_actor_options={"num_cpus": 1})
class Predictor:
    """All outputs of the model."""

    def __init__(self) -> None:
        self.model = SavedModel()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def predict(self, requests: list[list[Row]]) -> list[Outputs]:
        """One run for all requests of a batch."""
        return self.model.batch(requests)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """The answer to one request."""
        return {"predictions": await self.predict((await request.json())["instances"])}


if __name__ == "__main__":
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ray.init(include_dashboard=False, _temp_dir=str(Path.cwd() / "ray"), log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=LoggingConfig(enable_access_log=False))
    serve.run(Predictor.bind(), route_prefix="/predict", logging_config=LoggingConfig(enable_access_log=False))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
