"""The codecs of /v1 on a description of a model: requested outputs, decoded inputs, encoded answers."""

import asyncio
import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.batching.batcher import Batcher
from service.errors import InvalidRequestError, RequestError
from service.models.options import BatchingOptions
from service.protocols.tfserving.codec import Classify, MultiInference, Predict, Regress
from service.types import HeadSpec, InferResponse, InputSpec, ModelSpec, SignatureSpec, SignatureTensors, TensorSpec

X, Y = TensorSpec("x", "float32", (-1, 1)), TensorSpec("y", "int64", (-1,))
TEXT = TensorSpec("text", "string", (-1,))
RAW = (TensorSpec("age", "float32", (-1,)), TensorSpec("id", "int64", (-1,)))
EXAMPLES, INPUTS = TensorSpec("examples", "string", (-1,)), TensorSpec("inputs", "string", (-1,))
P, Q = TensorSpec("p", "float32", (-1, 1)), TensorSpec("q", "float32", (-1, 1))
SCORES, CLASSES = TensorSpec("scores", "float32", (-1, 2)), TensorSpec("classes", "string", (-1, 2))
VALUES = TensorSpec("outputs", "float32", (-1, 1))

SIGNATURES = {
    "predict": SignatureSpec((X,), (TensorSpec("a/p", "float32", (-1, 1)), TensorSpec("b/q", "float32", (-1, 1)))),
    "a": SignatureSpec((X,), (P,)),
    "serving_default": SignatureSpec((X, Y), (P, Q)),
    "text": SignatureSpec((TEXT,), (TensorSpec("text_bytes", "string", (-1,)),)),
    "none": SignatureSpec((), (P,)),
    "c/classification": SignatureSpec(RAW, (CLASSES, SCORES)),
    "c/regression": SignatureSpec(RAW, (VALUES,)),
    "examples:c/classification": SignatureSpec((INPUTS,), (CLASSES, SCORES)),
    "examples:c/regression": SignatureSpec((INPUTS,), (VALUES,)),
    "c": SignatureSpec(RAW, (P,)),
    "examples:c": SignatureSpec((EXAMPLES,), (P,)),
    "scores": SignatureSpec((INPUTS,), (SCORES,)),
    "classes": SignatureSpec((INPUTS,), (CLASSES,)),
}
HEADS = (HeadSpec("b", (Q,)), HeadSpec("a", (P,)))
SOURCES = {("a", "p"): ("predict", "a/p"), ("b", "q"): ("predict", "b/q")}
TENSORS = {
    "predict": SignatureTensors("tensorflow/serving/predict", {"x": "x:0"}, {"a/p": "p:0", "b/q": "q:0"}),
    "a": SignatureTensors("tensorflow/serving/predict", {"x": "x:0"}, {"p": "p:0"}),
    "serving_default": SignatureTensors("tensorflow/serving/predict", {"x": "x:0", "y": "y:0"}, {"p": "p:0", "q": "q:0"}),
}
SPEC = ModelSpec("m", 1, (InputSpec("x", "float32", (-1, 1)),), HEADS, SIGNATURES, {}, sources=SOURCES, tensors=TENSORS)


def asked(codec, **message):
    return codec.decode(orjson.dumps(message), SPEC)


def answered(codec, *arrays):
    """The answer for these values of the requested outputs, in the codec's order."""
    outputs = dict(zip(codec.outputs.values(), arrays, strict=True))
    return orjson.loads(b"".join(codec.encode(InferResponse("m", 1, outputs)).chunks))


def f32(*values):
    return np.array(values, np.float32)


def test_outputs_of_heads_are_requested_as_heads():
    assert asked(Predict(), signature_name="predict", instances=[[1]]).outputs == (("b", "q"), ("a", "p"))


def test_the_same_tensor_in_another_signature_is_the_heads_output():
    assert asked(Predict(), signature_name="a", instances=[[1]]).outputs == (("a", "p"),)


