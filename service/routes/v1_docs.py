"""What the OpenAPI document says about `/v1`."""

from typing import Any

_ERROR = {
    "description": 'What is wrong: `{"error": "…"}`.',
    "content": {
        "application/json": {"schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}}
    },
}

_NAME = {"type": "string", "description": "Absent or empty for `serving_default`."}
_FEATURES = {"type": "object", "description": "Feature → value or list of values."}

_REQUEST: dict[str, Any] = {
    "type": "object",
    "properties": {
        "signature_name": _NAME,
        "instances": {"type": "array", "minItems": 1, "items": {}, "description": "`:predict`: rows."},
        "inputs": {"description": "`:predict`: columns, an object by input or the only input's value."},
        "output_filter": {"type": "array", "items": {"type": "string"}, "description": "`:predict`: outputs to answer."},
        "examples": {"type": "array", "minItems": 1, "items": _FEATURES, "description": "`:classify` and `:regress`."},
        "context": _FEATURES | {"description": "Features that all examples share."},
        "tasks": {
            "type": "array",
            "minItems": 1,
            "description": "`:multiInference`: signatures over one input, which is `examples`, `instances` or `inputs`.",
            "items": {
                "type": "object",
                "properties": {"signature_name": _NAME, "method_name": {"enum": ["classify", "regress", "predict"]}},
            },
        },
    },
}

ASK: dict[str, Any] = {
    "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}}},
    "responses": {
        200: {
            "description": "`predictions` (rows), `outputs` (columns) or `results`. Floats may be NaN, Infinity or -Infinity."
        },
        "4XX": _ERROR,
        "5XX": _ERROR,
    },
}
TELL: dict[str, Any] = {"responses": {"4XX": _ERROR}}

_TARGETS = {
    "/v1/models/{model}": "the newest version",
    "/v1/models/{model}/versions/{version}": "one version",
    "/v1/models/{model}/labels/{label}": "the version of a label",
}
_VERBS = {
    ":predict": "Any signature",
    ":classify": "Labels and scores for tf.Examples",
    ":regress": "A number for each tf.Example",
    ":multiInference": "Several signatures over one input, in one run",
}

PATHS: dict[str, str] = (
    {"/v1/models": "List the models and the states of their versions"}
    | {path: f"The states: {'every version' if 'newest' in whose else whose}" for path, whose in _TARGETS.items()}
    | {f"{path}/metadata": f"The signatures of {whose}" for path, whose in _TARGETS.items()}
    | {path + verb: f"{what}, of {whose}" for path, whose in _TARGETS.items() for verb, what in _VERBS.items()}
)
"""Every path with its summary."""
