"""JSON Schemas of values: what the codecs accept for a dtype and a shape."""

import sys
from collections.abc import Sequence
from typing import Any

from service.protocols.json.lists import NUMBERS

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


def any_of(schemas: Sequence[Schema]) -> Schema:
    """Return the schema of a value that fits at least one of these."""
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def nested(value: Schema, shape: Sequence[int] | None) -> Schema:
    """Return the schema of lists of this shape around a value. For an unknown rank, at most two levels are described."""
    if shape is None:
        return any_of([nested(value, (-1,) * rank) for rank in range(3)])
    for size in reversed(shape):
        value = {"type": "array", "items": value} | ({} if size < 0 else {"minItems": size, "maxItems": size})
    return value


def rows(value: Schema, size: int = -1) -> Schema:
    """Return the schema of a list with a value for each row: at least one, or exactly `size`."""
    return nested(value, (size,)) | ({"minItems": 1} if size < 0 else {})
