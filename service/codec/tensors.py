"""JSON values ↔ NumPy arrays, checked against a tensor's dtype and shape.

Lists are walked level by level with C-speed primitives, and element by element only where values are missing or whole numbers
have a point, or to say where a mistake is. How JSON stands for a dtype:

    float16, bfloat16, float32, float64   a number in range; read and written with float32 precision or more
    int8 … int64, uint8 … uint64          a whole number in range, also as 3.0
    bool                                  true, false
    string                                a string, or {"b64": "…"} for any bytes
    out: NaN, ±Infinity                   null, as JSON has no number for them

An optional input takes its `missing` value for null, for a whole row or for one element. An input whose last dimension
is 1 also takes the values without the innermost brackets.
"""

import base64
from collections.abc import Callable
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple, NoReturn

import numpy as np
import orjson

from service.codec import numbers, strings
from service.codec.nested import OddItemError, described, flatten, not_a_list, position
from service.codec.numbers import NUMBERS, Number
from service.errors import (
    MissingInputError,
    OutOfRangeError,
    UnsupportedTypeError,
    WrongShapeError,
    WrongTypeError,
)
from service.types import Array, InputSpec, TensorSpec, fits


class _Kind(NamedTuple):
    """What a dtype takes: JSON's types, the word for a message, and the numbers."""

    takes: frozenset[type]
    word: str
    number: Number | None = None


_KINDS: dict[str, _Kind] = {
    "bool": _Kind(frozenset({bool}), "true or false"),
    "string": _Kind(frozenset({str, dict}), 'a string or {"b64": "…"}'),
} | {dtype: _Kind(frozenset({int, float}), number.word, number) for dtype, number in NUMBERS.items()}

_PLAIN = "?bBhHiIlLqQfd"
"""NumPy's letters of the dtypes that orjson writes: bool, integers, float32, float64."""


def decode(value: Any, spec: InputSpec) -> Array:
    """The array that a JSON value, whose outermost list is the rows, stands for. Strings become bytes.

    Raises:
        InvalidInputError: one of its kinds, with the input, the row (from 0), what was expected and what came.
        UnsupportedTypeError: JSON cannot carry the input's dtype.
    """
    return decode_shaped(value, spec, spec.shape)


def decode_shaped(value: Any, spec: InputSpec, declared: tuple[int, ...] | None) -> Array:
    """The same, of that shape instead of the input's own."""
    kind = _KINDS.get(spec.dtype)
    if kind is None:
        raise UnsupportedTypeError(f"Input {spec.name!r} is {spec.dtype}, which JSON cannot carry.", input=spec.name)
    try:
        flat, shape = flatten(value)
        array = _leaves(flat, kind)
    except (OddItemError, TypeError, OverflowError):
        array, shape = _carefully(value, spec, kind, declared)
    if declared == (-1,) and len(shape) == 1:
        return array
    return array.reshape(_checked_shape(shape, spec, declared))


def missing_rows(spec: InputSpec, rows: int) -> Array:
    """That many rows of an optional input that is absent altogether: one row repeated, which takes the memory of one."""
    one = decode([None], spec)
    return one if rows == 1 else np.broadcast_to(one, (rows, *one.shape[1:]))


def missing_value(spec: InputSpec) -> Any:
    """The value of the input's dtype that stands for a missing one: `"NaN"` is a float's NaN."""
    if spec.dtype == "string":
        return str(spec.missing).encode()
    return float(spec.missing or 0) if "float" in spec.dtype else int(spec.missing or 0)


def encode(array: Array, *name: str) -> Any:
    """What `orjson.dumps(…, option=OPT_SERIALIZE_NUMPY)` writes for the array: float32 shortest, non-UTF-8 as base64.

    Raises:
        UnsupportedTypeError: JSON cannot carry the dtype; `name`, with its parts, says whose.
    """
    dtype = array.dtype
    if dtype.char in _PLAIN:
        return array if array.ndim else array[()]
    if dtype.kind in "OS":
        return _texts(array)
    if dtype.name not in {"float16", "bfloat16"}:
        raise UnsupportedTypeError(f"Output {'/'.join(name)!r} is {dtype.name}, which JSON cannot carry; leave its key out.")
    return encode(array.astype(np.float32), *name)


def dumped(value: Any) -> bytes:
    """The JSON text of what `encode` has made of arrays."""
    return orjson.dumps(value, _contiguous, orjson.OPT_SERIALIZE_NUMPY)


def _contiguous(value: Any) -> Any:
    """What orjson cannot write as it stands: an array whose values do not lie one after the other."""
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)
    raise TypeError


def _texts(array: Array) -> Any:
    """Strings. Rows that are one row repeated, as names of classes are, are written once."""
    if array.ndim > 1 and not array.strides[0] and len(array):
        return [_row(*array[0].ravel().tolist())] * len(array) if array.ndim == 2 else [_texts(array[0])] * len(array)
    flat = array.ravel().tolist()
    texts: list[Any]
    try:
        texts = list(map(bytes.decode, flat))
    except (TypeError, UnicodeDecodeError):  # some are str, or no text
        texts = list(map(_text, flat))
    if array.ndim == 1:
        return texts
    if array.shape[1:] == (1,):
        return [[text] for text in texts]
    filled = np.empty(array.size, np.object_)
    filled[:] = texts
    return filled.reshape(array.shape).tolist()


@lru_cache(256)
def _row(*items: bytes | str) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps([_text(item) for item in items]))


