"""Errors of a connection outside of any request, the limits on the head of a request, and the responses to both as bytes.

The body of a response is a problem of the native API; clients of the other protocols read its member `error`.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from service.errors import HeadserveError, RequestError, UnavailableError
from service.protocols.native import codec as native
from service.protocols.protocol import NOSNIFF

Headers = Sequence[tuple[bytes, bytes]]

MAX_HEADERS = 100
MAX_URL_BYTES = 8192
VERSIONS = ("1.1", "1.0")


class UrlTooLongError(RequestError, status=414, code="url_too_long", title="URL too long"):
    """The URL is longer than any path of this server."""


class HeadTooLargeError(RequestError, status=431, code="head_too_large", title="Request header fields too large"):
    """The first line and headers of the request are larger than `max_header_bytes`, or too many."""


class SlowRequestError(RequestError, status=408, code="slow_request", title="Request timeout"):
    """The request took longer to arrive than `header_timeout_ms` or `body_timeout_ms`."""


class TooManyConnectionsError(UnavailableError, code="too_many_connections", title="Too many connections"):
    """There are `max_connections` already."""


def encode_rejection(error: HeadserveError, default_headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Return the status line, headers and body of an error response."""
    chunks, error_headers = native.encode_error(error)
    body = b"".join(chunks)
    headers = dict([*default_headers, *error_headers, (b"content-length", b"%d" % len(body)), NOSNIFF])
    if error.retry_after_s is not None:
        headers[b"retry-after"] = b"%d" % error.retry_after_s
    headers[b"connection"] = b"close"
    status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n".encode()
    return status + b"".join(b"%s: %s\r\n" % header for header in headers.items()) + b"\r\n" + body


def head_error(url: bytes, headers: Headers, version: str, max_bytes: int) -> RequestError | None:
    """Return what is wrong with a head, or None. Names of headers are in lower case; `max_bytes` limits URL and headers."""
    if len(url) > MAX_URL_BYTES:
        return url_too_long()
    if len(headers) > MAX_HEADERS:
        return too_many_headers()
    if len(url) + sum(len(name) + len(value) + len(": \r\n") for name, value in headers) > max_bytes:
        return head_too_large(max_bytes)
    return _ambiguity(headers, version)


def url_too_long() -> UrlTooLongError:
    """Return the error for a URL that may be incomplete."""
    return UrlTooLongError(f"Expected a URL of at most {MAX_URL_BYTES} bytes, but got more.")


def too_many_headers() -> HeadTooLargeError:
    """Return the error for headers that may be incomplete."""
    return HeadTooLargeError(f"Expected at most {MAX_HEADERS} headers, but got more.")


def head_too_large(max_bytes: int) -> HeadTooLargeError:
    """Return the error for a head that may be incomplete."""
    return HeadTooLargeError(f"Expected a URL and headers of at most {max_bytes} bytes, but got more.")


def _ambiguity(headers: Headers, version: str) -> RequestError | None:
    """Check what the parser (llhttp) accepts; it rejects two lengths, a length beside chunks, and folded headers."""
    if version not in VERSIONS:
        return RequestError(f"Expected HTTP/1.1 or HTTP/1.0, but got version {version}.")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (not hosts and version == "1.1"):
        return RequestError(f"Expected one Host header, but got {hosts or 'none'}.")
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (codings != [b"chunked"] or version != "1.1"):
        return RequestError("Expected no Transfer-Encoding, or one with the value chunked in HTTP/1.1.")
    return None
