"""JSON values → arrays of a signature's dtypes, as TensorFlow Serving reads them: any shape, but no type for another.

    float32, float64, float16, bfloat16   any number; beyond the largest is an infinity
    int8 … int64, uint8 … uint64          a whole number in range, written without a point
    bool                                  true, false
    string                                a string, or {"b64": "…"} for any bytes

`array.array` converts and checks a list of numbers in one go, and refuses what is no number; only that true and false are
numbers for Python must be looked for, and only where there is a 0 or a 1.
"""

import base64
from array import array
from itertools import chain
from typing import Any, NamedTuple, NoReturn

import numpy as np

from service.codec.tensors import described
from service.errors import InvalidInputError, OutOfRangeError, UnsupportedTypeError, WrongShapeError, WrongTypeError
from service.types import Array, TensorSpec

MAX_RANK = 32
"""NumPy 1's limit."""


class _Number(NamedTuple):
    """How `array.array` calls the numbers, what NumPy reads them as, what they become, and the word for a message."""

    code: str
    read: Any
    dtype: Any
    word: str


_NUMBERS = {
    "float16": _Number("f", np.float32, np.float16, "a number"),
    "bfloat16": _Number("f", np.float32, np.float32, "a number"),  # NumPy has no bfloat16; the servable narrows it
    "float32": _Number("f", np.float32, np.float32, "a number"),
    "float64": _Number("d", np.float64, np.float64, "a number"),
} | {
    dtype: _Number(code, np.dtype(dtype).type, np.dtype(dtype).type, "a whole number")
    for dtype, code in zip(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), "bhiqBHIQ", strict=True)
}


class Place(NamedTuple):
    """Where a value stands in the request, for messages."""

    name: str
    in_rows: bool

    def refuse(self, position: tuple[int, ...], reason: str, error: type[InvalidInputError]) -> NoReturn:
        """Raises the error. In rows, the first number of the position is the row's."""
        if not self.in_rows:
            where = f"position {list(position)}: " if position else ""
            raise error(f"Input {self.name!r}: {where}{reason}.", input=self.name)
        row, *inner = position or (0,)
        where = f"position {inner}: " if inner else ""
        raise error(
            f"Failed to process element: {row} key: {self.name} of 'instances' list. Error: INVALID_ARGUMENT: {where}{reason}.",
            input=self.name,
            row=row,
        )


def decode(value: Any, tensor: TensorSpec, place: Place) -> Array:
    """The array that a JSON value stands for; its shape is the value's own. Raises InvalidInputError, UnsupportedTypeError."""
    flat, shape = _flatten(value, place)
    number = _NUMBERS.get(tensor.dtype)
    if number is not None:
        return _numbers(flat, shape, number, tensor, place).reshape(shape)
    if tensor.dtype == "bool":
        if not set(map(type, flat)) <= {bool}:
            odd = next(i for i, item in enumerate(flat) if type(item) is not bool)
            place.refuse(_position(odd, shape), f"expected true or false, but got {described(flat[odd])}", WrongTypeError)
        return np.array(flat, np.bool_).reshape(shape)
    if tensor.dtype == "string":
        return strings(flat, shape, place).reshape(shape)
    raise UnsupportedTypeError(f"Input {tensor.name!r} is {tensor.dtype}, which JSON cannot carry.", input=tensor.name)


def is_bytes(value: Any) -> bool:
    """Whether it is `{"b64": …}`, which stands for a string of any bytes."""
    return type(value) is dict and value.keys() == {"b64"}


def text_or_bytes(value: Any) -> bytes | None:
    """The bytes of a string; None for what is none. Raises ValueError for base64 that is broken."""
    if type(value) is str:
        return value.encode()
    if is_bytes(value) and type(value["b64"]) is str:
        return base64.b64decode(value["b64"], validate=True)
    return None


def strings(flat: list[Any], shape: tuple[int, ...], place: Place) -> Array:
    """The flat array of bytes."""
    filled = np.empty(len(flat), np.object_)
    try:
        filled[:] = list(map(str.encode, flat))
    except TypeError:  # something is no string
        filled[:] = [_string(item, _position(i, shape), place) for i, item in enumerate(flat)]
    return filled


def _flatten(value: Any, place: Place) -> tuple[list[Any], tuple[int, ...]]:
    """The leaves in row-major order, and the shape of the lists around them. Raises WrongShapeError for ragged ones."""
    if type(value) is not list:
        return [value], ()
    level: list[Any] = value
    shape: tuple[int, ...] = (len(value),)
    while level and type(level[0]) is list:
        if set(map(type, level)) != {list}:
            odd = next(i for i, item in enumerate(level) if type(item) is not list)
            reason = f"expected a list, as in the rest, but got {described(level[odd])}"
            place.refuse(_position(odd, shape), reason, WrongShapeError)
        size = len(level[0])
        if set(map(len, level)) != {size}:
            odd = next(i for i, item in enumerate(level) if len(item) != size)
            reason = f"expected {size} values, as in the first list, but got {len(level[odd])}"
            place.refuse(_position(odd, shape), reason, WrongShapeError)
        shape = (*shape, size)
        if len(shape) > MAX_RANK:
            place.refuse((), f"lists are nested deeper than {MAX_RANK} levels", WrongShapeError)
        level = list(chain.from_iterable(level))
    return level, shape


def _numbers(flat: list[Any], shape: tuple[int, ...], number: _Number, tensor: TensorSpec, place: Place) -> Array:
    if not flat:
        return np.empty(0, number.dtype)
    try:
        numbers = np.frombuffer(array(number.code, flat), number.read)
    except (TypeError, OverflowError):
        _refuse_number(flat, shape, number, tensor, place)
    if ((numbers == 0) | (numbers == 1)).any() and bool in set(map(type, flat)):
        _refuse_number(flat, shape, number, tensor, place)
    if number.dtype is number.read:
        return numbers
    with np.errstate(over="ignore"):  # infinity is what comes of it
        return numbers.astype(number.dtype)


def _refuse_number(flat: list[Any], shape: tuple[int, ...], number: _Number, tensor: TensorSpec, place: Place) -> NoReturn:
    """Raises for the first item that is no such number."""
    for i, item in enumerate(flat):
        try:
            array(number.code, [item])
        except TypeError:
            came = "a list" if type(item) is list else described(item)
            place.refuse(_position(i, shape), f"expected {number.word}, but got {came}", WrongTypeError)
        except OverflowError:
            reason = f"expected {number.word} in the range of {tensor.dtype}, but got {described(item)}"
            place.refuse(_position(i, shape), reason, OutOfRangeError)
        if type(item) is bool:
            place.refuse(_position(i, shape), f"expected {number.word}, but got {described(item)}", WrongTypeError)
    raise RuntimeError("array.array refuses a list, but none of its items.")


def _string(item: Any, position: tuple[int, ...], place: Place) -> bytes:
    try:
        value = text_or_bytes(item)
    except ValueError as error:
        place.refuse(position, f'expected base64 in {{"b64": …}}, but it is broken: {error}', WrongTypeError)
    if value is None:
        place.refuse(position, f'expected a string or {{"b64": "…"}}, but got {described(item)}', WrongTypeError)
    return value


def _position(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The place in lists of that shape of the item that is number `index` in row-major order."""
    place: list[int] = []
    for size in reversed(shape):
        index, position = divmod(index, size)
        place.append(position)
    return tuple(reversed(place))
