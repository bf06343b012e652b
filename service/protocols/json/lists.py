"""Nested JSON lists → one flat list and a shape; a flat list of the values of a dtype → an array.

`array.array` converts and checks a list of numbers in one call and rejects values that are not numbers. Only booleans, which
are numbers in Python, need a check of their own; a long list is searched for them only if it holds a 0 or a 1.
"""

import base64
import math
import sys
from array import array
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from service.errors import InvalidInputError, InvalidRequestError, WrongShapeError, WrongTypeError
from service.messages import described
from service.types import Array

MAX_RANK = 32
"""NumPy 1's limit."""

SHORT = 16
"""For lists shorter than this, a loop in Python is faster than NumPy's fixed costs."""


class Number(NamedTuple):
    """The numbers of a dtype, from `low` to `high`.

    A list is read with `array.array`'s type `code`, which is NumPy's type `read`, and converted to NumPy's type `dtype`.
    """

    code: str
    read: Any
    dtype: Any
    word: str
    """The description in messages."""
    low: float | int
    high: float | int


class JsonType(NamedTuple):
    """The JSON values that a dtype accepts: their Python types, their description in messages, and the range of numbers."""

    types: frozenset[type]
    word: str
    number: Number | None = None


def _float(code: str, dtype: Any, exponent: int, bits: int) -> Number:
    """Return the numbers of a float type; those that `bits` significant bits would round to infinity are out of range."""
    high = math.nextafter(math.ldexp(2 - 2.0**-bits, exponent), 0) if exponent < 1023 else sys.float_info.max
    return Number(code, np.dtype(code).type, dtype, "a number", -high, high)


def _integer(code: str, dtype: str) -> Number:
    kind = np.dtype(dtype).type
    return Number(code, kind, kind, "a whole number", int(np.iinfo(kind).min), int(np.iinfo(kind).max))


NUMBERS = {
    "float16": _float("d", np.float16, 15, 11),
    "bfloat16": _float("f", np.float32, 127, 8),  # NumPy has no bfloat16; the servable converts the array
    "float32": _float("f", np.float32, 127, 24),
    "float64": _float("d", np.float64, 1023, 53),
} | {
    dtype: _integer(code, dtype)
    for dtype, code in zip(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), "bhiqBHIQ", strict=True)
}

JSON_TYPES: dict[str, JsonType] = {
    "bool": JsonType(frozenset({bool}), "true or false"),
    "string": JsonType(frozenset({str, dict}), 'a string or {"b64": "…"}'),
} | {dtype: JsonType(frozenset({int, float}), number.word, number) for dtype, number in NUMBERS.items()}


