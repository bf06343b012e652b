"""The servers that can be measured: how each is started, and what it is asked."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SERVERS = REPOSITORY / "benchmarks" / "servers"
ENVIRONMENTS = REPOSITORY / "build" / "bench"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Server:
    """How to start it, where it answers, and the body that asks it for all outputs of some rows.

    Args:
        python: Its environment's interpreter.
        arguments: What follows the interpreter; `{0}` is its port, `{1}` and `{2}` are further free ones.
        path: Where it answers.
        ready: What answers with 200 when it is ready, or soon.
        distributions: Whose versions are told.
        environment: Variables, with ports as in `arguments`.
        body: From rows to what its protocol has for them.
        calls_nothing: Whether its answer is a constant.
        binary_path: Where it answers the Open Inference Protocol in binary, if it does.
    """

    python: str
    arguments: list[str]
    path: str
    ready: str
    distributions: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    body: Callable[[Rows], dict[str, Any]] = lambda rows: {"instances": rows, "heads": "*"}
    calls_nothing: bool = False
    binary_path: str | None = None

    @property
    def installed(self) -> bool:
        """Whether its environment is there."""
        return Path(self.python).exists()


def servers(model: str) -> dict[str, Server]:
    """All, by name; headserve's finds the model of that name in `models`, in the folder that it is started in."""
    uvicorn = ["-m", "uvicorn", "--no-access-log", "--log-level", "warning", "--port", "{0}"]
    own = ["-m", "service", "serve", "--models", "models", "--port", "{0}"]
    return {
        "headserve": Server(
            sys.executable,
            own,
            f"/models/{model}/predict",
            "/readyz",
            ["headserve", "fastapi", "uvicorn"],
            binary_path=f"/v2/models/{model}/infer",
        ),
        "plain": Server(sys.executable, [*uvicorn, "plain:app"], "/predict", "/docs", []),
        "litserve": Server(
            _python("litserve"), [str(SERVERS / "litserve_server.py"), "--port", "{0}"], "/predict", "/health", ["litserve"]
        ),
        "bentoml": _bentoml(),
        "ray": _ray(),
        "mlserver": _mlserver(),
        "empty": Server(sys.executable, [*uvicorn, "empty:app"], "/predict", "/docs", [], calls_nothing=True),
    }


def _python(peer: str) -> str:
    return str(ENVIRONMENTS / peer / "bin" / "python")


def _bentoml() -> Server:
    serve = ["-m", "bentoml", "serve", "bentoml_server:Predictor", "--working-dir", str(SERVERS), "--host", "127.0.0.1"]
    return Server(
        _python("bentoml"),
        [*serve, "--port", "{0}"],
        "/predict",
        "/readyz",
        ["bentoml"],
        environment={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": "bentoml"},
        body=lambda rows: {"requests": [{"instances": rows}]},
    )


def _ray() -> Server:
    return Server(
        _python("ray"),
        [str(SERVERS / "ray_server.py"), "--port", "{0}"],
        "/predict",
        "/-/healthz",
        ["ray"],
        environment={
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
        },
    )


def _mlserver() -> Server:
    return Server(
        _python("mlserver"),
        [str(ENVIRONMENTS / "mlserver" / "bin" / "mlserver"), "start", str(SERVERS / "mlserver_server")],
        "/v2/models/predictor/infer",
        "/v2/health/ready",
        ["mlserver"],
        environment={"MLSERVER_HTTP_PORT": "{0}", "MLSERVER_GRPC_PORT": "{1}", "MLSERVER_METRICS_PORT": "{2}"},
        body=_open_inference,
    )


def _open_inference(rows: Rows) -> dict[str, Any]:
    """The Open Inference Protocol's JSON: a flat tensor for every input."""
    inputs = [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": "BYTES" if isinstance(value, str) else "FP32",
            "data": [row[name] for row in rows],
        }
        for name, value in rows[0].items()
    ]
    return {"inputs": inputs}
