"""The codecs of TensorFlow Serving's REST protocol, one instance per request.

POST …:predict          {"signature_name": "s", "instances": [{"x": 1}, …]}    →  {"predictions": [{"y": 2.0}, …]}
                        {"inputs": {"x": [1, …]}, "output_filter": ["y"]}      →  {"outputs": [2.0, …]}
POST …:classify         {"examples": [{"x": 1.0}, …], "context": {…}}          →  {"results": [[["label", 0.9], …], …]}
POST …:regress          {"examples": [{"x": 1.0}, …], "context": {…}}          →  {"results": [2.5, …]}
POST …:multiInference   {"tasks": [{"signature_name": "s", "method_name": "classify"}, …], "examples": […]}
                        →  {"results": [{"signature_name": "s", "method_name": "classify", "results": […]}, …]}

TensorFlow Serving offers `:multiInference`, several signatures over one input in one run, over gRPC only. A task also takes
gRPC's method names, such as `tensorflow/serving/classify`, and the input may be `instances` or `inputs`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import orjson

from service.errors import InvalidRequestError, RequestError
from service.messages import described, listed
from service.protocols.json.reader import parse_object
from service.protocols.protocol import JSON_TYPE
from service.protocols.tfserving import inputs, json_writer, signatures
from service.protocols.tfserving.signatures import CLASSES, JSON, SCORES, VALUES
from service.types import Array, Encoded, InferRequest, InferResponse, ModelSpec, Output, TensorSpec


class _Method(ABC):
    """The codec of one method; `select` comes before `member`."""

    outputs: dict[str, Output]

    @abstractmethod
    def select(self, spec: ModelSpec, signature: str, message: dict[str, Any], by_row: bool) -> None:
        """Select the outputs of the signature that the answer needs. Raises InvalidRequestError."""

    @abstractmethod
    def member(self, response: InferResponse) -> bytes:
        """Return the answer's member with the values. Raises InvalidRequestError for outputs of an unexpected shape."""

    def encode(self, response: InferResponse) -> Encoded:
        """Encode the answer. Raises InvalidRequestError for outputs of an unexpected shape."""
        return Encoded((b"{", self.member(response), b"}"), (JSON_TYPE,))


class Predict(_Method):
    """The codec of a `:predict` request, for any signature; the answer is by row or by column as the request was."""

    _by_row: bool

    def decode(self, body: bytes, spec: ModelSpec) -> InferRequest:
        """Decode a request with the signature's dtypes and any shapes. Raises RequestError."""
        message = parse_object(body, JSON)
        signature = signatures.signature_name(message, spec)
        tensors = spec.signatures[signature].inputs
        arrays = inputs.read(message, tensors, signature)
        self.select(spec, signature, message, by_row="instances" in message)
        return InferRequest(arrays, spec.ordered(self.outputs.values()), alone=not signatures.is_declared(arrays, tensors))

    def select(self, spec: ModelSpec, signature: str, message: dict[str, Any], by_row: bool) -> None:
        """Select the signature's outputs by `output_filter`."""
        self.outputs = signatures.selected_outputs(message.get("output_filter"), spec, signature)
        self._by_row = by_row

    def member(self, response: InferResponse) -> bytes:
        """Return the answer's member `predictions` or `outputs`."""
        arrays = [(name, response.outputs[output]) for name, output in self.outputs.items()]
        if self._by_row:
            return b'"predictions":' + json_writer.by_row(arrays)
        return b'"outputs":' + json_writer.by_column(arrays)


class _OnExamples(_Method):
    """The codec of a request with `examples`; the signature is recognised by the names of its inputs and outputs."""

    kind: ClassVar[str]
    names: ClassVar[tuple[str, ...]]

    def decode(self, body: bytes, spec: ModelSpec) -> InferRequest:
        message = parse_object(body, JSON)
        found = signatures.example_signature(spec, signatures.signature_name(message, spec))
        self.select(spec, found.signature, message, by_row=True)
        arrays = {found.input: inputs.read_examples(message, found.floats)}
        return InferRequest(arrays, spec.ordered(self.outputs.values()))

    def select(self, spec: ModelSpec, signature: str, message: dict[str, Any], by_row: bool) -> None:  # noqa: ARG002
        existing = {tensor.name for tensor in spec.signatures[signature].outputs}
        if existing.isdisjoint(self.names):
            raise InvalidRequestError(
                f"Expected a {self.kind} signature with outputs {listed(self.names)}, but {signature!r} has "
                f"{listed(sorted(existing))}."
            )
        self.outputs = signatures.outputs_of(spec, signature, [name for name in self.names if name in existing])

    def member(self, response: InferResponse) -> bytes:
        return b'"results":' + self.results({name: response.outputs[output] for name, output in self.outputs.items()})

    @abstractmethod
    def results(self, outputs: dict[str, Array]) -> bytes:
        """Return the results as JSON."""


