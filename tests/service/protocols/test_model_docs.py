"""The schemas of requests agree with the codecs: a request fits the schema if, and only if, the codec accepts it."""

from typing import Any

import jsonschema_rs
import orjson
import pytest

from service.errors import RequestError
from service.lifecycle.served_models import LabelStatus, ModelStatus, VersionStatus
from service.protocols.model_docs import MAX_DESCRIBED, with_models
from service.protocols.native import codec as native
from service.protocols.native.schemas import predict_schema
from service.protocols.oip.codec import OpenInference
from service.protocols.oip.schemas import infer_schema
from service.protocols.tfserving.codec import MultiInference, Predict
from service.protocols.tfserving.schemas import classify_schema, multi_inference_schema
from service.protocols.tfserving.schemas import predict_schema as v1_predict_schema
from service.types import HeadSpec, InputSpec, ModelSpec, SignatureSpec, TensorSpec
from tests.service.protocols.test_openapi import DOCUMENT

HEADS = (
    HeadSpec("a", (TensorSpec("p", "float32", (-1, 3)), TensorSpec("q", "string", (-1, 1)))),
    HeadSpec("b", (TensorSpec("p", "float32", (-1, 1)),)),
)
ODD = HeadSpec("odd", (TensorSpec("p", "float32", (-1,)), TensorSpec("c", "complex64", (-1,))))
X = InputSpec("x", "float32", (-1,))
Y = InputSpec("y", "uint8", (-1, 2), required=False, missing=0)
TEXT = InputSpec("text", "string", (-1,))
COLUMN = InputSpec("x", "int64", (-1, 1))
ANY = InputSpec("x", "float32", None)
LIMIT = InputSpec("limit", "float32", ())


def model(*inputs: InputSpec, heads: tuple[HeadSpec, ...] = HEADS) -> ModelSpec:
    signature = SignatureSpec(inputs, tuple(key for head in heads[:1] for key in head.keys))
    return ModelSpec("m", 3, inputs, heads, {"serving_default": signature, "other": signature}, {})


ONE, TWO, BYTES, BRACKETS, FREE = model(X), model(X, Y), model(TEXT), model(COLUMN), model(ANY)


def agree(schema: Any, codec: Any, spec: ModelSpec, message: Any, fits: bool) -> None:
    assert jsonschema_rs.validator_for(schema).is_valid(message) is fits
    try:
        codec.decode(orjson.dumps(message), spec)
        accepted = True
    except RequestError:
        accepted = False
    assert accepted is fits


