"""The inputs of a request → arrays: `instances` (rows), `inputs` (columns), or `examples` (serialized `tf.Example`s).

JSON values become arrays of the signature's dtypes as in TensorFlow Serving: of any shape, without conversion between types.

float32, float64, float16, bfloat16   any number; a larger one becomes an infinity
int8 … int64, uint8 … uint64          a whole number in range, written without a point
bool                                  true, false
string                                a string, or {"b64": "…"} for any bytes
"""

from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import Any, NoReturn

import numpy as np

from service.errors import (
    InvalidRequestError,
    MissingInputError,
    NoRowsError,
    OutOfRangeError,
    UnknownInputError,
    UnsupportedTypeError,
    WrongTypeError,
)
from service.messages import cut, described, did_you_mean, listed
from service.protocols.json import lists
from service.protocols.json.lists import NUMBERS, InvalidItemError, Number, input_error, is_base64
from service.protocols.json.reader import check_rows, has_rows
from service.protocols.json.tf_example import serialized
from service.types import Array, TensorSpec

MAX_SHARED_BYTES = 2**25
"""Bytes of all copies of the context, one per example: a megabyte of context with a million examples would be a terabyte."""


def read(message: dict[str, Any], inputs: Sequence[TensorSpec], signature: str) -> dict[str, Array]:
    """Decode the signature's inputs. Raises RequestError."""
    by_row = has_rows(message)
    if not inputs:
        raise InvalidRequestError(f"Failed to get input map for signature: {signature}")
    return _rows(message["instances"], inputs) if by_row else _columns(message["inputs"], inputs)


def _rows(instances: Any, inputs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Decode a list of rows: values of the only input, or objects with exactly the inputs."""
    check_rows(instances)
    if type(instances[0]) is not dict or is_base64(instances[0]):
        if len(inputs) > 1:
            reason = f"'instances' is a list of values, but the signature has {len(inputs)} inputs"
            names = listed(tensor.name for tensor in inputs)
            raise WrongTypeError(f"{reason}; expected objects with {names}.", row=0)
        return {inputs[0].name: decode(instances, inputs[0], in_rows=True)}
    if set(map(type, instances)) != {dict} or set(map(len, instances)) != {len(inputs)}:
        _reject_row(instances, inputs)
    arrays = {}
    for tensor in inputs:
        try:
            column = list(map(itemgetter(tensor.name), instances))
        except KeyError:
            _reject_row(instances, inputs)
        arrays[tensor.name] = decode(column, tensor, in_rows=True)
    return arrays


def _columns(given: Any, inputs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Decode an object of columns, or the value of the only input; other names are ignored."""
    if type(given) is not dict or is_base64(given):
        if len(inputs) > 1:
            raise WrongTypeError(
                f"'inputs': the signature has {len(inputs)} inputs; expected an object with "
                f"{listed(tensor.name for tensor in inputs)}, but got {described(given)}."
            )
        return {inputs[0].name: decode(given, inputs[0])}
    for tensor in inputs:
        if tensor.name not in given:
            reason = f"Missing named input: {tensor.name} in 'inputs' object; it has {listed(given)}."
            raise MissingInputError(reason, input=tensor.name)
    return {tensor.name: decode(given[tensor.name], tensor) for tensor in inputs}


def read_examples(message: dict[str, Any], floats: Collection[str] = ()) -> Array:
    """Serialize `examples` with the features of `context`; `floats` are read as floats. Raises InvalidRequestError.

    Returns bytes `[rows]`.
    """
    examples = message.get("examples")
    if not isinstance(examples, list):
        came = described(examples) if "examples" in message else "none"
        raise InvalidRequestError(f"'examples': expected a list of objects, but got {came}.")
    if not examples:
        raise NoRowsError("'examples' is empty; give at least one.")
    context = message.get("context", {})
    # Protocol buffers merge concatenated messages, and the last value wins: an example overrides the context.
    shared = serialized(context, "'context'", floats) if context != {} else b""
    if len(shared) * len(examples) > MAX_SHARED_BYTES:
        raise InvalidRequestError(
            f"'context': expected at most {MAX_SHARED_BYTES} bytes, counting a copy for each of the {len(examples)} examples, "
            f"but got {len(shared)} bytes for each; send fewer examples at once."
        )
    rows = np.empty(len(examples), np.object_)
    rows[:] = [shared + serialized(example, f"'examples', {i}", floats) for i, example in enumerate(examples)]
    return rows


def decode(value: Any, tensor: TensorSpec, in_rows: bool = False) -> Array:
    """Convert a JSON value to an array of the value's shape. Raises InvalidInputError, UnsupportedTypeError."""
    shape: tuple[int, ...] = ()
    try:
        flat, shape = lists.flatten(value)
        return _flat_array(flat, tensor).reshape(shape)
    except InvalidItemError as error:
        raise _located(error, error.position(shape), tensor.name, in_rows) from None


def _located(error: InvalidItemError, position: tuple[int, ...], name: str, in_rows: bool) -> InvalidRequestError:
    """Return the error with the place of the item. By row, the first index of the position is the row."""
    row, *inner = (position or (0,)) if in_rows else (None, *position)
    reason = f"position {inner}: {error.reason}." if inner else f"{error.reason}."
    if row is None:
        return input_error(error.error, name, reason)
    where = f"Failed to process element: {row} key: {name} of 'instances' list. Error: INVALID_ARGUMENT: "
    return error.error(where + reason, input=name, row=row)


def _flat_array(flat: list[Any], tensor: TensorSpec) -> Array:
    number = NUMBERS.get(tensor.dtype)
    if number is not None:
        try:
            return lists.to_numbers(flat, number)
        except (TypeError, OverflowError):
            raise _wrong_number(flat, number, tensor.dtype) from None
    if tensor.dtype == "string":
        return lists.to_strings(flat)
    if tensor.dtype == "bool":
        return lists.to_booleans(flat)
    raise UnsupportedTypeError(f"Input {tensor.name!r} is {tensor.dtype}, which JSON cannot carry.", input=tensor.name)


def _wrong_number(flat: list[Any], number: Number, dtype: str) -> InvalidItemError:
    for i, item in enumerate(flat):
        try:
            lists.to_numbers([item], number)
        except TypeError:
            came = "a list" if type(item) is list else described(item)
            return InvalidItemError(f"expected {number.word}, but got {came}", i, WrongTypeError)
        except OverflowError:
            reason = f"expected {number.word} in the range of {dtype}, but got {described(item)}"
            return InvalidItemError(reason, i, OutOfRangeError)
    raise RuntimeError("The list is invalid, but each of its items is valid.")


def _reject_row(instances: list[Any], inputs: Sequence[TensorSpec]) -> NoReturn:
    names = [tensor.name for tensor in inputs]
    for i, row in enumerate(instances):
        where = f"Failed to process element: {i} of 'instances' list"
        if type(row) is not dict:
            raise WrongTypeError(f"{where}: expected an object, as the first is, but got {described(row)}.", row=i)
        for name in names:
            if name not in row:
                reason = f"it has no {name!r}; the signature takes {listed(names)}."
                raise MissingInputError(f"{where}: {reason}", input=name, row=i)
        for name in row:
            if name not in names:
                where = f"Failed to process element: {i} key: {cut(name)} of 'instances' list"
                reason = f"the signature has no such input; it takes {listed(names)}.{did_you_mean(name, names)}"
                raise UnknownInputError(f"{where}: {reason}", input=name, row=i)
    raise RuntimeError("Every row has exactly the inputs.")