def test_the_same_tensor_of_other_inputs_is_another_output():
    outputs = asked(Predict(), instances=[{"x": [1], "y": 2}]).outputs
    assert outputs == ((":serving_default", "p"), (":serving_default", "q"))


@pytest.mark.parametrize(
    ("message", "expected", "alone"),
    [
        pytest.param({"signature_name": "a", "instances": [[1], [2]]}, {"x": [[1], [2]]}, False, id="values"),
        pytest.param({"signature_name": "a", "instances": [{"x": [1]}]}, {"x": [[1]]}, False, id="objects of one input"),
        pytest.param({"signature_name": "a", "instances": [1, 2]}, {"x": [1, 2]}, True, id="without the last dimension"),
        pytest.param({"signature_name": "a", "instances": [[1, 2]]}, {"x": [[1, 2]]}, True, id="of another size"),
        pytest.param({"signature_name": "a", "inputs": 1}, {"x": 1}, True, id="a scalar"),
        pytest.param({"signature_name": "a", "inputs": []}, {"x": []}, True, id="no rows"),
        pytest.param({"signature_name": "text", "inputs": []}, {"text": []}, True, id="no rows of the declared shape"),
        pytest.param({"signature_name": "a", "inputs": [[1]]}, {"x": [[1]]}, False, id="the only column"),
        pytest.param({"signature_name": "a", "inputs": {"x": [[1]], "z": "?"}}, {"x": [[1]]}, False, id="an extra column"),
        pytest.param({"signature_name": "", "inputs": {"x": [[1]], "y": [2]}}, {"x": [[1]], "y": [2]}, False, id="columns"),
        pytest.param({"inputs": {"x": [[1]], "y": [2, 3]}}, {"x": [[1]], "y": [2, 3]}, False, id="columns of two lengths"),
        pytest.param({"instances": [{"y": 2, "x": [1]}]}, {"x": [[1]], "y": [2]}, False, id="rows"),
        pytest.param({"signature_name": "text", "instances": [{"b64": "YQ=="}]}, {"text": [b"a"]}, False, id="bytes"),
        pytest.param({"signature_name": "text", "inputs": {"b64": "YQ=="}}, {"text": b"a"}, True, id="bytes alone"),
        pytest.param({"signature_name": "text", "instances": [{"text": "a"}]}, {"text": [b"a"]}, False, id="named text"),
        pytest.param({"signature_name": "a", "instances": [[1]], "more": 1}, {"x": [[1]]}, False, id="another member"),
    ],
)
def test_inputs(message, expected, alone):
    request = asked(Predict(), **message)
    assert {name: array.tolist() for name, array in request.inputs.items()} == expected
    assert request.alone == alone


