"""TensorFlow Serving's REST protocol: its paths and the form of its errors.

Paths are matched as they were sent: a name may hold a percent-encoded slash or colon, and case does not matter.
"""

from collections.abc import Callable
from typing import Any

import orjson

from service.errors import (
    HeadserveError,
    InvalidRequestError,
    RequestError,
    UnknownLabelError,
    UnknownModelError,
    UnknownVersionError,
)
from service.messages import listed
from service.protocols import openapi as docs
from service.protocols.protocol import JSON_TYPE, Codec, Path, ServingProtocol
from service.protocols.tfserving.codec import METHODS, Classify, MultiInference, Predict, Regress
from service.types import Encoded, Headers

TIMEOUT_MS = 30_000
"""TensorFlow Serving's time limit of a request."""

MAX_MESSAGE = 2000
"""Characters of an error message, which may quote the request."""

_MAX_VERSION = (1 << 63) - 1
_ERROR = docs.error('What is wrong: `{"error": "…"}`.')
_NOT_NOW = docs.error("The model is not served now, it failed, or the time is over.")

_NAME = {"type": "string", "description": "Absent or empty for `serving_default`."}
_FEATURES = {"type": "object", "description": "Feature → value or list of values."}

_TASK = docs.optional(signature_name=_NAME, method_name={"enum": list(METHODS)})
_TASKS = "`:multiInference`: signatures over one input, which is `examples`, `instances` or `inputs`."
_REQUEST = docs.optional(
    signature_name=_NAME,
    instances=docs.array({}, minItems=1, description="`:predict`: rows."),
    inputs={"description": "`:predict`: columns, an object by input or the only input's value."},
    output_filter=docs.array(docs.TEXT, description="`:predict`: outputs to answer."),
    examples=docs.array(_FEATURES, minItems=1, description="`:classify` and `:regress`."),
    context=_FEATURES | {"description": "Features that all examples share."},
    tasks=docs.array(_TASK, minItems=1, description=_TASKS),
)
_STATUS = docs.members(
    version=docs.TEXT,
    state={"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
    status=docs.members(error_code=docs.TEXT, error_message=docs.TEXT),
)
_STATUSES = docs.members(model_version_status=docs.array(_STATUS))
_STATUS_DOCS = {"responses": {"200": docs.body("The states.", _STATUSES), "4XX": _ERROR}}
_MODELS = docs.members(models=docs.array(_STATUSES | {"required": ["name", "model_version_status", "version_labels"]}))
_LIST_DOCS = {"responses": {"200": docs.body("The models.", _MODELS)}}
_TENSORS = docs.by_name(docs.members(dtype=docs.TEXT, tensor_shape={"type": "object"}, name=docs.TEXT))
_SIGNATURE = docs.members(inputs=_TENSORS, outputs=_TENSORS, method_name=docs.TEXT, defaults={"type": "object"})
_METADATA = docs.members(
    model_spec=docs.members(name=docs.TEXT, signature_name=docs.TEXT, version=docs.TEXT),
    metadata=docs.members(signature_def=docs.members(signature_def=docs.by_name(_SIGNATURE))),
)
_METADATA_DOCS = {"responses": {"200": docs.body("The signatures.", _METADATA), "4XX": _ERROR, "5XX": _NOT_NOW}}
_VALUE = {"description": "Floats may be NaN, Infinity or -Infinity."}
_RESULTS = docs.members(results={"type": "array"})


def _prediction(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
        "responses": {"200": docs.body(description, schema), "4XX": _ERROR, "5XX": _NOT_NOW},
    }


_TARGETS = {
    "/v1/models/{model}": ("model_only", "the newest version"),
    "/v1/models/{model}/versions/{version}": ("with_version", "one version"),
    "/v1/models/{model}/labels/{label}": ("with_label", "the version of a label"),
}
_PREDICTION_DOCS = {
    "predict": _prediction(
        "`predictions` for `instances`, one a row; `outputs` for `inputs`.",
        {"oneOf": [docs.members(predictions=docs.array(_VALUE)), docs.members(outputs=_VALUE)]},
    ),
    "classify": _prediction(
        "`results`: for each example, a list of pairs of label and score.",
        docs.members(results=docs.array(docs.array({"type": "array", "minItems": 2, "maxItems": 2}))),
    ),
    "regress": _prediction("`results`: a number for each example.", _RESULTS),
    "multiInference": _prediction("`results`: for each task, what the method's own path answers.", _RESULTS),
}
_VERBS: dict[str, tuple[Callable[[Headers], Codec], str]] = {
    "predict": (lambda _: Predict(), "Any signature"),
    "classify": (lambda _: Classify(), "Labels and scores for tf.Examples"),
    "regress": (lambda _: Regress(), "A number for each tf.Example"),
    "multiInference": (lambda _: MultiInference(), "Several signatures over one input, in one run"),
}
_PREDICTIONS = tuple(
    Path("POST", f"{path}:{verb}", name, f"{what}, of {of}", _PREDICTION_DOCS[verb], codec)
    for verb, (codec, what) in _VERBS.items()
    for path, (name, of) in _TARGETS.items()
)
LIST = Path("GET", "/v1/models", "no_parameters", "List the models and the states of their versions", _LIST_DOCS)
STATUS = tuple(
    Path("GET", path, name, f"The states: {'every version' if name == 'model_only' else of}", _STATUS_DOCS)
    for path, (name, of) in _TARGETS.items()
)
METADATA = tuple(
    Path("GET", f"{path}/metadata", name, f"The signatures of {of}", _METADATA_DOCS) for path, (name, of) in _TARGETS.items()
)


def version_number(text: str) -> int:
    """Parse the digits of a version. Raises RequestError if they exceed int64."""
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(_MAX_VERSION)) or int(digits) > _MAX_VERSION:
        raise RequestError(f"Expected a version of at most {_MAX_VERSION}, but got {text[:40]}.")
    return int(digits)


def problem(error: HeadserveError) -> tuple[int, Encoded]:
    """Return the status that TensorFlow Serving would give, and the message."""
    status = 400 if isinstance(error, InvalidRequestError | UnknownLabelError) else error.status
    return status, Encoded((orjson.dumps({"error": _message(error)[:MAX_MESSAGE]}),), (JSON_TYPE,))


def unknown_label(model: str, label: str, labels: list[str]) -> str:
    """Return TensorFlow Serving's message about a label that the model does not have."""
    return f"Unrecognized servable version label: {label}; model {model!r} has {listed(labels)}"


def _message(error: HeadserveError) -> str:
    """Return TensorFlow Serving's message if its clients may match on the text, else the error's own message."""
    about = error.details
    if isinstance(error, UnknownModelError | UnknownVersionError) and "model" in about:
        which = f"Specific({about['model']}, {about['version']})" if "version" in about else f"Latest({about['model']})"
        return f"Servable not found for request: {which}"
    if isinstance(error, UnknownLabelError) and "label" in about:
        return unknown_label(about["model"], about["label"], about["expected"])
    return error.message


V1 = ServingProtocol(
    name="v1",
    prefix="/v1",
    tag="TensorFlow Serving's API",
    paths=(*_PREDICTIONS, LIST, *STATUS, *METADATA),
    problem=problem,
    version_number=version_number,
    timeout_ms=TIMEOUT_MS,
    parameters={"model": "[^/:]+", "version": r"\d+", "label": "[^/:]+"},
    matches_raw_path=True,
)
