"""What the routes of every protocol need."""

from typing import NoReturn

from service.errors import UnknownVersionError

MAX_DIGITS = 19
"""Of a version: int64's largest number has as many."""


def answered_in_front() -> NoReturn:
    """For routes that are there for the document and for other methods."""
    raise RuntimeError("service.inference answers this path before it comes to a route.")


def version_number(text: str) -> int:
    """The version that a path names. Raises UnknownVersionError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        raise UnknownVersionError(f"Expected a version as a whole number such as 1, but got {text[:40]!r}.")
    return int(text)