async def test_an_empty_request_does_not_stop_padding():
    """It cannot be padded; in a batch, its outputs would be marked as not splittable, and later batches not be padded."""
    sizes = []

    def run(inputs, outputs):
        sizes.append(len(inputs["text"]))
        return dict.fromkeys(outputs, inputs["text"])

    batcher = Batcher("m", [run], BatchingOptions(max_batch_size=4, allowed_batch_sizes=(4,)), threads=1)
    try:
        for column in ([], ["a"]):
            request = asked(Predict(), signature_name="text", inputs=column)
            await batcher.submit(request.inputs, request.outputs, None, alone=request.alone)
    finally:
        await asyncio.to_thread(batcher.close)
    assert sizes == [0, 4]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param({}, "either 'instances' .* got neither", id="neither"),
        pytest.param({"instances": [1], "inputs": 1}, "got both", id="both"),
        pytest.param({"signature_name": 1, "instances": [1]}, "'signature_name': expected a string", id="no name"),
        pytest.param(
            {"signature_name": "A", "inputs": 1}, '^Serving signature name: "A" not found in signature def', id="name"
        ),
        pytest.param({"signature_name": "none", "inputs": 1}, "Failed to get input map for signature: none", id="no inputs"),
        pytest.param({"instances": 1}, "expected a list of rows", id="no list"),
        pytest.param({"instances": []}, "at least one row", id="empty"),
        pytest.param({"instances": [1]}, "signature has 2 inputs; expected objects with 'x', 'y'", id="bare values for two"),
        pytest.param({"instances": [{"x": 1, "y": 1}, 2]}, "element: 1 of 'instances' list: expected an object", id="mixed"),
        pytest.param({"signature_name": "a", "instances": [1, {"x": 1}]}, "element: 1 key: x", id="mixed the other way"),
        pytest.param({"instances": [{"x": 1, "y": 1}, {"x": 1}]}, "element: 1 .* has no 'y'", id="missing in a row"),
        pytest.param({"instances": [{"x": 1, "z": 1}]}, "element: 0 .* has no 'y'", id="another in a row"),
        pytest.param({"instances": [{"x": 1, "y": 1, "z": 1}]}, "key: z .* no such input", id="extra in a row"),
        pytest.param({"instances": [{"x": 1, "y": 1.5}]}, "element: 0 key: y .* INVALID_ARGUMENT", id="type"),
        pytest.param({"inputs": 1}, "signature has 2 inputs", id="a bare column for two"),
        pytest.param({"inputs": {"x": 1}}, "Missing named input: y in 'inputs' object", id="missing column"),
        pytest.param({"signature_name": "a", "inputs": 1, "output_filter": "p"}, "a list of names of outputs", id="filter"),
        pytest.param(
            {"signature_name": "a", "inputs": 1, "output_filter": ["q"]}, "has no output 'q'; it has 'p'", id="no output"
        ),
    ],
)
def test_refusals(message, text):
    with pytest.raises(RequestError, match=text):
        asked(Predict(), **message)


@pytest.mark.parametrize(
    ("message", "arrays", "expected"),
    [
        pytest.param(
            {"signature_name": "a", "instances": [[1], [2]]}, [f32([1], [2])], {"predictions": [[1.0], [2.0]]}, id="rows, one"
        ),
        pytest.param(
            {"signature_name": "predict", "instances": [[1]]},
            [f32([1]), f32([2])],
            {"predictions": [{"a/p": [1.0], "b/q": [2.0]}]},
            id="rows, several",
        ),
        pytest.param({"signature_name": "a", "inputs": [[1]]}, [f32([1])], {"outputs": [[1.0]]}, id="columns, one"),
        pytest.param(
            {"signature_name": "predict", "inputs": [[1]]},
            [f32([1]), np.float32(2)],
            {"outputs": {"a/p": [[1.0]], "b/q": 2.0}},
            id="columns, several",
        ),
        pytest.param(
            {"signature_name": "predict", "inputs": [[1]], "output_filter": ["b/q"]},
            [f32([1])],
            {"outputs": [[1.0]]},
            id="filtered",
        ),
        pytest.param(
            {"signature_name": "text", "instances": ["a"]},
            [np.array([b"a"], object)],
            {"predictions": [{"b64": "YQ=="}]},
            id="bytes",
        ),
    ],
)
def test_answers(message, arrays, expected):
    codec = Predict()
    asked(codec, **message)
    assert answered(codec, *arrays) == expected


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2)), st.booleans())
def test_round_trip(array, by_row):
    """decode ∘ encode = identity, for NaN and infinities as well."""
    codec, member = Predict(), "instances" if by_row else "inputs"
    asked(codec, signature_name="a", **{member: [[1]]})
    answer = b"".join(codec.encode(InferResponse("m", 1, {("a", "p"): array})).chunks)
    again = answer.replace(b'{"predictions":' if by_row else b'{"outputs":', b'{"signature_name":"a","%b":' % member.encode())
    np.testing.assert_array_equal(Predict().decode(again, SPEC).inputs["x"], array)


