"""The body of a request as a JSON object, and the two forms of its inputs.

orjson reads the body. Many clients write NaN and Infinity, which JSON does not have: where a protocol accepts them, a body
that orjson rejects and that holds such a word is read again by Python's slower parser.
"""

import json
import re
from typing import Any, NamedTuple

import orjson

from service.errors import BrokenJsonError, NoRowsError, RequestError, WrongTypeError
from service.messages import described

_WORD = re.compile(rb"NaN|Inf")
_SHORT = re.compile(r"Inf(?!inity)")
# An unterminated string matches as well: else the search would start again at each quote in it.
_SHORT_OR_STRING = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+"?)|\bInf\b', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NOT_A_NUMBER = ("NaN", "Infinity", "-Infinity", "nan", "inf")


class Dialect(NamedTuple):
    """A protocol's variant of JSON, with an example of a request for messages."""

    example: str
    words: bool = True
    """Whether NaN, Infinity, -Infinity, Inf and -Inf are numbers."""
    problem: str = "The body is not valid JSON"
    """The beginning of messages about broken JSON."""


def parse_object(body: bytes, dialect: Dialect) -> dict[str, Any]:
    """Parse a body as an object. Raises BrokenJsonError with line and column, RequestError for any other JSON value."""
    message = parse(body, dialect)
    if not isinstance(message, dict):
        raise RequestError(f"Expected an object such as {dialect.example}, but got {described(message)}.")
    return message


def parse(body: bytes, dialect: Dialect) -> Any:
    """Parse a body as any JSON value. Raises BrokenJsonError with line and column."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if dialect.words and _WORD.search(body):
            return _parse_words(body, dialect)
        raise _located(error, body, dialect) from None


def has_rows(message: dict[str, Any]) -> bool:
    """Return whether the inputs are rows, the member `instances`, and not columns, `inputs`. Raises RequestError."""
    if ("instances" in message) == ("inputs" in message):
        came = "both" if "inputs" in message else "neither"
        raise RequestError(f"Expected either 'instances' (rows) or 'inputs' (columns), but got {came}.")
    return "instances" in message


def check_rows(instances: Any) -> None:
    """Raise WrongTypeError or NoRowsError unless the member `instances` is a list of rows."""
    if not isinstance(instances, list):
        raise WrongTypeError(f"'instances': expected a list of rows, but got {described(instances)}.")
    if not instances:
        raise NoRowsError("'instances' is empty; give at least one row.")


def _parse_words(body: bytes, dialect: Dialect) -> Any:
    """Parse with Python's parser, which reads NaN and Infinity; it limits the nesting by Python's stack."""
    try:
        text = body.decode()
        long = _SHORT_OR_STRING.sub(lambda found: found[1] or "Infinity", text) if _SHORT.search(text) else text
        message = json.loads(long)
        if _SURROGATE.search(text):
            json.dumps(message, ensure_ascii=False).encode()  # fails for half a surrogate pair, which UTF-8 does not have
        return message
    except json.JSONDecodeError as error:
        raise _located(error, body, dialect) from None
    except UnicodeDecodeError as error:
        raise _not_utf8(error, body, dialect) from None
    except UnicodeEncodeError:
        reason = "a string holds half of a surrogate pair"
    except RecursionError:
        reason = "lists and objects are nested too deeply"
    except ValueError:
        reason = "a number has too many digits"
    raise BrokenJsonError(f"{dialect.problem}: {reason}.")


def _located(error: json.JSONDecodeError, body: bytes, dialect: Dialect) -> BrokenJsonError:
    """Return an error with the parser's message, line and column, and a hint for common mistakes."""
    try:
        text = body.decode()
    except UnicodeDecodeError as wrong:
        return _not_utf8(wrong, body, dialect)
    if not text.strip():
        return BrokenJsonError(f"{dialect.problem}: The document is empty; send {dialect.example}.", line=1, column=1)
    hint = ""
    if not dialect.words and text[error.pos : error.pos + 9].startswith(_NOT_A_NUMBER):
        hint = " JSON has no NaN or Infinity; for an optional input, give null."
    return _at(error.msg, error.lineno, error.colno, dialect, hint)


def _not_utf8(error: UnicodeDecodeError, body: bytes, dialect: Dialect) -> BrokenJsonError:
    before = body[: error.start]
    return _at("not valid UTF-8", before.count(b"\n") + 1, error.start - before.rfind(b"\n"), dialect)


def _at(reason: str, line: int, column: int, dialect: Dialect, hint: str = "") -> BrokenJsonError:
    where = f"at line {line}, column {column}"
    return BrokenJsonError(f"{dialect.problem}: {reason}, {where}.{hint}", line=line, column=column)
