"""The JSON of a request: an object, with NaN and infinities as Triton's clients write them."""

import json
import math
import re
from itertools import chain
from typing import Any

from service.codec import native
from service.codec.tensors import described
from service.errors import BrokenJsonError, RequestError

_SPECIAL = re.compile(rb"NaN|Infinity")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parsed(text: bytes) -> tuple[dict[str, Any], bool]:
    """The object, and whether there may be infinities in it. Raises BrokenJsonError with line and column, RequestError."""
    if not text.strip():
        raise RequestError(f"The body is empty; send {EXAMPLE}.")
    special = False
    try:
        message = native.parse(text)
    except BrokenJsonError:
        if not _SPECIAL.search(text):
            raise
        message, special = _with_specials(text), True
    if not isinstance(message, dict):
        raise RequestError(f"Expected an object such as {EXAMPLE}, but got {described(message)}.")
    return message, special


EXAMPLE = '{"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}'


def _with_specials(text: bytes) -> Any:
    """The value, where NaN, Infinity and -Infinity are numbers; JSON itself has none of them."""
    try:
        decoded = text.decode()
        message = json.loads(decoded)
        if _SURROGATE.search(decoded):  # half a character, which no string can be written with
            json.dumps(message, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise BrokenJsonError(
            f"The body is no JSON: {error.msg}, at line {error.lineno}, column {error.colno}.",
            line=error.lineno,
            column=error.colno,
        ) from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BrokenJsonError(f"The body is no JSON: {reason[:200]}.") from None
    return message


def without_specials(data: Any) -> tuple[Any, dict[int, float]]:
    """The values with zeros in place of what JSON has no numbers for, and these by their places.

    Nested lists become a flat one, in row-major order, if there is anything to replace. What is ragged stays as it is.
    """
    level = data
    while isinstance(level, list) and level and all(type(item) is list for item in level):
        level = list(chain.from_iterable(level))
    if not isinstance(level, list):
        return data, {}
    special = {i: item for i, item in enumerate(level) if type(item) is float and not math.isfinite(item)}
    if not special:
        return data, {}
    return [0.0 if i in special else item for i, item in enumerate(level)], special
