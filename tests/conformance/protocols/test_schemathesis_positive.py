"""Requests generated to fit the OpenAPI document: the server answers them, unless it has a reason that a schema cannot express.

Each model has a key of its own, so that the document describes this model alone.
"""

import re
from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from service import Settings, create_app
from service.auth.keys import SCOPES
from tests.conformance.protocols import fuzzed
from tests.conformance.protocols.server import exported, running
from tests.service.keyring import add_key

REASONS = {
    # Relations between two values.
    "Columns must be of one length": "columns have equally many rows",
    r"expected \d+ rows, as in the others": "inputs of /v2 have equally many rows",
    r"\(a ragged list\)": "lists of a list have equal lengths, which the model leaves open",
    "No selected head .* has a key": "a key belongs to one of the listed heads",
    "Head .* has none of the keys": "each listed head has one of the keys",
    "Duplicate evaluation of signature": "tasks name different signatures, although other members of theirs may differ",
    "'outputs' lists .* times": "outputs have different names, although their parameters may differ",
    "has inconsistent batch size": "the graph decides how many rows an output has",
    "is given twice": "inputs of /v2 have different names, although their data differ",
    "so there are no rows": "one of the optional inputs is present and not null",
    # Numbers: 1.0 is an integer for JSON Schema.
    r"expected a whole number, but got the number -?\d+\.0": "a whole number of /v1 has no point",
    r"expected .* of (classes|microseconds).*, but got the number \d+\.0": "a whole number of /v2 has no point",
    # What the graph does with values.
    "refused the values": "values that the graph does not accept, such as an index out of range",
    "Could not parse example": "text that is not a tf.Example",
    "no servable version|timed out": "the state of the server",
    "no answer within the time": "a request may give the server less time than it takes",
}
"""Reasons to refuse a request that fits the document, by their messages."""

BINARY = "application/octet-stream"
"""The media type whose bodies are described only as bytes: JSON with the bytes of tensors after it."""

VERBS = ("predict", "classify", "regress", "multiInference", "infer")
READING, PREDICTING = 3, 12
"""Requests for each model and operation."""

GENERIC = create_app(Settings(models=Path(__file__).parent)).openapi()
OPERATIONS = [(method, path) for path, methods in GENERIC["paths"].items() for method in methods]
MODELS = ("films", "half_plus_two", "half_plus_three", "vectors", "facts")
ALL = "*"
"""The key for all models, for paths without a model."""
LABELS = "\n[models.{0}]\nlabels = {{ now = {1} }}\n"

SESSION = fuzzed.session()


class Server:
    """A server of all models, with the operations that each model's document describes."""

    def __init__(self, client: httpx.Client, keys: dict[str, str]):
        self.client = client
        self.keys = keys
        self._operations = {model: self._described(model) for model in keys}

    def operations(self, method: str, path: str) -> Iterator[tuple[str, Any]]:
        """The models whose documents have the operation, and the operation; also the path of one model."""
        for model, operations in self._operations.items():
            if (model == ALL) == ("{model}" in path):
                continue
            for known in (path, path.replace("/models/{model}/predict", f"/models/{model}/predict")):
                if (method, known) in operations:
                    yield model, operations.pop((method, known))

    def _described(self, model: str) -> dict[tuple[str, str], Any]:
        document = self.client.get("/openapi.json", headers={"x-api-key": self.keys[model]}).json()
        schema = schemathesis.openapi.from_dict(document, config=fuzzed.config(PREDICTING))
        found = [result.ok() for result in schema.get_all_operations()]
        return {(operation.method, operation.path): operation for operation in found}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = exported(tmp_path_factory, fuzzed.export)
    broken = models / "broken"
    (broken / "1" / "saved_model.pb").unlink()
    (broken / "1").rmdir()
    broken.rmdir()
    versions = {model: max(int(folder.name) for folder in (models / model).iterdir()) for model in MODELS}
    with (models / "models.toml").open("a") as file:
        file.writelines(LABELS.format(model, version) for model, version in versions.items() if model != "half_plus_two")
    keys_file = tmp_path_factory.mktemp("keys") / "keys.json"
    keys = {model: add_key(keys_file, model, *SCOPES, models=(model,)) for model in MODELS}
    keys[ALL] = add_key(keys_file, "all", *SCOPES)
    with running(models, keys_file=keys_file) as client:
        client.headers["x-api-key"] = keys[ALL]
        yield Server(client, keys)


def requests_of(operation: Any, count: int) -> list[schemathesis.Case]:
    """Generate requests that fit the document; the same ones in each run."""
    cases = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def collect(case: schemathesis.Case) -> None:
        cases.append(case)

    collect()
    return cases


def repaired(case: schemathesis.Case) -> schemathesis.Case:
    """Make a request of /v2 consistent: no length of the JSON in a header, and as many values as the shape has.

    Without this, next to no request of /v2 would get further than these two checks.
    """
    case.headers.pop("Inference-Header-Content-Length", None)
    tensors = case.body.get("inputs", []) if isinstance(case.body, dict) and case.path.endswith("/infer") else []
    if tensors:
        for tensor in tensors:  # the sizes of an unknown rank may be very large
            tensor["shape"] = [1, *(tensor["shape"][1:] if prod(tensor["shape"][1:]) <= 8 else [])]
        rows = min(len(it["data"]) if _is_nested(it) else len(it["data"]) // (prod(it["shape"]) or 1) for it in tensors)
        for tensor in tensors:
            shape = tensor["shape"] = [max(rows, 1), *tensor["shape"][1:]]
            size = shape[0] if _is_nested(tensor) else prod(shape)
            data = tensor["data"] or [{"BYTES": "", "BOOL": False}.get(tensor["datatype"], 0)]
            tensor["data"] = [data[at % len(data)] for at in range(size)]
    return case


def _is_nested(tensor: dict[str, Any]) -> bool:
    return any(isinstance(item, list) for item in tensor["data"])


def unexplained(case: schemathesis.Case, response: Any) -> str | None:
    """The message of a refusal for which there is no reason; None for an answer."""
    if response.status_code < 400 or case.media_type == BINARY:
        return None
    message = response.json()["error"]
    return None if any(re.search(pattern, message, re.DOTALL) for pattern in REASONS) else f"{response.status_code} {message}"


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{method.upper()} {path}" for method, path in OPERATIONS])
def test_requests_that_fit_the_document_are_answered(method: str, path: str, server: Server) -> None:
    statuses: Counter[int] = Counter()
    refused = {}
    for model, operation in server.operations(method, path):
        for case in requests_of(operation, PREDICTING if path.endswith(VERBS) else READING):
            case.headers["X-Api-Key"] = server.keys[model]
            case.headers.pop("Authorization", None)
            response = repaired(case).call(str(server.client.base_url), session=SESSION)
            statuses[response.status_code] += 1
            if (message := unexplained(case, response)) is not None:
                refused[message] = (response.request.url, case.body)
            if path.endswith("/unload"):
                server.client.post(path.format(model=model).replace("/unload", "/load")).raise_for_status()
    assert not refused
    assert statuses[200], statuses
