"""How long a request may take: its header `X-Request-Timeout-Ms`, or the server's setting."""

import time

from fastapi import Request

from service.errors import RequestError

HEADER = "X-Request-Timeout-Ms"


def deadline_of(request: Request, default_ms: int) -> float:
    """When the time of the request is over, in seconds of `time.monotonic`. Raises RequestError."""
    return deadline_after(request.headers.get(HEADER), default_ms)


def deadline_after(text: str | None, default_ms: int) -> float:
    """The same, for a request that came now with that header. Raises RequestError."""
    if text is None:
        return time.monotonic() + default_ms / 1000
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= 9 and int(text) > 0):
        raise RequestError(f"{HEADER}: expected a whole number of milliseconds from 1 on, but got {text[:40]!r}.")
    return time.monotonic() + int(text) / 1000
