"""Answers to what is no request yet, or not any more: bytes for the connection, which ends with them.

They are problems as headserve's own API writes them; `error` in them is what clients of the other protocols look for.
"""

from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.codec import native
from service.errors import HeadserveError
from service.problems import NOSNIFF

CLOSE = (b"connection", b"close")


def refusal(error: HeadserveError, default_headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """The whole answer."""
    body, headers = native.encode_error(error)
    content = b"".join(body)
    wait = () if error.retry_after_s is None else ((b"retry-after", b"%d" % error.retry_after_s),)
    length = (b"content-length", b"%d" % len(content))
    named = dict([*default_headers, *headers, length, NOSNIFF, *wait, CLOSE])
    return STATUS_LINE[error.status] + b"".join(b"%s: %s\r\n" % header for header in named.items()) + b"\r\n" + content