@pytest.mark.parametrize(
    ("spec", "message", "fits"),
    [
        pytest.param(ONE, {"instances": [1, 2.5]}, True, id="values"),
        pytest.param(ONE, {"instances": [{"x": 1}]}, True, id="objects"),
        pytest.param(ONE, {"instances": [1, {"x": 1}]}, False, id="values and objects"),
        pytest.param(ONE, {"instances": []}, False, id="no rows"),
        pytest.param(ONE, {"instances": [1], "inputs": {"x": [1]}}, False, id="rows and columns"),
        pytest.param(ONE, {}, False, id="neither rows nor columns"),
        pytest.param(ONE, {"instances": [1], "other": 1}, False, id="another member"),
        pytest.param(ONE, {"instances": [1e39]}, False, id="beyond float32"),
        pytest.param(ONE, {"instances": [3.4028235e38]}, True, id="the largest float32"),
        pytest.param(ONE, {"instances": [True]}, False, id="a boolean for a number"),
        pytest.param(ONE, {"instances": [None]}, False, id="null for a required input"),
        pytest.param(TWO, {"instances": [{"x": 1}]}, True, id="an optional input is absent"),
        pytest.param(TWO, {"instances": [{"x": 1, "y": None}]}, True, id="an optional input is null"),
        pytest.param(TWO, {"instances": [{"x": 1, "y": [1, None]}]}, True, id="one value is null"),
        pytest.param(TWO, {"instances": [{"x": 1, "y": [1, 256]}]}, False, id="beyond uint8"),
        pytest.param(TWO, {"instances": [{"x": 1, "y": [1, 2.0]}]}, True, id="a whole number with a point"),
        pytest.param(TWO, {"instances": [{"x": 1, "y": [1, 2.5]}]}, False, id="a fraction for a whole number"),
        pytest.param(TWO, {"instances": [{"x": 1, "y": [1]}]}, False, id="too few values"),
        pytest.param(TWO, {"instances": [{"y": [1, 2]}]}, False, id="a required input is absent"),
        pytest.param(TWO, {"instances": [1]}, False, id="a value for two inputs"),
        pytest.param(TWO, {"inputs": {"x": [1], "y": [[1, 2]]}}, True, id="columns"),
        pytest.param(TWO, {"inputs": {"x": [1], "z": [1]}}, False, id="an unknown column"),
        pytest.param(TWO, {"inputs": [1]}, False, id="columns without names"),
        pytest.param(BYTES, {"instances": ["é", {"b64": "/w=="}]}, True, id="base64"),
        pytest.param(BYTES, {"instances": [{"b64": "/w="}]}, False, id="broken base64"),
        pytest.param(BRACKETS, {"instances": [[1], [2]]}, True, id="brackets"),
        pytest.param(BRACKETS, {"instances": [1, 2]}, True, id="no brackets around one value"),
        pytest.param(BRACKETS, {"instances": [[1], 2]}, False, id="brackets around some"),
        pytest.param(FREE, {"instances": [[1], [2]]}, True, id="an unknown rank"),
        pytest.param(FREE, {"instances": [[1], 2]}, False, id="two ranks"),
        pytest.param(model(LIMIT), {"instances": [1]}, False, id="rows of a scalar"),
        pytest.param(model(LIMIT), {"inputs": {"limit": 1}}, True, id="a scalar"),
        pytest.param(ONE, {"instances": [1], "heads": "*", "keys": ["q"]}, True, id="a key of one head"),
        pytest.param(ONE, {"instances": [1], "heads": ["b", "a"]}, True, id="heads"),
        pytest.param(ONE, {"instances": [1], "heads": ["c"]}, False, id="an unknown head"),
        pytest.param(ONE, {"instances": [1], "heads": ["a", "a"]}, False, id="a head twice"),
        pytest.param(ONE, {"instances": [1], "heads": []}, False, id="no heads"),
        pytest.param(ONE, {"instances": [1], "keys": ["r"]}, False, id="an unknown key"),
        pytest.param(model(X, heads=HEADS[::-1]), {"instances": [1], "keys": ["q"]}, False, id="a key of another head"),
    ],
)
def test_native(spec: ModelSpec, message: Any, fits: bool) -> None:
    agree(predict_schema(spec), native, spec, message, fits)


@pytest.mark.parametrize(
    ("message", "fits"),
    [
        pytest.param({"instances": [1]}, False, id="all keys"),
        pytest.param({"instances": [1], "heads": "*"}, False, id="all heads"),
        pytest.param({"instances": [1], "keys": ["p"]}, True, id="its other key"),
        pytest.param({"instances": [1], "keys": ["c"]}, False, id="the complex key"),
        pytest.param({"instances": [1], "heads": ["b"]}, True, id="another head"),
    ],
)
def test_native_requests_of_a_head_with_a_complex_key(message: Any, fits: bool) -> None:
    schema = predict_schema(model(X, heads=(ODD, *HEADS)))
    assert jsonschema_rs.validator_for(schema).is_valid(message) is fits


@pytest.mark.parametrize(
    ("spec", "message", "fits"),
    [
        pytest.param(ONE, {"instances": [1e39]}, True, id="a float becomes infinite"),
        pytest.param(ONE, {"inputs": [1, 2]}, True, id="the only input"),
        pytest.param(ONE, {"inputs": {"x": [1]}, "more": 1}, True, id="other members are ignored"),
        pytest.param(ONE, {"inputs": [1], "instances": [1]}, False, id="rows and columns"),
        pytest.param(ONE, {"inputs": [1], "signature_name": ""}, True, id="the default signature"),
        pytest.param(ONE, {"inputs": [1], "signature_name": "none"}, False, id="an unknown signature"),
        pytest.param(ONE, {"inputs": [1], "output_filter": ["p", "p"]}, True, id="a filter"),
        pytest.param(ONE, {"inputs": [1], "output_filter": ["r"]}, False, id="an unknown output"),
        pytest.param(TWO, {"instances": [{"x": 1}]}, False, id="no input is optional"),
        pytest.param(TWO, {"instances": [{"x": 1, "y": [1, 2]}]}, True, id="objects"),
        pytest.param(TWO, {"instances": [{"x": 1, "y": [1, 2], "z": 1}]}, False, id="an unknown input of a row"),
        pytest.param(TWO, {"inputs": {"x": [1], "y": [[1, 2]], "z": 1}}, True, id="an unknown column is ignored"),
    ],
)
def test_v1_predict(spec: ModelSpec, message: Any, fits: bool) -> None:
    agree(v1_predict_schema(spec), Predict(), spec, message, fits)


