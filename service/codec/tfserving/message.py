"""A request's body as an object. NaN, Infinity and -Infinity are numbers here, although JSON has no such words."""

import json
import re
from typing import Any

import orjson

from service.codec.tensors import described
from service.errors import BrokenJsonError, RequestError

_WORDS = re.compile(rb"NaN|Inf")
_SHORT = re.compile(r"Inf(?!inity)")
_SHORT_OR_TEXT = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+"?)|\bInf\b', re.DOTALL)
"""The short form of Infinity, or a string, which stays as it is. One without an end matches, too, or it would be tried again
from each quote in it."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(body: bytes) -> dict[str, Any]:
    """The object that the body holds. Raises RequestError, with the place."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = _parse_words(body, error)
    if not isinstance(message, dict):
        raise RequestError(f"Expected an object with the members of a request, but got {described(message)}.")
    return message


def _parse_words(body: bytes, refusal: orjson.JSONDecodeError) -> Any:
    """The same by a slower parser that knows the words, if the body has any. Nesting is bounded by Python's stack."""
    if not body.strip():
        raise BrokenJsonError("JSON Parse error: The document is empty", line=1, column=1)
    if not _WORDS.search(body):
        raise _broken(refusal)
    try:
        text = body.decode()
        long = _SHORT_OR_TEXT.sub(lambda found: found[1] or "Infinity", text) if _SHORT.search(text) else text
        message = json.loads(long)
        if _SURROGATE.search(text):
            json.dumps(message, ensure_ascii=False).encode()
    except UnicodeError:
        raise _broken(refusal) from None
    except json.JSONDecodeError as error:
        raise _broken(error) from None
    except RecursionError:
        raise BrokenJsonError("JSON Parse error: lists and objects are nested too deeply.") from None
    except ValueError:  # Python reads no whole number of more than some thousand digits
        raise BrokenJsonError("JSON Parse error: a number has too many digits.") from None
    return message


def _broken(error: json.JSONDecodeError) -> BrokenJsonError:
    """The place counts in characters from 0, line and column from 1."""
    return BrokenJsonError(
        f"JSON Parse error: {error.msg}, at offset: {error.pos} (line {error.lineno}, column {error.colno}).",
        line=error.lineno,
        column=error.colno,
    )
