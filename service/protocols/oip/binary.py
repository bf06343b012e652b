"""The protocol's datatypes, and tensors as bytes: little-endian, without padding.

Elements of fixed size are read and written without a copy. An element of BYTES is its length as a uint32, and its bytes.
"""

import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from service.errors import WrongShapeError, WrongTypeError
from service.protocols.json.lists import input_error
from service.types import Array

BYTES = "BYTES"
BOOL = "BOOL"
BF16 = "BF16"

_NAMES: Mapping[str, str] = {
    "bool": BOOL,
    "string": BYTES,
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": BF16,
} | {f"{sign}{bits}": f"{sign.upper()}{bits}" for sign in ("int", "uint") for bits in (8, 16, 32, 64)}

_CODES = {BOOL: "u1", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", BF16: "<u2"} | {
    f"{name}{8 * size}": f"<{kind}{size}" for name, kind in (("INT", "i"), ("UINT", "u")) for size in (1, 2, 4, 8)
}
WIRE: Mapping[str, np.dtype[Any]] = {name: np.dtype(code) for name, code in _CODES.items()}
"""The NumPy dtype of every datatype's elements in binary, except BYTES, whose elements vary in size.

BOOL is read as uint8, since NumPy accepts any byte as a boolean, and BF16 as uint16, since NumPy has no bfloat16.
"""

_LENGTH = struct.Struct("<I")
LENGTH_BYTES = _LENGTH.size


def datatype(dtype: str) -> str | None:
    """Return the datatype of a TensorFlow dtype; None if the protocol has none, as for `complex64`."""
    return _NAMES.get(dtype)


def datatype_of(array: Array) -> str | None:
    """Return the datatype of an array; BYTES for any array of strings or objects."""
    return BYTES if array.dtype.kind in "OSU" else _datatype_of(array.dtype)


@lru_cache(64)
def _datatype_of(dtype: np.dtype[Any]) -> str | None:
    return _NAMES.get(dtype.name)  # cached, since NumPy builds the name on every access


def read(name: str, data: memoryview, datatype: str, shape: tuple[int, ...]) -> Array:
    """Read the input `name`; a view of the data if the elements have a fixed size.

    Raises WrongShapeError before anything is allocated, and WrongTypeError for a boolean that is neither 0 nor 1.
    """
    elements = math.prod(shape)
    if datatype == BYTES:
        return _strings(name, data, elements).reshape(shape)
    wire = WIRE[datatype]
    if len(data) != elements * wire.itemsize:
        size, got = elements * wire.itemsize, len(data)
        takes = f"shape {list(shape)} of {datatype} takes {size} bytes, but got {got}; send as many values as the shape has."
        raise input_error(WrongShapeError, name, takes, expected=size, got=got)
    values: Array = np.frombuffer(data, wire)
    if datatype == BOOL:
        return _booleans(name, values).reshape(shape)
    if datatype == BF16:  # the upper half of a float32; the servable converts it back
        return (values.astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return values.astype(wire.newbyteorder("="), copy=False).reshape(shape)


def write(array: Array, datatype: str) -> bytes | memoryview:
    """Return the tensor's bytes; the array's own memory if it is contiguous and its elements have a fixed size."""
    if datatype == BYTES:
        return _written_strings(array)
    if datatype not in {BF16, BOOL}:
        array = array.astype(WIRE[datatype], copy=False)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _booleans(name: str, values: Array) -> Array:
    wrong = values > 1
    if wrong.any():
        at = int(np.argmax(wrong))
        raise WrongTypeError(f"Input {name!r}, value {at}: expected a byte of 0 or 1 (BOOL), but got {values[at]}.", input=name)
    return values.view(np.bool_)


def _strings(name: str, data: memoryview, elements: int) -> Array:
    size = len(data)
    if elements * LENGTH_BYTES > size:
        takes = f"{elements} elements of BYTES take at least {elements * LENGTH_BYTES} bytes, but got {size}; "
        raise input_error(WrongShapeError, name, takes + "each is its length, a little-endian uint32, and its bytes.")
    texts: list[bytes] = []
    position = 0
    content, length_at = bytes(data), _LENGTH.unpack_from  # slicing bytes is cheaper than slicing a view and copying it
    for index in range(elements):
        start = position + LENGTH_BYTES
        length = length_at(content, position)[0] if start <= size else -1
        if length < 0 or length > size - start:
            expected = f"{length} bytes, the length of the element" if length >= 0 else f"a length of {LENGTH_BYTES} bytes"
            left = size - start if length >= 0 else size - position
            where = f"Input {name!r}, element {index} at byte {position}"
            raise WrongShapeError(f"{where}: expected {expected}, but {left} are left.", input=name)
        position = start + length
        texts.append(content[start:position])
    if position != size:
        ends = f"{elements} elements of BYTES end at byte {position}, but {size - position} more bytes came; "
        raise input_error(WrongShapeError, name, ends + "send as many elements as the shape has.")
    array = np.empty(elements, np.object_)
    array[:] = texts
    return array


def _written_strings(array: Array) -> bytes:
    if array.ndim > 1 and len(array) and not array.strides[0]:  # a broadcast row, such as the names of classes
        return _written_strings(array[0]) * len(array)
    texts = [item.encode() if isinstance(item, str) else item for item in array.reshape(-1).tolist()]
    elements = {text: _LENGTH.pack(len(text)) + text for text in set(texts)}  # few distinct ones if they are classes
    return b"".join(map(elements.__getitem__, texts))


def framed(text: bytes) -> memoryview:
    """Put the length before an element of BYTES."""
    return memoryview(b"".join((_LENGTH.pack(len(text)), text)))
