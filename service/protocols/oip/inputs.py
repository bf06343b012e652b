"""The member `inputs` of a request → arrays, checked against the model's inputs."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.errors import (
    MissingInputError,
    NoRowsError,
    RequestError,
    UnknownInputError,
    UnsupportedFeatureError,
    UnsupportedTypeError,
    WrongShapeError,
    WrongTypeError,
)
from service.messages import cut, described, did_you_mean, listed
from service.protocols.json import tensors
from service.protocols.json.lists import MAX_RANK, input_error
from service.protocols.oip import binary
from service.protocols.oip.binary import BYTES, WIRE, datatype
from service.protocols.oip.outputs import parameters
from service.types import Array, InputSpec, ModelSpec, fits

MAX_EMPTY = 1024
"""The largest product of the non-zero sizes of a tensor without elements, which the length of the data does not bound."""


def read_inputs(entries: Any, spec: ModelSpec, tail: memoryview) -> dict[str, Array]:
    """Decode the member `inputs`; `tail` is the bytes after the JSON. Raises a subclass of RequestError."""
    if not isinstance(entries, list):
        raise RequestError(f"'inputs': expected a list of tensors, but got {described(entries)}.")
    known = {tensor.name: tensor for tensor in spec.inputs}
    arrays: dict[str, Array] = {}
    position = 0
    for index, entry in enumerate(entries):
        tensor = _tensor(entry, index, known, arrays)
        shape = _shape(entry, tensor)
        size = _binary_size(entry, tensor)
        if size is None:
            arrays[tensor.name] = _from_json(entry, tensor, shape)
            continue
        if size > len(tail) - position:
            came = f"{len(tail) - position} bytes are left at byte {position} after the JSON"
            hint = "check binary_data_size and Inference-Header-Content-Length"
            raise input_error(WrongShapeError, tensor.name, f"binary_data_size is {size}, but {came}; {hint}.")
        arrays[tensor.name] = binary.read(tensor.name, tail[position : position + size], _datatype(tensor), shape)
        position += size
    if position != len(tail):
        raise RequestError(
            f"{len(tail) - position} bytes are left after the last binary tensor; the inputs' binary_data_size must add up to "
            f"{len(tail)}, but add up to {position}."
        )
    return _complete(arrays, spec)


def read_raw_input(body: bytes, spec: ModelSpec) -> dict[str, Array]:
    """Decode a body that consists of the bytes of one row of the model's only input. Raises RequestError."""
    if len(spec.inputs) != 1:
        raise RequestError(
            f"Inference-Header-Content-Length is 0: a raw body is for models with one input, and {spec.name!r} has "
            f"{listed(spec.input_names)}."
        )
    tensor = spec.inputs[0]
    kind = _datatype(tensor)
    shape = (1, *(tensor.shape or (-1,))[1:]) if tensor.shape != () else ()
    if kind == BYTES:
        if math.prod(shape) != 1:
            reason = f"a raw body is one string, but a row has shape {list(shape[1:])}."
            raise input_error(WrongShapeError, tensor.name, reason)
        return {tensor.name: binary.read(tensor.name, binary.framed(body), kind, shape)}
    if -1 in shape:
        shape = _sized(shape, len(body) // WIRE[kind].itemsize, tensor)
    return {tensor.name: binary.read(tensor.name, memoryview(body), kind, shape)}


def _sized(shape: tuple[int, ...], elements: int, tensor: InputSpec) -> tuple[int, ...]:
    """Replace the one unknown size of a shape by the size that the number of elements gives."""
    known = math.prod(size for size in shape if size != -1)
    if shape.count(-1) > 1 or not elements or not known or elements % known:
        reason = f"{elements} values in a raw body make no row of shape {list(shape[1:])}; send the shape with the data."
        raise input_error(WrongShapeError, tensor.name, reason)
    return tuple(elements // known if size == -1 else size for size in shape)


def _tensor(entry: Any, index: int, known: Mapping[str, InputSpec], arrays: Mapping[str, Array]) -> InputSpec:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise RequestError(f"'inputs', tensor {index}: expected an object with a 'name', but got {described(entry)}.")
    name = entry["name"]
    if name not in known:
        reason = f"There is no input {cut(name)!r}; the model takes {listed(known)}.{did_you_mean(name, known)}"
        raise UnknownInputError(reason, input=cut(name), expected=list(known))
    if name in arrays:
        raise RequestError(f"Input {name!r} is given twice; give it once.")
    return known[name]


def _datatype(tensor: InputSpec) -> str:
    kind = datatype(tensor.dtype)
    if kind is None:
        raise UnsupportedTypeError(
            f"Input {tensor.name!r} is {tensor.dtype}, which this protocol has no datatype for.", input=tensor.name
        )
    return kind


def _shape(entry: Mapping[str, Any], tensor: InputSpec) -> tuple[int, ...]:
    kind, given = _datatype(tensor), entry.get("datatype")
    if given != kind:
        came = described(given) if "datatype" in entry else "none"
        raise input_error(WrongTypeError, tensor.name, f"expected datatype {kind}, but got {came}.")
    sizes = entry.get("shape")
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes) or len(sizes) > MAX_RANK:
        came = described(sizes) if not isinstance(sizes, list) else str(sizes)[:80]
        reason = f"expected 'shape' to be a list of at most {MAX_RANK} sizes, but got {came}."
        raise input_error(WrongShapeError, tensor.name, reason)
    shape = _fitting(tuple(sizes), tensor)
    if shape[:1] == (0,):
        raise NoRowsError(f"Input {tensor.name!r} has no rows; give at least one.", input=tensor.name)
    if 0 in shape and math.prod(size for size in shape if size) > MAX_EMPTY:
        raise input_error(WrongShapeError, tensor.name, f"shape {sizes} is too large for a tensor without values.")
    return shape


def _fitting(shape: tuple[int, ...], tensor: InputSpec) -> tuple[int, ...]:
    """Return the shape with the model's rank: a last size of 1 may be left out."""
    if tensor.shape is None:
        return shape
    whole = (*shape, 1) if len(shape) == len(tensor.shape) - 1 and tensor.shape[-1] == 1 else shape
    if not fits(whole, tensor.shape):
        reason = f"expected shape {list(tensor.shape)}, where -1 is any size, but got {list(shape)}."
        raise input_error(WrongShapeError, tensor.name, reason, expected=tensor.shape, got=shape)
    return whole


def _binary_size(entry: Mapping[str, Any], tensor: InputSpec) -> int | None:
    """Return the number of the entry's bytes after the JSON; None if its data are in the JSON."""
    given = parameters(entry, f"Input {tensor.name!r}")
    if "shared_memory_region" in given:
        raise UnsupportedFeatureError(f"Input {tensor.name!r}: shared memory is not supported; send the values.")
    if "binary_data_size" not in given:
        if "data" not in entry:
            raise input_error(MissingInputError, tensor.name, "expected 'data', or the parameter 'binary_data_size'.")
        return None
    size: int = given["binary_data_size"]
    if type(size) is not int or size < 0:
        raise RequestError(
            f"Input {tensor.name!r}: expected binary_data_size to be a number of bytes, but got {described(size)}."
        )
    if "data" in entry:
        raise RequestError(f"Input {tensor.name!r} has both 'data' and 'binary_data_size'; give one of them.")
    return size


def _from_json(entry: Mapping[str, Any], tensor: InputSpec, shape: tuple[int, ...]) -> Array:
    """Decode nested or flat data. Null is a missing value, or NaN for a required float."""
    data = entry["data"]
    if not isinstance(data, list) and not shape:
        data = [data]  # a scalar
    flat = isinstance(data, list) and not _nested(data)
    declared = (-1,) if flat else shape
    try:
        array = tensors.decode_shaped(data, tensor, declared)
    except MissingInputError:
        if "float" not in tensor.dtype:
            raise
        array = tensors.decode_shaped(data, replace(tensor, required=False, missing="NaN"), declared)
    if flat and array.size != math.prod(shape):
        reason = f"shape {list(shape)} takes {math.prod(shape)} values, but got {array.size}."
        raise input_error(WrongShapeError, tensor.name, reason, expected=shape, got=array.shape)
    return array.reshape(shape)


def _nested(data: list[Any]) -> bool:
    """Return whether the data hold lists, judged by the first value, or by all if the first row is null."""
    first = data[0] if data else None
    return type(first) is list or (first is None and list in set(map(type, data)))


def _complete(arrays: dict[str, Array], spec: ModelSpec) -> dict[str, Array]:
    """Return the arrays in the model's order with optional inputs filled in. Raises for a missing input or unequal rows."""
    rows: int | None = None
    for tensor in spec.inputs:
        if tensor.required and tensor.name not in arrays:
            reason = f"Input {tensor.name!r} is missing; it is required and has datatype {datatype(tensor.dtype)}."
            raise MissingInputError(reason, input=tensor.name, expected=spec.input_names)
        if tensor.name not in arrays or (tensor.shape or ())[:1] != (-1,):
            continue
        own = len(arrays[tensor.name])
        if rows not in (None, own):
            raise input_error(WrongShapeError, tensor.name, f"expected {rows} rows, as in the others, but got {own}.")
        rows = own
    if rows is None and len(arrays) < len(spec.inputs):
        raise NoRowsError("Every input is absent, so there are no rows; give at least one.")
    return {
        tensor.name: arrays[tensor.name] if tensor.name in arrays else tensors.missing_rows(tensor, rows or 0)
        for tensor in spec.inputs
    }
