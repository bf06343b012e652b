"""The native protocol: its prediction paths and the form of its errors."""

from typing import Any

from service.protocols import openapi as docs
from service.protocols.native import codec
from service.protocols.protocol import Path, ServingProtocol

_REQUEST = docs.optional(
    instances=docs.array({}, minItems=1),
    inputs={"type": "object"},
    heads={"oneOf": [{"const": "*"}, docs.array(docs.TEXT)]},
    keys=docs.array(docs.TEXT),
) | {"additionalProperties": False}
_PREDICTIONS = docs.by_name(docs.by_name({"type": "array", "minItems": 1}))
_PREDICT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": 'Either `instances` (rows) or `inputs` (columns). `heads`: absent for the first head, `"*"` for all, '
        "or a list. `keys`: absent for every prediction key, or a list. Any content type is accepted.",
        "content": {"application/json": {"schema": _REQUEST}},
    },
    "responses": {
        "200": docs.body(
            "`predictions`: head → key → one value a row. NaN and infinities are null.",
            docs.members(model=docs.TEXT, version=docs.COUNT, predictions=_PREDICTIONS),
        ),
        "4XX": docs.problem("An RFC 9457 problem: what was expected, what came."),
        "5XX": docs.problem("An RFC 9457 problem: the model is not served now, it failed, or the time is over."),
    },
}


def _path(target: str, name: str, served: str, versions: str) -> Path:
    docs_of_path = {"description": f"Computes the requested heads together, with {versions}."} | _PREDICT
    # The codec is a module, since it has no state.
    return Path("POST", f"{target}/predict", name, f"Predict with {served}", docs_of_path, lambda _: codec)


NATIVE = ServingProtocol(
    name="native",
    prefix="/models",
    tag="models",
    paths=(
        _path("/models/{model}", "predict", "the served version", "the newest available version"),
        _path("/models/{model}/versions/{version}", "predict_version", "one version", "one version; 404 unless it is served"),
        _path(
            "/models/{model}/labels/{label}",
            "predict_label",
            "the version of a label",
            "the version of a label in `models.toml`; 503 while that version is not served",
        ),
    ),
    problem=lambda error: (error.status, codec.encode_error(error)),
)