def test_classify():
    codec = Classify()
    request = asked(codec, signature_name="c/classification", examples=[{"age": 1, "id": 2}])
    assert request.outputs == ((":examples:c/classification", "classes"), (":examples:c/classification", "scores"))
    assert list(request.inputs) == ["inputs"]
    assert b"\x12" in request.inputs["inputs"][0], "age is a float in the signature of raw tensors"
    classes = np.array([[b"a", b"\xff"]], object)
    assert answered(codec, classes, f32([0.5, 1])) == {"results": [[["a", 0.5], [{"b64": "/w=="}, 1.0]]]}


def test_classify_without_classes_or_scores():
    codec = Classify()
    asked(codec, signature_name="scores", examples=[{}])
    assert answered(codec, f32([0.5], [np.float32(0.1)])) == {"results": [[["", 0.5]], [["", 0.1]]]}
    assert answered(codec, np.zeros((2, 0), np.float32)) == {"results": [[], []]}
    asked(codec, signature_name="classes", examples=[{}])
    assert answered(codec, np.array([[b"a"]], object)) == {"results": [[["a", 0.0]]]}


@pytest.mark.parametrize("array", [f32(1, 2), f32([1], [2])])
def test_regress(array):
    codec = Regress()
    asked(codec, signature_name="examples:c/regression", examples=[{}, {}])
    assert answered(codec, array) == {"results": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("codec", "signature", "text"),
    [
        pytest.param(Classify, "a", "one input of serialized tf.Examples, called 'inputs', but 'a' takes 'x'", id="raw input"),
        pytest.param(Classify, "examples:c", "called 'inputs', but 'examples:c' takes 'examples'", id="another input"),
        pytest.param(Classify, "c/regression", "classification signature with outputs 'classes', 'scores'", id="no scores"),
        pytest.param(Regress, "scores", "regression signature with outputs 'outputs'", id="no outputs"),
    ],
)
def test_signatures_are_recognised_by_their_tensors(codec, signature, text):
    with pytest.raises(InvalidRequestError, match=text):
        asked(codec(), signature_name=signature, examples=[{}])


@pytest.mark.parametrize(
    ("codec", "signature", "arrays", "text"),
    [
        pytest.param(Classify, "scores", [f32(1)], "batch, classes", id="scores without classes"),
        pytest.param(Classify, "c/classification", [np.full((1, 1), b"a", object), f32([1, 2])], "shapes differ", id="shapes"),
        pytest.param(Regress, "c/regression", [f32([1, 2])], "or \\[batch, 1\\]", id="two numbers"),
        pytest.param(Regress, "c/regression", [np.float32(1)], "or \\[batch, 1\\]", id="a scalar"),
    ],
)
def test_outputs_of_unexpected_shapes(codec, signature, arrays, text):
    codec = codec()
    asked(codec, signature_name=signature, examples=[{}])
    with pytest.raises(InvalidRequestError, match=text):
        answered(codec, *map(np.asarray, arrays))


TASKS = [
    {"signature_name": "c/classification", "method_name": "tensorflow/serving/classify"},
    {"signature_name": "c/regression", "method_name": "regress"},
    {"signature_name": "c"},
]


@pytest.mark.parametrize("by_examples", [True, False])
def test_multi_inference(by_examples):
    codec = MultiInference()
    given = {"examples": [{"age": 1.0}]} if by_examples else {"instances": [{"age": 1, "id": 2}]}
    request = asked(codec, tasks=TASKS, **given)
    prefix = ":examples:" if by_examples else ":"
    assert request.outputs == tuple(
        (prefix + name, output)
        for name, outputs in (("c/classification", ("classes", "scores")), ("c/regression", ("outputs",)), ("c", ("p",)))
        for output in outputs
    )
    assert set(request.inputs) == ({"examples", "inputs"} if by_examples else {"age", "id"})
    values = [np.array([[b"l", b"m"]], object), f32([0.5, 1]), f32([3]), f32([4])]
    outputs = dict(zip(request.outputs, values, strict=True))
    answer = orjson.loads(b"".join(codec.encode(InferResponse("m", 1, outputs)).chunks))
    assert answer == {
        "results": [
            {"signature_name": "c/classification", "method_name": "classify", "results": [[["l", 0.5], ["m", 1.0]]]},
            {"signature_name": "c/regression", "method_name": "regress", "results": [3.0]},
            {"signature_name": "c", "method_name": "predict", "predictions": [[4.0]]},
        ]
    }


