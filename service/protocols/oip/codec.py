"""The codec of the Open Inference Protocol, version 2, with Triton's extensions: binary tensors, classification, parameters.

{"id": "7", "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 3]}], "outputs": [{"name": "a/logits"}]}
{"model_name": "m", "model_version": "3", "id": "7", "outputs": [{"name": "a/logits", "shape": [2], …, "data": [0.5, 1.5]}]}

A binary body is such an object, whose length in bytes is the header `Inference-Header-Content-Length`, followed by the bytes of
the tensors that have a parameter `binary_data_size`, in their order.
"""

import time
from collections.abc import Mapping
from typing import Any

import orjson

from service.errors import RequestError, UnsupportedTypeError
from service.messages import described
from service.protocols.json import tensors
from service.protocols.json.reader import Dialect, parse_object
from service.protocols.oip import binary
from service.protocols.oip.binary import datatype_of
from service.protocols.oip.inputs import read_inputs, read_raw_input
from service.protocols.oip.outputs import RequestedOutput, all_outputs, parameters, requested_outputs, top_classes
from service.protocols.protocol import JSON_TYPE
from service.types import Array, Encoded, InferRequest, InferResponse, ModelSpec, Output

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header with the length of the body's JSON in bytes; 0 for a body that is one tensor without JSON."""

_HEADER = HEADER_LENGTH.encode()
_BINARY = (b"content-type", b"application/octet-stream")
MAX_TIMEOUT_US = 10**15
JSON = Dialect('{"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}')


class OpenInference:
    """The codec of one request; `decode` keeps the id and the requested outputs for `encode`."""

    _id: str | None = None
    _requested: tuple[RequestedOutput, ...] = ()

    def __init__(self, header_length: int | None = None):
        self._header_length = header_length

    def decode(self, body: bytes, spec: ModelSpec) -> InferRequest:
        """Decode a request and check it against the model. Raises a subclass of RequestError."""
        if self._header_length == 0:
            self._requested = all_outputs(spec, binary=True)
            return InferRequest(read_raw_input(body, spec), self._outputs(spec))
        header, tail = _split(body, self._header_length)
        message = parse_object(header, JSON)
        self._id = message.get("id")
        if self._id is not None and not isinstance(self._id, str):
            raise RequestError(f"'id': expected a string, but got {described(self._id)}.")
        deadline = _deadline(parameters(message, "The request"))
        self._requested = requested_outputs(message, spec)
        return InferRequest(read_inputs(message.get("inputs"), spec, tail), self._outputs(spec), deadline)

    def encode(self, response: InferResponse) -> Encoded:
        """Encode the answer: JSON, then the bytes of the binary outputs. Raises UnsupportedTypeError."""
        chunks: list[bytes | memoryview] = []
        entries = [_entry(requested, response.outputs[requested.output], chunks) for requested in self._requested]
        message: dict[str, Any] = {"model_name": response.model, "model_version": str(response.version)}
        if self._id is not None:
            message["id"] = self._id
        header = orjson.dumps(message | {"outputs": entries}, option=orjson.OPT_SERIALIZE_NUMPY)
        if not any(requested.binary for requested in self._requested):
            return Encoded((header,), (JSON_TYPE,))
        return Encoded((header, *chunks), (_BINARY, (_HEADER, b"%d" % len(header))))

    def _outputs(self, spec: ModelSpec) -> tuple[Output, ...]:
        """Return the requested outputs in the model's order, so that requests in different orders can be batched."""
        return spec.ordered({requested.output for requested in self._requested})


def _split(body: bytes, header_length: int | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if header_length > len(body):
        raise RequestError(
            f"{HEADER_LENGTH}: expected at most {len(body)}, the length of the body, but got {header_length}; "
            "send the length of the JSON in bytes, before compression."
        )
    return body[:header_length], memoryview(body)[header_length:]


def _deadline(given: Mapping[str, Any]) -> float | None:
    """Return the deadline of the parameter `timeout`, in seconds of `time.monotonic`; None for 0, which is no limit."""
    timeout_us = given.get("timeout", 0)
    if type(timeout_us) is not int or not 0 <= timeout_us <= MAX_TIMEOUT_US:
        raise RequestError(f"The parameter timeout: expected a number of microseconds, but got {described(timeout_us)}.")
    return time.monotonic() + timeout_us / 1e6 if timeout_us else None


def _entry(requested: RequestedOutput, array: Array, chunks: list[bytes | memoryview]) -> dict[str, Any]:
    """Return the output's entry in the JSON; the bytes of a binary output are appended to `chunks`."""
    if requested.classes:
        array = top_classes(array, requested.name, requested.classes, requested.labels)
    kind = datatype_of(array)
    if kind is None:
        raise UnsupportedTypeError(
            f"Output {requested.name!r} is {array.dtype.name}, which this protocol has no datatype for; request other outputs."
        )
    entry = {"name": requested.name, "datatype": kind, "shape": array.shape}
    if not requested.binary:
        return entry | {"data": tensors.encode(array.reshape(-1), requested.name)}
    chunk = binary.write(array, kind)
    chunks.append(chunk)
    return entry | {"parameters": {"binary_data_size": len(chunk)}}