@dataclass(eq=False)
class InvalidItemError(Exception):
    """An item that does not fit the dtype or the shape; the codec raises an `error` with the input's name."""

    reason: str
    index: int | None
    """The item's index in row-major order; None for the value as a whole."""
    error: type[InvalidInputError]
    shape: tuple[int, ...] | None = None
    """The shape of the lists around the item, where it differs from the shape of the whole value."""

    def position(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the item's index in each dimension of a value of this shape; empty for the value as a whole."""
        if self.index is None:
            return ()
        return tuple(map(int, np.unravel_index(self.index, shape if self.shape is None else self.shape)))


def input_error(error: type[InvalidRequestError], name: str, reason: str, **details: Any) -> InvalidRequestError:
    """Return an error about an input, with the input's name in the message and in the details."""
    return error(f"Input {name!r}: {reason}", input=name, **details)


def flatten(value: Any) -> tuple[list[Any], tuple[int, ...]]:
    """Return the items in row-major order and the shape of the lists around them.

    The first item of each level decides whether the level consists of lists, so that a list may remain among the items. The
    returned list may be `value` itself. Raises InvalidItemError.
    """
    if type(value) is not list:
        return [value], ()
    level: list[Any] = value
    shape: tuple[int, ...] = (len(value),)
    while level and type(level[0]) is list:
        if set(map(type, level)) != {list}:
            index = next(i for i, item in enumerate(level) if type(item) is not list)
            raise not_a_list(level[index], index, shape)
        size = len(level[0])
        if set(map(len, level)) != {size}:
            index = next(i for i, item in enumerate(level) if len(item) != size)
            reason = f"expected {size} values, as in the first list, but got {len(level[index])} (a ragged list)"
            raise InvalidItemError(reason, index, WrongShapeError, shape)
        shape = (*shape, size)
        if len(shape) > MAX_RANK:
            raise InvalidItemError(f"lists are nested deeper than {MAX_RANK} levels", None, WrongShapeError)
        level = list(chain.from_iterable(level))
    return level, shape


def not_a_list(item: Any, index: int, shape: tuple[int, ...]) -> InvalidItemError:
    """Return the error for an item among lists that is not a list."""
    return InvalidItemError(f"expected a list, as in the rest, but got {described(item)}", index, WrongShapeError, shape)


def to_array(flat: list[Any], kind: JsonType) -> Array:
    """Convert a flat list without nulls. Raises InvalidItemError, TypeError or OverflowError for any other value."""
    if kind.number is None:
        return to_strings(flat) if str in kind.types else to_booleans(flat)
    array = to_numbers(flat, kind.number)
    if not in_range(array, flat, kind.number):
        raise OverflowError
    return array


def to_numbers(flat: list[Any], number: Number) -> Array:
    """Convert a flat list of numbers; a float beyond the dtype's range becomes an infinity.

    Raises TypeError for an item of another kind, such as true or, in place of a whole number, 1.0; and OverflowError.
    """
    if not flat:
        return np.empty(0, number.dtype)
    values: Array = np.frombuffer(array(number.code, flat), number.read)
    if (len(flat) < SHORT or ((values == 0) | (values == 1)).any()) and bool in set(map(type, flat)):
        raise TypeError
    if number.dtype is number.read:
        return values
    with np.errstate(over="ignore"):  # overflow gives infinity, as intended
        return values.astype(number.dtype)


def in_range(values: Array, flat: list[Any], number: Number) -> bool:
    """Return whether the numbers that `to_numbers` has converted are finite; may miss a NaN."""
    if number.code not in "fd" or not flat:
        return True
    if len(flat) < SHORT:
        return bool(number.low <= min(flat) and max(flat) <= number.high)
    return bool(number.low <= float(values.min()) and float(values.max()) <= number.high)


def is_base64(value: Any) -> bool:
    """Return whether the value is an object `{"b64": …}`, which stands for a string of any bytes."""
    return type(value) is dict and value.keys() == {"b64"}


def to_bytes(value: Any) -> bytes | None:
    """Return the bytes of a string or of base64, None for any other value. Raises ValueError for invalid base64."""
    if type(value) is str:
        return value.encode()
    if is_base64(value) and type(value["b64"]) is str:
        return base64.b64decode(value["b64"], validate=True)
    return None


def to_booleans(flat: list[Any]) -> Array:
    """Convert a flat list to an array. Raises InvalidItemError for an item that is not true or false."""
    if not set(map(type, flat)) <= {bool}:
        index = next(i for i, item in enumerate(flat) if type(item) is not bool)
        raise InvalidItemError(f"expected true or false, but got {described(flat[index])}", index, WrongTypeError)
    return np.array(flat, np.bool_)


def to_strings(flat: list[Any]) -> Array:
    """Convert a flat list to an array of bytes. Raises InvalidItemError for an item that is not a string."""
    try:
        items = list(map(str.encode, flat))
    except TypeError:  # some items are not text
        items = [_string(item, index) for index, item in enumerate(flat)]
    array = np.empty(len(items), np.object_)
    array[:] = items
    return array


def _string(item: Any, index: int) -> bytes:
    try:
        data = to_bytes(item)
    except ValueError as error:
        reason = f'expected base64 in {{"b64": …}}, but it is broken: {error}'
        raise InvalidItemError(reason, index, WrongTypeError) from None
    if data is None:
        raise InvalidItemError(f'expected a string or {{"b64": "…"}}, but got {described(item)}', index, WrongTypeError)
    return data