@pytest.mark.parametrize(
    ("message", "fits"),
    [
        pytest.param({"tasks": [{}], "instances": [1]}, True, id="the default task"),
        pytest.param({"tasks": [{}, {"signature_name": "other"}], "inputs": [1]}, True, id="two tasks"),
        pytest.param({"tasks": [], "inputs": [1]}, False, id="no task"),
        pytest.param({"tasks": [{"method_name": "classify"}], "inputs": [1]}, False, id="another method"),
        pytest.param({"tasks": [{}]}, False, id="no inputs"),
        pytest.param({"tasks": [{}], "inputs": [1], "instances": [1]}, False, id="two forms of inputs"),
    ],
)
def test_v1_multi_inference(message: Any, fits: bool) -> None:
    agree(multi_inference_schema(ONE), MultiInference(), ONE, message, fits)


SERIALIZED = ModelSpec(
    "m",
    3,
    (X,),
    HEADS,
    {
        "a": SignatureSpec((X,), HEADS[1].keys),
        "examples:a": SignatureSpec((TensorSpec("examples", "string", (-1,)),), HEADS[1].keys),
    },
    {},
)
"""A model with a signature of raw tensors, and the one of examples that belongs to it."""


@pytest.mark.parametrize(
    ("message", "fits"),
    [
        pytest.param({"tasks": [{"signature_name": "a"}], "examples": [{"x": 1}]}, True, id="a prediction on examples"),
        pytest.param({"tasks": [{"signature_name": "a"}], "examples": [{"x": [1], "more": "a"}]}, True, id="another feature"),
        pytest.param({"tasks": [{"signature_name": "a"}], "examples": [{"x": [1, "a"]}]}, False, id="values of two kinds"),
        pytest.param({"tasks": [{"signature_name": "a"}], "examples": []}, False, id="no examples"),
        pytest.param({"tasks": [{"signature_name": "a"}], "examples": [1]}, False, id="an example is not an object"),
        pytest.param({"tasks": [{}], "examples": [{"x": 1}]}, False, id="there is no default signature"),
    ],
)
def test_v1_multi_inference_on_examples(message: Any, fits: bool) -> None:
    agree(multi_inference_schema(SERIALIZED), MultiInference(), SERIALIZED, message, fits)


def x(**members: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]} | members


@pytest.mark.parametrize(
    ("message", "fits"),
    [
        pytest.param({"inputs": [x()]}, True, id="required inputs"),
        pytest.param(
            {"inputs": [{"name": "y", "shape": [1, 2], "datatype": "UINT8", "data": [[1, None]]}, x()]}, True, id="any order"
        ),
        pytest.param(
            {"inputs": [{"name": "y", "shape": [1, 2], "datatype": "UINT8", "data": [1, 2]}]}, False, id="x is absent"
        ),
        pytest.param({"inputs": []}, False, id="no inputs"),
        pytest.param({}, False, id="no member inputs"),
        pytest.param({"inputs": [x(name="z")]}, False, id="an unknown input"),
        pytest.param({"inputs": [x(datatype="FP64")]}, False, id="another datatype"),
        pytest.param({"inputs": [x(shape=[1, 1])]}, False, id="another rank"),
        pytest.param({"inputs": [x(shape=[0], data=[])]}, False, id="no rows"),
        pytest.param({"inputs": [x(data=[None])]}, True, id="null is NaN"),
        pytest.param({"inputs": [x(data=["1"])]}, False, id="text for a number"),
        pytest.param({"inputs": [x(parameters={"binary_data_size": 4})]}, False, id="binary data in JSON"),
        pytest.param({"inputs": [x()], "id": 7}, False, id="a number as id"),
        pytest.param({"inputs": [x()], "outputs": [{"name": "a/p", "parameters": {"classification": 2}}]}, True, id="outputs"),
        pytest.param({"inputs": [x()], "outputs": [{"name": "c"}]}, False, id="an unknown output"),
        pytest.param({"inputs": [x()], "parameters": {"heads": "a", "keys": ["q"]}}, True, id="heads and keys"),
        pytest.param({"inputs": [x()], "parameters": {"heads": ["c"]}}, False, id="an unknown head"),
        pytest.param(
            {"inputs": [x()], "parameters": {"heads": "a"}, "outputs": [{"name": "a/p"}]}, False, id="outputs and heads"
        ),
        pytest.param({"inputs": [x()], "parameters": {"timeout": -1}}, False, id="a negative timeout"),
        pytest.param({"inputs": [x()], "parameters": {"priority": 1}}, True, id="other parameters are ignored"),
    ],
)
def test_v2_infer(message: Any, fits: bool) -> None:
    agree(infer_schema(TWO), OpenInference(), TWO, message, fits)


