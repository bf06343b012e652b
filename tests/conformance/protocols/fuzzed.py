"""The OpenAPI document from which schemathesis generates requests.

Generated bodies rarely fit a model. Therefore the document has additional operations, each of one model, with a schema of that
model's inputs. The expected answers are those of the document.

`HEADSERVE_FUZZ_EXAMPLES` sets the number of requests, `HEADSERVE_FUZZ_SEED` generates other ones.
"""

import os
from pathlib import Path
from typing import Any

import requests
from schemathesis.config import SchemathesisConfig

from service import Settings, create_app
from service.protocols.model_docs import with_models
from service.types import HeadSpec, InputSpec, ModelSpec, TensorSpec
from tests.conformance.protocols.models import export_all
from tests.service.conftest import FILMS_CARD, export_films, export_vectors, write_card

Schema = dict[str, Any]

COUNT = int(os.environ.get("HEADSERVE_FUZZ_EXAMPLES", "20"))
"""Random requests per operation, in addition to those that schemathesis lists."""
SEED = int(os.environ["HEADSERVE_FUZZ_SEED"]) if "HEADSERVE_FUZZ_SEED" in os.environ else None
"""Selects the random requests."""


def config(count: int) -> SchemathesisConfig:
    """The configuration for that many random requests per operation."""
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED or 1,
            "generation": {"deterministic": SEED is None, "max-examples": count},
            "checks": {"not_a_server_error": {"expected-statuses": ["2xx", "4xx", 501, 503, 504]}},
        }
    )


CHECKED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
]
"""Whether a body is accepted is not checked: it depends on the model, which the document does not describe."""

NAMES: dict[str, list[Any]] = {
    "model": ["films", "vectors", "half_plus_two", "half_plus_three", "facts", "broken"],
    "version": [1, 2, 7, 123, 124],
    "label": ["stable", "a/b"],
}
"""Existing names; schemathesis generates others."""

FILMS = ModelSpec(
    "films",
    2,
    tuple(InputSpec(its["name"], its["dtype"], tuple(its["shape"]), its["required"]) for its in FILMS_CARD["inputs"]),
    tuple(
        HeadSpec(head["name"], tuple(TensorSpec(its["name"], its["dtype"], tuple(its["shape"])) for its in head["keys"]))
        for head in FILMS_CARD["heads"]
    ),
    {},
    FILMS_CARD["example"],
)
FILMS_PATH = "/models/films/predict"


def session() -> requests.Session:
    """A session that keeps its connection open and ignores the environment's proxies."""
    made = requests.Session()
    made.trust_env = False
    return made


def export(folder: Path) -> None:
    """Export the models of the tests of /v1, one with a card and several heads, and one without."""
    export_all(folder)
    export_films(folder / "films" / "2")
    write_card(folder / "films" / "2", FILMS_CARD)
    export_vectors(folder / "vectors" / "7")


def some(**properties: Schema) -> Schema:
    """The schema of an object whose members are optional."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


def every(**properties: Schema) -> Schema:
    """The schema of an object whose members are required."""
    return some(**properties) | {"required": list(properties)}


def rows(of: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "maxItems": 4, "items": of}


def enum(*values: Any) -> Schema:
    return {"enum": list(values)}


def one_of(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


NUMBER: Schema = {"type": "number"}
PAIR: Schema = {"type": "array", "minItems": 2, "maxItems": 2, "items": NUMBER}
EXAMPLES = rows(every(x={"type": "number", "minimum": 0.5, "maximum": 0.75}))
TENSOR = every(name=enum("x"), datatype=enum("FP32"), shape=enum([1, 2]), data=PAIR)
OUTPUT = every(name=enum("sum/value", "log/value"), parameters=some(classification=enum(1, 2), binary_data={"type": "boolean"}))
PREDICT = one_of(every(instances=rows(NUMBER)), every(inputs=one_of(NUMBER, rows(NUMBER), every(x=rows(NUMBER)))))
TASKS = rows(
    one_of(
        every(method_name=enum("classify"), signature_name=enum("classify_x_to_y")),
        every(method_name=enum("regress"), signature_name=enum("regress_x_to_y", "regress_x_to_y2")),
    )
)
ECHO = rows(one_of({"type": "string"}, every(b64=enum("YQ==", "/w=="))))
INFER = every(inputs=rows(TENSOR) | {"maxItems": 1}, outputs=rows(OUTPUT) | {"maxItems": 1})

OF_ONE_MODEL: dict[str, tuple[str, Schema]] = {
    "/models/vectors/predict": ("/models/{model}/predict", every(instances=rows(PAIR), heads=enum("*", ["sum"], ["log"]))),
    "/models/vectors/versions/7/predict": ("/models/{model}/versions/{version}/predict", every(inputs=every(x=rows(PAIR)))),
    "/models/half_plus_two/labels/stable/predict": ("/models/{model}/labels/{label}/predict", every(instances=rows(NUMBER))),
    "/v1/models/half_plus_two:predict": ("/v1/models/{model}:predict", PREDICT),
    "/v1/models/facts:predict": ("/v1/models/{model}:predict", every(signature_name=enum("echo_string"), instances=ECHO)),
    "/v1/models/half_plus_two:classify": (
        "/v1/models/{model}:classify",
        every(signature_name=enum("classify_x_to_y"), examples=EXAMPLES),
    ),
    "/v1/models/half_plus_two:regress": (
        "/v1/models/{model}:regress",
        every(signature_name=enum("regress_x_to_y"), examples=EXAMPLES),
    ),
    "/v1/models/half_plus_two:multiInference": (
        "/v1/models/{model}:multiInference",
        every(tasks=TASKS, examples=EXAMPLES),
    ),
    "/v2/models/vectors/infer": ("/v2/models/{model}/infer", INFER),
    "/v2/models/vectors/versions/7/infer": (
        "/v2/models/{model}/versions/{version}/infer",
        every(inputs=rows(TENSOR), id={"type": "string"}),
    ),
}
"""The document's path and the schema of the body, by path."""


def document() -> dict[str, Any]:
    """The document, made without a server; each operation becomes a test."""
    generic = create_app(Settings(models=Path(__file__).parent)).openapi()
    paths, films = generic["paths"], with_models(generic, [FILMS])
    known = {path: {method: _with_names(its) for method, its in of.items()} for path, of in paths.items()}
    own = {path: {"post": _of_one_model(paths[of]["post"], path, body)} for path, (of, body) in OF_ONE_MODEL.items()}
    return films | {"paths": known | {FILMS_PATH: films["paths"][FILMS_PATH]} | own}


def _with_names(operation: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        its | {"schema": one_of(enum(*NAMES[its["name"]]), its["schema"])} if its["name"] in NAMES else its
        for its in operation.get("parameters", [])
    ]
    return operation | {"parameters": parameters}


def _of_one_model(operation: dict[str, Any], path: str, body: Schema) -> dict[str, Any]:
    content = {"application/json": {"schema": body}}
    return operation | {"operationId": path, "parameters": [], "requestBody": {"required": True, "content": content}}
