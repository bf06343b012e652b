"""The interface of a protocol over HTTP: codecs, paths and the form of errors; the table of all paths; and error responses.

Each protocol is one `ServingProtocol` in its folder's `paths.py`. `service.inference.endpoint` answers its predictions.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote

import structlog

from service.bodies import LARGE_BYTES
from service.errors import BodyTooLargeError, HeadserveError, RequestError, UnknownPathError, UnknownVersionError
from service.types import Encoded, Headers, InferRequest, InferResponse, ModelSpec, Scope, Send

OPEN = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Paths that need no key: orchestrators have none, and these responses name no model."""

JSON_TYPE = (b"content-type", b"application/json")
"""The header of a JSON response."""

NOSNIFF = (b"x-content-type-options", b"nosniff")
"""Keeps browsers from reading a quoted request as HTML."""

MAX_DIGITS = 19
"""Digits of the largest int64, for versions and byte counts."""

log = structlog.get_logger("headserve.app")


class Codec(Protocol):
    """Decodes one request and encodes its response; it may keep state of the request for the response."""

    def decode(self, body: bytes, spec: ModelSpec) -> InferRequest:
        """Return the request, checked against the model. Raises RequestError."""

    def encode(self, response: InferResponse) -> Encoded:
        """Return the body and headers of the response. Raises UnsupportedTypeError."""


def not_a_prediction(_: Headers) -> Codec:
    """Raise UnknownPathError; the codec of paths that a FastAPI route answers."""
    raise UnknownPathError("This path takes no predictions.")


class Path(NamedTuple):
    """One row of the table of paths; predictions are `POST`."""

    method: str
    template: str
    """`/models/{model}/predict`."""
    name: str
    """First part of the operation's id in the OpenAPI document."""
    summary: str
    docs: Mapping[str, Any]
    """Further members of the OpenAPI operation; `parameters` are those beside the path's."""
    codec: Callable[[Headers], Codec] = not_a_prediction
    """Returns the codec of one prediction. Raises RequestError."""


class Match(NamedTuple):
    """A request path that matches a row of the table; the version is text that is not checked yet."""

    path: Path
    model: str = ""
    version: str | None = None
    label: str | None = None


def version_number(text: str) -> int:
    """Parse the version in a path. Raises UnknownVersionError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        raise UnknownVersionError(f"Expected a version as a whole number such as 1, but got {text[:40]!r}.")
    return int(text)


@dataclass(frozen=True, eq=False)
class ServingProtocol:
    """One protocol.

    Attributes:
        name: in metrics and traces: `native`.
        prefix: first segment of its paths: `/models`.
        tag: heading of its operations in the OpenAPI document.
        paths: rows of the table; the first that matches a request counts.
        problem: returns the status and the body for an error.
        version_number: parses the version in a path. Raises RequestError.
        timeout_ms: default time limit of a prediction; None for the server's setting.
        parameters: regular expression of each parameter in a template.
        matches_raw_path: whether paths are matched percent-encoded and in any case, as TensorFlow Serving does.
    """

    name: str
    prefix: str
    tag: str
    paths: Sequence[Path]
    problem: Callable[[HeadserveError], tuple[int, Encoded]]
    version_number: Callable[[str], int] = version_number
    timeout_ms: int | None = None
    parameters: Mapping[str, str] = field(default_factory=lambda: {"model": "[^/]+", "version": "[^/]*", "label": "[^/]+"})
    matches_raw_path: bool = False

    def match(self, scope: Scope) -> Match | None:
        """Match the path of an ASGI request of any method."""
        path = raw_path_of(scope) if self.matches_raw_path else scope["path"]
        for row, pattern in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None:
                values = found.groupdict()
                if self.matches_raw_path:
                    values = {name: unquote(value) for name, value in values.items()}
                return Match(row, **values)
        return None

    @cached_property
    def _patterns(self) -> list[tuple[Path, re.Pattern[str]]]:
        flags = re.IGNORECASE | re.ASCII if self.matches_raw_path else re.NOFLAG
        return [(row, re.compile(self._expression(row.template), flags)) for row in self.paths]

    def _expression(self, template: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: f"(?P<{found[1]}>{self.parameters[found[1]]})", template)


class PathTable:
    """The paths of all protocols; the last protocol also answers the requests of every other path."""

    def __init__(self, *protocols: ServingProtocol):
        self.protocols = protocols
        self._by_prefix = {protocol.prefix: protocol for protocol in protocols}

    def find(self, scope: Scope) -> tuple[ServingProtocol, Match | None]:
        """Return the protocol of an HTTP request, and the match if the request is a prediction."""
        protocol = self._protocol(scope["path"])
        if scope["method"] != "POST":
            return protocol, None
        match = protocol.match(scope)
        return protocol, match if match is not None and match.path.method == "POST" else None

    def method(self, scope: Scope) -> str | None:
        """Return the method that the path of a request takes; None if the path is not in the table."""
        match = self._protocol(scope["path"]).match(scope)
        return None if match is None else match.path.method

    def _protocol(self, path: str) -> ServingProtocol:
        """Return the protocol by the first segment of the path, in any case."""
        return self._by_prefix.get("/" + path[1:].partition("/")[0].lower(), self.protocols[-1])


def raw_path_of(scope: Scope) -> str:
    """Return the path of an ASGI request as it was sent: percent-encoded, without the query."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw.decode("latin-1")


def unexpected() -> HeadserveError:
    """Return the error that a client receives for a fault of the server; the log has the traceback."""
    return HeadserveError("An unexpected error; the server's log says more.")


def error_response(error: HeadserveError, protocol: ServingProtocol, path: str) -> tuple[int, Encoded]:
    """Return the status and the response for an error; log it unless the client caused it."""
    if error.status >= 500 and not isinstance(error, RequestError):
        log.error("request failed", path=path, code=error.code, error=error.message)
    status, problem = protocol.problem(error)
    headers = [*problem.headers, *error.headers, NOSNIFF]
    if isinstance(error, BodyTooLargeError):  # the rest of the body must not be read as the next request
        headers.append((b"connection", b"close"))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    return status, Encoded(problem.chunks, headers)


async def send_response(status: int, response: Encoded, send: Send) -> None:
    """Send a response through ASGI; return once the client has received most of a large one."""
    size = response.size
    headers = [(b"content-length", b"%d" % size), *response.headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    # Each send waits until the client has received nearly all before it; the empty chunk waits for the last piece.
    *first, last = response.chunks if size < LARGE_BYTES else (*response.chunks, b"")
    for chunk in first:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": last})
