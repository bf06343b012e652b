"""The requested outputs and their format: from `outputs`, or from the parameters `heads` and `keys`; else all.

Triton's classification extension replaces a tensor by the classes with the largest values, as `value:index[:label]`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from service.errors import InvalidRequestError, RequestError, UnknownKeyError, UnsupportedFeatureError
from service.messages import cut, described, did_you_mean, listed
from service.protocols.json.tensors import unwritable
from service.protocols.oip.binary import datatype
from service.protocols.selection import ALL_HEADS, check_unique, select
from service.types import Array, ModelSpec, Output

MAX_CLASSES = 2**31 - 1


class RequestedOutput(NamedTuple):
    """An output, the name in the protocol, and the format in the answer."""

    name: str
    output: Output
    binary: bool = False
    """Whether the bytes follow the JSON."""
    classes: int = 0
    """The number of largest values to send as strings; 0 for the tensor itself."""
    labels: tuple[str, ...] = ()
    """The names of the head's classes."""


def requested_outputs(message: Mapping[str, Any], spec: ModelSpec) -> tuple[RequestedOutput, ...]:
    """Return the outputs in the requested order. Raises a subclass of RequestError."""
    given = parameters(message, "The request")
    binary = flag(given, "binary_data_output", "The request")
    entries = message.get("outputs")
    heads, keys = _names(given, "heads"), _names(given, "keys")
    if entries is None or entries == []:
        return all_outputs(spec, ALL_HEADS if heads is None else heads, keys, binary=bool(binary))
    if not isinstance(entries, list):
        raise RequestError(f"'outputs': expected a list of tensors, but got {described(entries)}.")
    if heads is not None or keys is not None:
        raise RequestError("Expected either 'outputs', or the parameters 'heads' and 'keys', but got both.")
    chosen = tuple(_requested(entry, index, spec, bool(binary)) for index, entry in enumerate(entries))
    check_unique("outputs", (choice.name for choice in chosen))
    return chosen


def all_outputs(
    spec: ModelSpec, heads: Any = ALL_HEADS, keys: list[str] | None = None, *, binary: bool = False
) -> tuple[RequestedOutput, ...]:
    """Return the tensors of these heads and keys; all heads leave out outputs that the protocol has no datatype for.

    Raises a subclass of RequestError; UnsupportedTypeError if no output is left.
    """
    outputs, tensors = select(spec, heads, keys), spec.output_tensors
    if heads == ALL_HEADS and keys is None:
        first = tensors[outputs[0]]
        outputs = tuple(output for output in outputs if datatype(tensors[output].dtype) is not None)
        if not outputs:
            raise unwritable(first.dtype, first.name)
    return tuple(RequestedOutput(tensors[output].name, output, binary) for output in outputs)


def parameters(entry: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return the entry's `parameters`. Raises RequestError."""
    given = entry.get("parameters", {})
    if not isinstance(given, dict):
        raise RequestError(f"{where}: expected 'parameters' to be an object, but got {described(given)}.")
    return given


def flag(given: Mapping[str, Any], name: str, where: str) -> bool | None:
    """Return a boolean parameter; None if it is absent. Raises RequestError."""
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(f"{where}: expected the parameter {name} to be true or false, but got {described(value)}.")
    return value


def _requested(entry: Any, index: int, spec: ModelSpec, binary: bool) -> RequestedOutput:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise RequestError(f"'outputs', tensor {index}: expected an object with a 'name', but got {described(entry)}.")
    name = entry["name"]
    output = spec.output_names.get(name)
    if output is None:
        names = spec.output_names
        reason = f"Model {spec.name!r} has no output {cut(name)!r}; it has {listed(names)}.{did_you_mean(name, names)}"
        raise UnknownKeyError(reason, expected=list(names))
    where = f"Output {name!r}"
    given = parameters(entry, where)
    if "shared_memory_region" in given:
        raise UnsupportedFeatureError(f"{where}: shared memory is not supported; read the values from the answer.")
    own = flag(given, "binary_data", where)
    labels = spec.head(output[0]).classes or ()
    return RequestedOutput(name, output, binary if own is None else own, _classes(given, where), labels)


def _classes(given: Mapping[str, Any], where: str) -> int:
    count = given.get("classification", 0)
    if type(count) is not int or not 0 <= count <= MAX_CLASSES:
        raise RequestError(
            f"{where}: expected a number of classes as the parameter classification, but got {described(count)}."
        )
    return count


def _names(given: Mapping[str, Any], name: str) -> list[str] | None:
    """Return names from a list or a comma-separated string, since many clients cannot send lists as parameters."""
    value = given.get(name)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")] if value.strip() != ALL_HEADS else None
    if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise InvalidRequestError(
            f"The parameter {name}: expected comma-separated names or a list of names, but got {described(value)}."
        )
    return value


def top_classes(array: Array, name: str, count: int, labels: Sequence[str]) -> Array:
    """Return the `count` largest values of each row as strings, or all if there are fewer, the largest first.

    The labels are used if there is one for each value. Raises InvalidRequestError if the values are not numbers.
    """
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise InvalidRequestError(f"Output {name!r}: classification needs numbers, but the values are {array.dtype.name}.")
    values = array.reshape(len(array) if array.ndim else 1, -1)
    if values.dtype.name in {"float16", "bfloat16"}:
        values = values.astype(np.float32)
    order = _largest_first(values)[:, :count]
    names = labels if len(labels) == values.shape[1] else ()
    rows = zip(np.take_along_axis(values, order, 1).astype(str).tolist(), order.tolist(), strict=True)
    texts = [[_text(value, index, names) for value, index in zip(*row, strict=True)] for row in rows]
    answer = np.empty(order.shape, np.object_)
    if answer.size:
        answer[:] = texts
    return answer


def _largest_first(values: Array) -> Array:
    """Return the indices of each row's values in descending order, stable, NaN last."""
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -np.inf, values)
    last = values.shape[1] - 1
    order: Array = last - np.argsort(values[:, ::-1], axis=1, kind="stable")[:, ::-1]
    return order


def _text(value: str, index: int, labels: Sequence[str]) -> bytes:
    return (f"{value}:{index}:{labels[index]}" if labels else f"{value}:{index}").encode()
