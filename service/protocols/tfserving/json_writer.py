"""Arrays → JSON text, as TensorFlow Serving's clients expect it.

Floats are written with as many digits as their dtype needs, whole ones as `2.0`, and also as NaN, Infinity and -Infinity, which
strict JSON does not have. A string is text, or {"b64": …} if the output's name ends in `_bytes` or the string is not UTF-8.
"""

import base64
from collections.abc import Sequence

import numpy as np
import orjson

from service.errors import InvalidRequestError
from service.protocols.json import tensors
from service.types import Array


def text(array: Array, name: str) -> bytes:
    """Return the array of the output `name` as JSON. Raises UnsupportedTypeError for a dtype that JSON does not have."""
    if array.dtype.kind in "OS":
        return _strings(array, True) if name.endswith("_bytes") else tensors.dumped(tensors.encode(array, name))
    array = _plain(array, name)
    written = orjson.dumps(array if array.ndim else array[()], option=orjson.OPT_SERIALIZE_NUMPY)
    return _with_words(written, array) if array.dtype.kind == "f" and b"n" in written else written


def row_texts(array: Array, name: str) -> Sequence[bytes]:
    """Return the JSON of each element along the first dimension."""
    if not array.size:
        return [text(row, name) for row in array]
    if array.dtype.kind in "OS":
        return _string_rows(array, name.endswith("_bytes"))
    depth = array.ndim - 1
    rows = text(array, name)[depth + 1 : -depth - 1].split(b"]" * depth + b"," + b"[" * depth)
    return [b"[" * depth + row + b"]" * depth for row in rows] if depth else rows


def by_row(outputs: Sequence[tuple[str, Array]]) -> bytes:
    """Return a list with one value for each row, or one object by name if there are several outputs.

    Raises InvalidRequestError for an output without rows, or with another number of rows than the first.
    """
    for name, array in outputs:
        if not array.ndim:
            raise InvalidRequestError(f"Tensor name: {name} has no shape information, as it is one value; use 'inputs'.")
        if len(array) != len(outputs[0][1]):
            raise InvalidRequestError(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {len(outputs[0][1])}; use 'inputs'."
            )
    if len(outputs) == 1:
        return text(outputs[0][1], outputs[0][0])
    row = b"{" + b",".join(orjson.dumps(name).replace(b"%", b"%%") + b":%b" for name, _ in outputs) + b"}"
    columns = [row_texts(array, name) for name, array in outputs]
    return b"[" + b",".join(map(row.__mod__, zip(*columns, strict=True))) + b"]"


def by_column(outputs: Sequence[tuple[str, Array]]) -> bytes:
    """Return the whole tensor, or an object by name if there are several outputs."""
    if len(outputs) == 1:
        return text(outputs[0][1], outputs[0][0])
    return b"{" + b",".join(orjson.dumps(name) + b":" + text(array, name) for name, array in outputs) + b"}"


def _plain(array: Array, name: str) -> Array:
    if array.dtype.kind not in "fiub":
        if array.dtype.name != "bfloat16":
            raise tensors.unwritable(array.dtype.name, name)
        array = array.astype(np.float32)
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _with_words(written: bytes, array: Array) -> bytes:
    """Replace orjson's nulls by NaN, Infinity and -Infinity."""
    special = array[~np.isfinite(array)] if array.ndim else array
    words = ["Infinity" if value > 0 else "-Infinity" if value < 0 else "NaN" for value in special.ravel().tolist()]
    first, *rest = written.split(b"null")
    return first + b"".join([word.encode() + part for word, part in zip(words, rest, strict=True)])


def _strings(array: Array, as_bytes: bool) -> bytes:
    if not array.ndim:
        return _string(array.item(), as_bytes)
    return b"[" + b",".join(_string_rows(array, as_bytes)) + b"]" if array.size else orjson.dumps(array.tolist())


def _string_rows(array: Array, as_bytes: bool) -> list[bytes]:
    if array.ndim > 1 and len(array) > 1 and not array.strides[0]:  # a broadcast row, such as the names of classes
        return [_strings(array[0], as_bytes)] * len(array)
    items = array.ravel().tolist()
    written = {item: _string(item, as_bytes) for item in set(items)}  # few, when they are classes
    texts = [written[item] for item in items]
    for size in array.shape[:0:-1]:
        texts = [b"[" + b",".join(texts[i : i + size]) + b"]" for i in range(0, len(texts), size)]
    return texts


def _string(item: bytes | str, as_bytes: bool) -> bytes:
    data = item.encode() if isinstance(item, str) else item
    if not as_bytes:
        try:
            return orjson.dumps(data.decode())
        except UnicodeDecodeError:
            pass
    return b'{"b64":"' + base64.b64encode(data) + b'"}'
