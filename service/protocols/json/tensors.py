"""JSON values ↔ NumPy arrays, checked against a tensor's dtype and shape.

Lists are walked level by level with C-speed primitives. Single elements are visited only where values are missing, where whole
numbers have a point, or to locate a mistake. JSON values by dtype:

    float16, bfloat16, float32, float64   a number in range; read and written with at least float32 precision
    int8 … int64, uint8 … uint64          a whole number in range, also as 3.0
    bool                                  true, false
    string                                a string, or {"b64": "…"} for any bytes
    out: NaN, ±Infinity                   null, as JSON has no number for them

An optional input accepts null for a whole row or for one element and replaces it by its `missing` value. If the last dimension
is 1, the innermost brackets may be left out.
"""

import base64
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import inf, prod
from typing import Any, NoReturn

import numpy as np
import orjson

from service.errors import (
    MissingInputError,
    OutOfRangeError,
    TooManyRowsError,
    UnsupportedTypeError,
    WrongShapeError,
    WrongTypeError,
)
from service.messages import described
from service.protocols.json import lists
from service.protocols.json.lists import JSON_TYPES, InvalidItemError, JsonType, Number, input_error
from service.types import Array, InputSpec, TensorSpec, fits

_PLAIN = "?bBhHiIlLqQfd"
"""NumPy's type codes of the arrays that orjson writes: bool, integers, float32, float64."""

MAX_FILLED = 2**26
"""Values of an input in which rows are null: a null takes five bytes of the request, however wide the row is."""


def decode(value: Any, spec: InputSpec) -> Array:
    """Convert a JSON list of rows to an array; strings become bytes. Raises InvalidInputError, UnsupportedTypeError."""
    return decode_shaped(value, spec, spec.shape)


def decode_shaped(value: Any, spec: InputSpec, declared: tuple[int, ...] | None) -> Array:
    """Convert like `decode`, with the shape `declared` instead of the input's own."""
    kind = JSON_TYPES.get(spec.dtype)
    if kind is None:
        raise UnsupportedTypeError(f"Input {spec.name!r} is {spec.dtype}, which JSON cannot carry.", input=spec.name)
    try:
        flat, shape = lists.flatten(value)
        array = lists.to_array(flat, kind)
    except (InvalidItemError, TypeError, OverflowError):
        array, shape = _decode_checked(value, spec, kind, declared)
    if declared == (-1,) and len(shape) == 1:
        return array
    if declared is not None:
        if len(shape) == len(declared) - 1 and declared[-1] == 1:
            shape = (*shape, 1)
        if not fits(shape, declared):
            reason = f"expected {_shaped(declared)}, but got {_shaped(shape)}."
            raise input_error(WrongShapeError, spec.name, reason, expected=declared, got=shape)
    return array.reshape(shape)


def _shaped(shape: tuple[int, ...]) -> str:
    """Describe a shape in a message: the number of rows, then the shape of each."""
    if not shape:
        return "one value without rows"
    rows = "any number of rows" if shape[0] == -1 else f"{shape[0]} row{'s' if shape[0] != 1 else ''}"
    inner = " × ".join("any" if size == -1 else str(size) for size in shape[1:])
    return f"{rows} of {f'lists of {inner} values' if inner else 'single values'}"


def _decode_checked(
    value: Any, spec: InputSpec, kind: JsonType, declared: tuple[int, ...] | None
) -> tuple[Array, tuple[int, ...]]:
    """Decode element by element, which accepts nulls and locates mistakes; return the flat array and the shape."""
    if spec.required or type(value) is not list or not set(map(type, value)) <= {list, type(None)}:
        return _values(value, spec, kind)
    present = [row for row, values in enumerate(value) if values is not None]
    if len(present) == len(value) or declared is None or (present and len(declared) < 2):
        return _values(value, spec, kind)
    array, shape = _values([value[row] for row in present] or [_missing_row(declared)], spec, kind, present)
    shape = (len(value), *shape[1:])
    if prod(shape) > MAX_FILLED:
        reason = f"expected at most {MAX_FILLED} values where rows are null, but got {prod(shape)}; send fewer rows at once."
        raise input_error(TooManyRowsError, spec.name, reason)
    filled = np.full((len(value), prod(shape[1:])), _missing_value(spec), array.dtype)
    if present:
        filled[present] = array.reshape(len(present), -1)
    return filled.ravel(), shape


def _values(value: Any, spec: InputSpec, kind: JsonType, rows: Sequence[int] | None = None) -> tuple[Array, tuple[int, ...]]:
    """Decode rows that are not null. `rows` are their indices in the request, None for all."""
    shape: tuple[int, ...] = ()
    try:
        flat, shape = lists.flatten(value)
        missing = [i for i, item in enumerate(flat) if item is None] if not spec.required else []
        if missing:
            stand_in: Any = {"string": "", "bool": False}.get(spec.dtype, 0)
            flat = [stand_in if item is None else item for item in flat]
        _check_types(flat, shape, kind)
        array = lists.to_array(flat, kind) if kind.number is None else _checked_numbers(flat, spec.dtype, kind.number)
    except InvalidItemError as error:
        _fail(spec, error.position(shape), error, rows)
    if missing:
        array[missing] = _missing_value(spec)
    return array, shape