def test_multi_inference_by_column():
    codec = MultiInference()
    asked(codec, tasks=[{"signature_name": "predict", "output_filter": ["a/p"]}], inputs={"x": [[1]]})
    outputs = {("a", "p"): f32([4])}
    (result,) = orjson.loads(b"".join(codec.encode(InferResponse("m", 1, outputs)).chunks))["results"]
    assert result == {"signature_name": "predict", "method_name": "predict", "outputs": [[4.0]]}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param({"tasks": TASKS}, "one of 'examples', 'instances' and 'inputs', but got none", id="no input"),
        pytest.param({"tasks": TASKS, "examples": [], "inputs": {}}, "got 'examples', 'inputs'", id="two inputs"),
        pytest.param({"examples": [{}]}, "'tasks': expected a list with at least one task, but got null", id="no tasks"),
        pytest.param({"examples": [{}], "tasks": []}, "at least one task", id="empty"),
        pytest.param({"examples": [{}], "tasks": [1]}, "'tasks', 0: expected an object", id="no object"),
        pytest.param(
            {"examples": [{}], "tasks": [TASKS[2] | {"method_name": "x"}]}, "'method_name' of 'classify'", id="method"
        ),
        pytest.param({"examples": [{}], "tasks": [TASKS[2] | {"method_name": 1}]}, "got the number 1", id="no method"),
        pytest.param({"examples": [{}], "tasks": [TASKS[2]] * 2}, "Duplicate evaluation of signature: c", id="twice"),
        pytest.param({"examples": [{}], "tasks": [{"signature_name": "?"}]}, "not found in signature def", id="signature"),
        pytest.param({"examples": [{}], "tasks": [{"signature_name": "a"}]}, "one input of serialized", id="no examples"),
        pytest.param({"instances": [1], "tasks": [TASKS[2], {"signature_name": "a"}]}, "tasks over one input", id="inputs"),
    ],
)
def test_multi_inference_refuses(message, text):
    with pytest.raises(RequestError, match=text):
        asked(MultiInference(), **message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "b64", "inputs", "text", "age"]), inner)
    ),
    max_leaves=8,
)
MEMBERS = {
    "signature_name": st.sampled_from(list(SIGNATURES)) | JSON,
    "tasks": st.lists(
        st.fixed_dictionaries({}, optional={"signature_name": st.sampled_from(list(SIGNATURES)), "method_name": JSON}),
        max_size=2,
    )
    | JSON,
} | dict.fromkeys(("instances", "inputs", "examples", "context", "output_filter"), JSON)


@pytest.mark.parametrize("codec", [Predict, Classify, Regress, MultiInference])
@given(st.fixed_dictionaries({}, optional=MEMBERS))
def test_any_message_is_decoded_or_refused(codec, message):
    """The decoded arrays fit the signature's inputs."""
    try:
        request = codec().decode(json.dumps(message).encode(), SPEC)
    except RequestError as error:
        orjson.dumps(error.message)
    else:
        assert request.outputs
        assert all(isinstance(array, np.ndarray) for array in request.inputs.values())


@given(st.binary(max_size=50) | st.text('[]{}",:NaInfity-0123.e\\ ', max_size=50).map(str.encode))
def test_random_bytes_are_refused(body):
    with pytest.raises(RequestError):
        Predict().decode(body, SPEC)