def _leaves(flat: list[Any], kind: _Kind) -> Array:
    """The flat array, of what is no mistake at first sight. Raises OddItemError, TypeError or OverflowError for the rest."""
    if kind.number is not None:
        array = numbers.converted(flat, kind.number)
        if not numbers.in_range(array, flat, kind.number):
            raise OverflowError
        return array
    if kind.word == "true or false":
        if not set(map(type, flat)) <= kind.takes:
            raise TypeError
        return np.array(flat, np.bool_)
    return strings.converted(flat)


def _carefully(value: Any, spec: InputSpec, kind: _Kind, declared: tuple[int, ...] | None) -> tuple[Array, tuple[int, ...]]:
    """The flat array and the shape of what has missing values or whole numbers with a point; says what is wrong with the rest.

    Raises:
        WrongShapeError, WrongTypeError, OutOfRangeError, MissingInputError: at the first mistake.
    """
    if not spec.required and type(value) is list and {type(row) for row in value} <= {list, type(None)}:
        missing_row = _missing_row(declared)
        value = [missing_row if row is None else row for row in value]
    shape: tuple[int, ...] = ()
    try:
        flat, shape = flatten(value)
        missing = [i for i, item in enumerate(flat) if item is None] if not spec.required else []
        if missing:
            stand_in: Any = {"string": "", "bool": False}.get(spec.dtype, 0)
            flat = [stand_in if item is None else item for item in flat]
        _check_types(flat, shape, kind)
        array = _leaves(flat, kind) if kind.number is None else _checked_numbers(flat, spec.dtype, kind.number)
    except OddItemError as odd:
        _fail(spec, shape if odd.shape is None else odd.shape, odd)
    if missing:
        array[missing] = missing_value(spec)
    return array, shape


def _missing_row(declared: tuple[int, ...] | None) -> Any:
    def nested(shape: tuple[int, ...]) -> Any:
        return [nested(shape[1:]) for _ in range(shape[0])] if shape else None

    return nested((declared or ())[1:])


def _check_types(flat: list[Any], shape: tuple[int, ...], kind: _Kind) -> None:
    """Raises OddItemError for the first item of another type."""
    types = set(map(type, flat))
    if types <= kind.takes:
        return
    if list in types:
        odd = _first(flat, lambda item: type(item) is not list)
        raise not_a_list(flat[odd], odd, shape)
    odd = _first(flat, lambda item: type(item) not in kind.takes)
    if flat[odd] is None:
        raise OddItemError(f"expected {kind.word}, but got null, and the input is required", odd, MissingInputError)
    raise OddItemError(f"expected {kind.word}, but got {described(flat[odd])}", odd, WrongTypeError)


def _checked_numbers(flat: list[Any], dtype: str, number: Number) -> Array:
    """The numbers, 3.0 being a whole one. Raises OddItemError for the first that is a fraction or out of range."""
    if isinstance(number.low, int):
        odd = _first(flat, lambda item: type(item) is float and not item.is_integer())
        if odd < len(flat):
            raise OddItemError(f"expected a whole number, but got {flat[odd]}", odd, WrongTypeError)
        flat = list(map(int, flat))
    # What a parser reads as an infinity or as no number was meant as such.
    odd = _first(flat, lambda item: not number.low <= item <= number.high and abs(item) < inf)
    if odd < len(flat):
        low, high = (f"{bound:g}" if isinstance(bound, float) else bound for bound in (number.low, number.high))
        reason = f"expected {number.word} from {low} to {high} ({dtype}), but got {flat[odd]}"
        raise OddItemError(reason, odd, OutOfRangeError)
    return numbers.converted(flat, number)


def _checked_shape(shape: tuple[int, ...], spec: InputSpec, declared: tuple[int, ...] | None) -> tuple[int, ...]:
    if declared is None:
        return shape
    if len(shape) == len(declared) - 1 and declared[-1] == 1:
        shape = (*shape, 1)
    if not fits(shape, declared):
        raise WrongShapeError(
            f"Input {spec.name!r}: expected {shaped(declared)}, but got {shaped(shape)}.",
            input=spec.name,
            expected=declared,
            got=shape,
        )
    return shape


def shaped(shape: tuple[int, ...]) -> str:
    """A shape in words: the rows, then the shape of each."""
    if not shape:
        return "one value without rows"
    rows = "any number of rows" if shape[0] == -1 else f"{shape[0]} row{'s' if shape[0] != 1 else ''}"
    inner = " × ".join("any" if size == -1 else str(size) for size in shape[1:])
    return f"{rows} of {f'lists of {inner} values' if inner else 'single values'}"


def _text(item: bytes | str) -> str | dict[str, str]:
    if isinstance(item, str):
        return item
    try:
        return item.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(item).decode()}


def _first(items: list[Any], wrong: Callable[[Any], bool]) -> int:
    """Index of the first wrong item, the length when there is none."""
    return next((i for i, item in enumerate(items) if wrong(item)), len(items))


def _fail(spec: TensorSpec, shape: tuple[int, ...], odd: OddItemError) -> NoReturn:
    """Raises the error of the item, located within the shape."""
    row: int | None = None
    where = ""
    if odd.index is not None and shape:
        row, *inner = position(odd.index, shape)
        where = f", row {row}" + (f", position {inner}" if inner else "")
    raise odd.error(f"Input {spec.name!r}{where}: {odd.reason}.", input=spec.name, row=row, dtype=spec.dtype)