def test_requests_that_a_model_cannot_answer_have_no_schema() -> None:
    odd = InputSpec("x", "complex64", (-1,))
    assert [schema(model(odd)) for schema in (predict_schema, v1_predict_schema, infer_schema)] == [None] * 3
    only = model(X, heads=(HeadSpec("a", (TensorSpec("c", "complex64", (-1,)),)),))
    assert [schema(only) for schema in (predict_schema, v1_predict_schema, infer_schema)] == [None] * 3
    assert classify_schema(ONE) is None


def parameters(document: dict[str, Any], path: str, method: str = "post") -> dict[str, Any]:
    return {each["name"]: each["schema"].get("enum") for each in document["paths"][path][method]["parameters"]}


def test_the_names_versions_and_labels_of_paths_are_listed() -> None:
    versions = [VersionStatus(at, state, True, None, 0, {}, None, 0, 0, 0) for at, state in ((3, "available"), (4, "failed"))]
    labels = {"stable": LabelStatus(3, True), "next": LabelStatus(4, False), "a/b": LabelStatus(3, True)}
    served = ModelStatus("m", 3, "available", None, tuple(versions), labels)
    failed = ModelStatus("n", 1, "failed", "an error", ())
    document = with_models(DOCUMENT, [ONE], [served, failed])
    assert parameters(document, "/models/{model}/versions/{version}/predict") == {"model": ["m"], "version": [3]}
    assert parameters(document, "/models/{model}/labels/{label}/predict") == {"model": ["m"], "label": ["stable"]}
    assert parameters(document, "/v1/models/{model}/labels/{label}", "get") == {"model": ["m"], "label": ["a/b", "stable"]}
    assert parameters(document, "/v2/repository/models/{model}/load") == {"model": ["m", "n"]}
    assert "/v1/models/{model}:classify" not in document["paths"]


def test_paths_with_a_label_need_labels() -> None:
    paths = with_models(DOCUMENT, [ONE])["paths"]
    assert [path for path in paths if "{label}" in path] == []
    assert "/v1/models/{model}/versions/{version}:predict" in paths


def test_a_document_without_models_is_not_changed() -> None:
    assert with_models(DOCUMENT, []) == DOCUMENT


def test_schemas_of_models_with_similar_names_differ() -> None:
    specs = [ModelSpec(name, 1, (X,), HEADS, {}, {}) for name in ("a b", "a.b", "a:b")]
    schemas = with_models(DOCUMENT, specs)["components"]["schemas"].keys()
    assert {"models.predict.a.20.b", "models.predict.a.2e.b", "models.predict.a.3a.b"} <= schemas


def test_a_document_of_many_models_describes_requests_only_on_the_path_of_each_model() -> None:
    specs = [ModelSpec(f"m{at}", 1, (X,), HEADS, {}, {}) for at in range(MAX_DESCRIBED + 1)]
    document = with_models(DOCUMENT, specs)
    assert parameters(document, "/v2/models/{model}/infer")["model"] == [spec.name for spec in specs]
    generic = "/models/{model}/predict"
    assert document["paths"][generic]["post"]["requestBody"] == DOCUMENT["paths"][generic]["post"]["requestBody"]
    assert all(f"/models/{spec.name}/predict" in document["paths"] for spec in specs)
    assert len(document["components"]["schemas"]) == len(DOCUMENT["components"]["schemas"]) + len(specs)
