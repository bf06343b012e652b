"""Parts that messages share: suggestions, lists of names, and descriptions and quotations of bounded length."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

MAX_LENGTH = 80
"""Characters of a name that are quoted, or compared with other names: a client may send megabytes."""


def cut(name: str) -> str:
    """Return the name, shortened to MAX_LENGTH characters and `…`."""
    return name if len(name) <= MAX_LENGTH else f"{name[:MAX_LENGTH]}…"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the closest of `choices`, or an empty string if none is close."""
    close = get_close_matches(word, list(choices), n=1) if len(word) <= MAX_LENGTH else ()
    return f" Did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[str]) -> str:
    """Return the names quoted and separated by commas; at most 20 of them, and `none` if there are none."""
    names = list(names)
    text = ", ".join(repr(cut(name)) for name in names[:20])
    return (text + (f" and {len(names) - 20} more" if len(names) > 20 else "")) or "none"


def described(value: Any) -> str:
    """Return the type of a JSON value and a short excerpt."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {value[:40]!r}{'…' if len(value) > 40 else ''}"
    if isinstance(value, dict):
        return f"an object with {', '.join(repr(cut(name)) for name in list(value)[:5]) or 'no members'}"
    return f"a list of {len(value)}" if isinstance(value, list) else f"the number {value}"


def readable(name: str) -> str:
    r"""Return the name of a file, or a text that quotes it, with each byte that is not UTF-8 as `\xff`."""
    escaped = (f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char for char in name)
    return name if name.isascii() else "".join(escaped).encode(errors="backslashreplace").decode()
