"""JSON values ↔ NumPy arrays, checked against a tensor's dtype and shape.

Lists are walked level by level with C-speed primitives (`set(map(type, …))`), and element by element only to say where
a mistake is. How JSON stands for a dtype:

    float16, bfloat16, float32, float64   a number in range; read and written with float32 precision or more
    int8 … int64, uint8 … uint64          a whole number in range, also as 3.0
    bool                                  true, false
    string                                a string, or {"b64": "…"} for any bytes
    out: NaN, ±Infinity                   null, as JSON has no number for them

An optional input takes its `missing` value for null, for a whole row or for one element. An input whose last dimension
is 1 also takes the values without the innermost brackets.
"""

import base64
import binascii
import math
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, NoReturn

import numpy as np
import orjson

from service.errors import (
    InvalidInputError,
    MissingInputError,
    OutOfRangeError,
    UnsupportedTypeError,
    WrongShapeError,
    WrongTypeError,
)
from service.types import Array, InputSpec, TensorSpec

MAX_RANK = 32
"""NumPy 1's limit."""


class _Kind(NamedTuple):
    """What a dtype takes: JSON's types, the number range, NumPy's type of the array, and the word for a message."""

    takes: frozenset[type]
    array: Any
    word: str
    low: float | int | None = None
    high: float | int | None = None


def _float(array: Any, exponent: int, bits: int) -> _Kind:
    """A float of `bits` significant bits: what is nearer to infinity than to the largest number is out of range."""
    high = math.nextafter(math.ldexp(2 - 2.0**-bits, exponent), 0) if exponent < 1023 else math.inf
    return _Kind(frozenset({int, float}), array, "a number", -high, high)


_KINDS: dict[str, _Kind] = {
    "float16": _float(np.float16, 15, 11),
    "bfloat16": _float(np.float32, 127, 8),  # NumPy has no bfloat16; the servable narrows it
    "float32": _float(np.float32, 127, 24),
    "float64": _float(np.float64, 1023, 53),
    "bool": _Kind(frozenset({bool}), np.bool_, "true or false"),
    "string": _Kind(frozenset({str, dict}), np.object_, 'a string or {"b64": "…"}'),
} | {
    dtype: _Kind(frozenset({int, float}), np.dtype(dtype).type, "a whole number", np.iinfo(dtype).min, np.iinfo(dtype).max)
    for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}


_PLAIN = "?bBhHiIlLqQfd"
"""NumPy's letters of the dtypes that orjson writes: bool, integers, float32, float64."""

_FLAT = ((-1,), (-1, 1))
"""Shapes that a list of plain values fits."""


def decode(value: Any, spec: InputSpec) -> Array:
    """The array that a JSON value, whose outermost list is the rows, stands for. Strings become bytes.

    Raises:
        InvalidInputError: one of its kinds, with the input, the row (from 0), what was expected and what came.
        UnsupportedTypeError: JSON cannot carry the input's dtype.
    """
    kind = _KINDS.get(spec.dtype)
    if kind is None:
        raise UnsupportedTypeError(f"Input {spec.name!r} is {spec.dtype}, which JSON cannot carry.", input=spec.name)
    if type(value) is list and spec.shape in _FLAT and set(map(type, value)) <= kind.takes:  # by far the most inputs
        return _leaves(value, spec, kind, (len(value),)).reshape(-1, *(spec.shape or ())[1:])
    if not spec.required and type(value) is list and {type(row) for row in value} <= {list, type(None)}:
        value = [_missing_row(spec) if row is None else row for row in value]
    flat, shape = _flatten(value, spec)
    missing = [i for i, item in enumerate(flat) if item is None] if not spec.required and None in flat else []
    for i in missing:
        flat[i] = "" if spec.dtype == "string" else 0
    array = _leaves(flat, spec, kind, shape)
    if missing:
        array[missing] = missing_value(spec)
    return array.reshape(_checked_shape(shape, spec))


def missing_rows(spec: InputSpec, rows: int) -> Array:
    """An array of that many rows of an optional input that is absent altogether."""
    return decode([None] * rows, spec)


def missing_value(spec: InputSpec) -> Any:
    """The value of the input's dtype that stands for a missing one: `"NaN"` is a float's NaN."""
    if spec.dtype == "string":
        return str(spec.missing).encode()
    return float(spec.missing or 0) if "float" in spec.dtype else int(spec.missing or 0)


def encode(array: Array, name: str) -> Any:
    """What `orjson.dumps(…, option=OPT_SERIALIZE_NUMPY)` writes for the array: float32 shortest, non-UTF-8 as base64.

    Raises:
        UnsupportedTypeError: JSON cannot carry the dtype; `name` says whose.
    """
    dtype = array.dtype
    if dtype.char in _PLAIN:
        return array if array.ndim else array[()]
    if dtype.kind in "OS":
        return _texts(array)
    if dtype.name not in {"float16", "bfloat16"}:
        raise UnsupportedTypeError(f"Output {name!r} is {dtype.name}, which JSON cannot carry; leave its key out.")
    return encode(array.astype(np.float32), name)


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
    texts = {item: _text(item) for item in set(flat)}  # few, when they are classes
    if array.ndim == 1:
        return [texts[item] for item in flat]
    if array.shape[1:] == (1,):
        return [[texts[item]] for item in flat]
    filled = np.empty(array.size, np.object_)
    filled[:] = [texts[item] for item in flat]
    return filled.reshape(array.shape).tolist()