class Classify(_OnExamples):
    """A list of `[label, score]` for each example; the label is empty without classes, the score 0 without scores."""

    kind = "classification"
    names = (CLASSES, SCORES)

    def results(self, outputs: dict[str, Array]) -> bytes:
        """Return the labels and scores as JSON."""
        for name, array in outputs.items():
            if array.ndim != 2:
                raise InvalidRequestError(f"Expected {name!r} to be [batch, classes], but its shape is {list(array.shape)}.")
        scores, classes = outputs.get(SCORES), outputs.get(CLASSES)
        shape = next(iter(outputs.values())).shape
        if any(array.shape != shape for array in outputs.values()):
            raise InvalidRequestError("Expected one score for each class, but their shapes differ.")
        if not all(shape):
            return orjson.dumps([[]] * shape[0])
        size = shape[0] * shape[1]
        values = [b"0.0"] * size if scores is None else json_writer.row_texts(scores.reshape(-1), SCORES)
        labels = [b'""'] * size if classes is None else json_writer.row_texts(np.ravel(classes), CLASSES)
        pairs = list(map(b"[%b,%b]".__mod__, zip(labels, values, strict=True)))
        return b"[" + b",".join([b"[" + b",".join(pairs[i : i + shape[1]]) + b"]" for i in range(0, size, shape[1])]) + b"]"


class Regress(_OnExamples):
    """A number for each example."""

    kind = "regression"
    names = (VALUES,)

    def results(self, outputs: dict[str, Array]) -> bytes:
        """Return the numbers as JSON."""
        array = outputs[VALUES]
        if array.ndim == 0 or array.size != len(array):
            raise InvalidRequestError(f"Expected {VALUES!r} to be [batch] or [batch, 1], but its shape is {list(array.shape)}.")
        return json_writer.text(array.reshape(-1), VALUES)


METHODS: dict[str, type[_Method]] = {"classify": Classify, "regress": Regress, "predict": Predict}


class _Task(NamedTuple):
    """One task of `:multiInference`: the requested signature, its method and codec, and the task as given."""

    signature: str
    method: str
    codec: _Method
    given: dict[str, Any]


class MultiInference:
    """The codec of one `:multiInference` request; results are in the order of its tasks."""

    _tasks: list[_Task]

    def decode(self, body: bytes, spec: ModelSpec) -> InferRequest:
        """Decode a request for the outputs of all tasks. Raises RequestError."""
        message = parse_object(body, JSON)
        forms = [member for member in ("examples", "instances", "inputs") if member in message]
        if len(forms) != 1:
            raise RequestError(f"Expected one of 'examples', 'instances' and 'inputs', but got {listed(forms)}.")
        self._tasks = _tasks(message.get("tasks"), spec)
        names = [task.signature for task in self._tasks]
        if forms == ["examples"]:
            found = [signatures.example_signature(spec, name, None) for name in names]
            rows = inputs.read_examples(message, {feature for each in found for feature in each.floats})
            arrays = {each.input: rows for each in found}  # signatures may name the same input differently
            names, alone = [each.signature for each in found], False
        else:
            tensors = _common_inputs(names, spec)
            arrays = inputs.read(message, tensors, names[0])
            alone = not signatures.is_declared(arrays, tensors)
        for name, task in zip(names, self._tasks, strict=True):
            task.codec.select(spec, name, task.given, by_row=forms != ["inputs"])
        outputs = dict.fromkeys(output for task in self._tasks for output in task.codec.outputs.values())
        return InferRequest(arrays, spec.ordered(outputs), alone=alone)

    def encode(self, response: InferResponse) -> Encoded:
        """Encode the results. Raises InvalidRequestError for outputs of an unexpected shape."""
        results = []
        for task in self._tasks:
            head = orjson.dumps({"signature_name": task.signature, "method_name": task.method})
            results.append(head[:-1] + b"," + task.codec.member(response) + b"}")
        return Encoded((b'{"results":[', b",".join(results), b"]}"), (JSON_TYPE,))


def _tasks(given: Any, spec: ModelSpec) -> list[_Task]:
    if not isinstance(given, list) or not given:
        raise InvalidRequestError(f"'tasks': expected a list with at least one task, but got {described(given)}.")
    tasks: dict[str, _Task] = {}
    for i, task in enumerate(given):
        if not isinstance(task, dict):
            raise InvalidRequestError(f"'tasks', {i}: expected an object, but got {described(task)}.")
        name = signatures.signature_name(task, spec)
        method = task.get("method_name", "predict")
        short = method.removeprefix("tensorflow/serving/") if isinstance(method, str) else None
        if short not in METHODS:
            raise InvalidRequestError(
                f"'tasks', {i}: expected a 'method_name' of {listed(METHODS)}, but got {described(method)}."
            )
        if name in tasks:
            raise InvalidRequestError(f"'tasks', {i}: Duplicate evaluation of signature: {name}; name it once.")
        tasks[name] = _Task(name, short, METHODS[short](), task)
    return list(tasks.values())


def _common_inputs(names: list[str], spec: ModelSpec) -> Sequence[TensorSpec]:
    first, *rest = names
    tensors = spec.signatures[first].inputs
    for name in rest:
        others = spec.signatures[name].inputs
        if others != tensors:
            raise InvalidRequestError(
                f"Expected tasks over one input, but signature {first!r} takes {listed(tensor.name for tensor in tensors)} and "
                f"{name!r} takes {listed(tensor.name for tensor in others)}."
            )
    return tensors