def _missing_row(declared: tuple[int, ...]) -> Any:
    row: Any = None
    for size in reversed(declared[1:]):
        row = [row] * size
    return row


def _check_types(flat: list[Any], shape: tuple[int, ...], kind: JsonType) -> None:
    types = set(map(type, flat))
    if types <= kind.types:
        return
    if list in types:
        index = _first(flat, lambda item: type(item) is not list)
        raise lists.not_a_list(flat[index], index, shape)
    index = _first(flat, lambda item: type(item) not in kind.types)
    if flat[index] is None:
        raise InvalidItemError(f"expected {kind.word}, but got null, and the input is required", index, MissingInputError)
    raise InvalidItemError(f"expected {kind.word}, but got {described(flat[index])}", index, WrongTypeError)


def _checked_numbers(flat: list[Any], dtype: str, number: Number) -> Array:
    """Convert numbers; 3.0 is a whole number. Raises InvalidItemError for the first fraction or number out of range."""
    if isinstance(number.low, int):
        index = _first(flat, lambda item: type(item) is float and not item.is_integer())
        if index < len(flat):
            raise InvalidItemError(f"expected a whole number, but got {flat[index]}", index, WrongTypeError)
        flat = list(map(int, flat))
    # NaN and infinities are out of range as well.
    index = _first(flat, lambda item: not number.low <= item <= number.high and abs(item) < inf)
    if index < len(flat):
        low, high = (f"{bound:g}" if isinstance(bound, float) else bound for bound in (number.low, number.high))
        reason = f"expected {number.word} from {low} to {high} ({dtype}), but got {flat[index]}"
        raise InvalidItemError(reason, index, OutOfRangeError)
    return lists.to_numbers(flat, number)


def _missing_value(spec: InputSpec) -> Any:
    """Return the input's value for null, in its dtype; `"NaN"` is a float's NaN."""
    if spec.dtype == "string":
        return str(spec.missing).encode()
    return float(spec.missing or 0) if "float" in spec.dtype else int(spec.missing or 0)


def _first(items: list[Any], wrong: Callable[[Any], bool]) -> int:
    """Return the index of the first wrong item; the length if there is none."""
    return next((i for i, item in enumerate(items) if wrong(item)), len(items))


def _fail(spec: TensorSpec, position: tuple[int, ...], error: InvalidItemError, rows: Sequence[int] | None) -> NoReturn:
    row: int | None = None
    where = ""
    if position:
        row, *inner = position
        row = row if rows is None else rows[row]
        where = f", row {row}" + (f", position {inner}" if inner else "")
    raise error.error(f"Input {spec.name!r}{where}: {error.reason}.", input=spec.name, row=row, dtype=spec.dtype)


def missing_rows(spec: InputSpec, rows: int) -> Array:
    """Return the rows of an optional input that the request leaves out: one row, broadcast without copies."""
    one = decode([None], spec)
    return one if rows == 1 else np.broadcast_to(one, (rows, *one.shape[1:]))


def encode(array: Array, *name: str) -> Any:
    """Convert an array to a value for `dumped`: float32 with its shortest digits, strings that are not UTF-8 as base64.

    Raises UnsupportedTypeError, which names the output by the parts of `name`, for a dtype that JSON does not have.
    """
    dtype = array.dtype
    if dtype.char in _PLAIN:
        return array if array.ndim else array[()]
    if dtype.kind in "OS":
        return _texts(array)
    if dtype.name not in {"float16", "bfloat16"}:
        raise UnsupportedTypeError(f"Output {'/'.join(name)!r} is {dtype.name}, which JSON cannot carry; leave its key out.")
    return encode(array.astype(np.float32), *name)


def unwritable(dtype: str, name: str) -> UnsupportedTypeError:
    """Return the error of TensorFlow Serving for an output whose dtype JSON does not have."""
    return UnsupportedTypeError(f"Failed to write JSON value for tensor type: {dtype}, of output {name!r}.")


def dumped(value: Any) -> bytes:
    """Return the JSON text of a value that may hold results of `encode`."""
    return orjson.dumps(value, _contiguous, orjson.OPT_SERIALIZE_NUMPY)


def _contiguous(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)
    raise TypeError


def _texts(array: Array) -> Any:
    """Return strings as lists. A broadcast row, such as the names of classes, is converted once."""
    if array.ndim > 1 and not array.strides[0] and len(array):
        return [_row(*array[0].ravel().tolist())] * len(array) if array.ndim == 2 else [_texts(array[0])] * len(array)
    flat = array.ravel().tolist()
    texts: list[Any]
    try:
        texts = list(map(bytes.decode, flat))
    except (TypeError, UnicodeDecodeError):  # some are str, or not UTF-8
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


def _text(item: bytes | str) -> str | dict[str, str]:
    if isinstance(item, str):
        return item
    try:
        return item.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(item).decode()}