@lru_cache(256)
def _row(*items: bytes | str) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps([_text(item) for item in items]))


def _missing_row(spec: InputSpec) -> Any:
    def nested(shape: tuple[int, ...]) -> Any:
        return [nested(shape[1:]) for _ in range(shape[0])] if shape else None

    return nested((spec.shape or ())[1:])


def _flatten(value: Any, spec: InputSpec) -> tuple[list[Any], tuple[int, ...]]:
    """The leaves in row-major order and the shape of the lists around them. Raises WrongShapeError for ragged ones."""
    level, shape = [value], ()  # type: tuple[list[Any], tuple[int, ...]]
    while level and len(shape) <= MAX_RANK:
        types = set(map(type, level))
        if list not in types:
            return level, shape
        if types != {list}:
            odd = _first(level, lambda item: type(item) is not list)
            _fail(spec, shape, odd, f"a list, as in the rest, but got {described(level[odd])}", WrongShapeError)
        if len(set(map(len, level))) > 1:
            length = len(level[0])
            odd = [len(item) == length for item in level].index(False)
            expected = f"{length} values, as in the first list, but got {len(level[odd])} (a ragged list)"
            _fail(spec, shape, odd, expected, WrongShapeError)
        shape = (*shape, len(level[0]))
        level = list(chain.from_iterable(level))
    if level:
        raise WrongShapeError(f"Input {spec.name!r}: lists are nested deeper than {MAX_RANK} levels.", input=spec.name)
    return level, shape


def _leaves(flat: list[Any], spec: InputSpec, kind: _Kind, shape: tuple[int, ...]) -> Array:
    """The flat array of the input's dtype. Raises WrongTypeError, OutOfRangeError, MissingInputError."""
    types = set(map(type, flat))
    if not types <= kind.takes:
        odd = _first(flat, lambda item: type(item) not in kind.takes)
        if flat[odd] is None:
            _fail(spec, shape, odd, f"{kind.word}, but got null, and the input is required", MissingInputError)
        _fail(spec, shape, odd, f"{kind.word}, but got {described(flat[odd])}", WrongTypeError)
    if spec.dtype == "string":
        array = np.empty(len(flat), np.object_)
        array[:] = (
            list(map(str.encode, flat))
            if types <= {str}
            else [_bytes(item, i, spec, kind, shape) for i, item in enumerate(flat)]
        )
        return array
    if kind.word == "a whole number" and float in types:
        odd = _first(flat, lambda item: type(item) is float and not item.is_integer())
        if odd < len(flat):
            _fail(spec, shape, odd, f"a whole number, but got {flat[odd]}", WrongTypeError)
        flat = list(map(int, flat))
    if flat and kind.low is not None and kind.high is not None and not kind.low <= min(flat) <= max(flat) <= kind.high:
        odd = _first(flat, lambda item: not kind.low <= item <= kind.high)
        low, high = (f"{bound:g}" if isinstance(bound, float) else bound for bound in (kind.low, kind.high))
        came = f"{kind.word} from {low} to {high} ({spec.dtype}), but got {flat[odd]}"
        _fail(spec, shape, odd, came, OutOfRangeError)
    return np.array(flat, kind.array)


def _checked_shape(shape: tuple[int, ...], spec: InputSpec) -> tuple[int, ...]:
    if spec.shape is None:
        return shape
    if len(shape) == len(spec.shape) - 1 and spec.shape[-1] == 1:
        shape = (*shape, 1)
    if len(shape) != len(spec.shape) or any(want not in (-1, got) for want, got in zip(spec.shape, shape, strict=True)):
        raise WrongShapeError(
            f"Input {spec.name!r}: expected {shaped(spec.shape)}, but got {shaped(shape)}.",
            input=spec.name,
            expected=spec.shape,
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


def _bytes(item: str | dict[str, Any], index: int, spec: InputSpec, kind: _Kind, shape: tuple[int, ...]) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if item.keys() != {"b64"} or not isinstance(item["b64"], str):
        _fail(spec, shape, index, f"{kind.word}, but got {described(item)}", WrongTypeError)
    try:
        return base64.b64decode(item["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        _fail(spec, shape, index, f'base64 in {{"b64": …}}, but it is broken: {error}', WrongTypeError)


def _text(item: bytes | str) -> str | dict[str, str]:
    if isinstance(item, str):
        return item
    try:
        return item.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(item).decode()}


def described(value: Any) -> str:
    """A JSON value for a message: its type and, cut short, itself."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {value[:40]!r}{'…' if len(value) > 40 else ''}"
    if isinstance(value, dict):
        return f"an object with {', '.join(map(repr, list(value)[:5])) or 'no members'}"
    return f"a list of {len(value)}" if isinstance(value, list) else f"the number {value}"


def _first(items: list[Any], wrong: Callable[[Any], bool]) -> int:
    """Index of the first wrong item, the length when there is none."""
    return next((i for i, item in enumerate(items) if wrong(item)), len(items))


def _fail(spec: TensorSpec, shape: tuple[int, ...], index: int, message: str, error: type[InvalidInputError]) -> NoReturn:
    """Raises the error, located: `index` counts in row-major order within `shape`."""
    place = []
    for size in reversed(shape):
        index, position = divmod(index, size)
        place.append(position)
    row, *inner = reversed(place) if place else (None,)
    where = "" if row is None else f", row {row}" + (f", position {inner}" if inner else "")
    raise error(f"Input {spec.name!r}{where}: expected {message}.", input=spec.name, row=row, dtype=spec.dtype)
