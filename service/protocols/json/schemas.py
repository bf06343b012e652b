"""JSON Schemas of values: what the codecs accept for a dtype and a shape."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from service.protocols.json.lists import NUMBERS
from service.types import TensorSpec

T = TypeVar("T", bound=TensorSpec)

Schema = dict[str, Any]

NULL: Schema = {"type": "null"}
BASE64_PATTERN = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
BASE64: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"b64": {"type": "string", "pattern": BASE64_PATTERN}},
    "required": ["b64"],
}
"""A string of any bytes."""


@cache
def scalar(dtype: str, *, overflows: bool = False) -> Schema | None:
    """Return the schema of one value of a dtype; None if JSON cannot carry it.

    With `overflows`, a number beyond the range of a float dtype becomes an infinity and is accepted.
    """
    if dtype == "string":
        return {"anyOf": [{"type": "string"}, BASE64]}
    if dtype == "bool":
        return {"type": "boolean"}
    number = NUMBERS.get(dtype)
    if number is None:
        return None
    whole = isinstance(number.low, int)
    low, high = (-sys.float_info.max, sys.float_info.max) if overflows and not whole else (number.low, number.high)
    return {"type": "integer" if whole else "number", "minimum": low, "maximum": high}


def with_ranks(tensors: Sequence[T]) -> list[list[T]]:
    """Return the tensors with the shapes that are described: for unknown ranks, those of 1, 2 and 3 for all of them."""
    if all(tensor.shape is not None for tensor in tensors):
        return [list(tensors)]
    return [[replace(it, shape=(-1,) * rank) if it.shape is None else it for it in tensors] for rank in (1, 2, 3)]


def any_of(schemas: Sequence[Schema]) -> Schema:
    """Return the schema of a value that fits at least one of these."""
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def nested(value: Schema, shape: Sequence[int]) -> Schema:
    """Return the schema of lists of this shape around a value."""
    for size in reversed(shape):
        value = {"type": "array", "items": value} | ({} if size < 0 else {"minItems": size, "maxItems": size})
    return value


def rows(value: Schema, size: int = -1) -> Schema:
    """Return the schema of a list with a value for each row: at least one, or exactly `size`."""
    return nested(value, (size,)) | ({"minItems": 1} if size < 0 else {})
