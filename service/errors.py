"""The errors of the server; a class carries its HTTP status, its stable code and its title. docs/errors.md shows the tree.

A message states what was expected, what came, and the likely fix. `details` are the same facts for programs: they become
members of the response beside `detail`. Errors of a connection, before there is a request, are in `service.server.rejections`.
Errors of other libraries are translated where they enter: TensorFlow's in `service.runtime`, Starlette's in
`service.middleware`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

CHALLENGE = b'Bearer realm="headserve"'
"""Header `WWW-Authenticate` of every response to a request without a sufficient key."""


class HeadserveError(Exception):
    """Base class of all errors. A response with its own code, `internal_error`, means a bug in the server."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    retry_after_s: int | None = None
    """Value of the header `Retry-After`."""
    headers: Sequence[tuple[bytes, bytes]] = ()
    """Further headers of the response, in every protocol."""

    def __init_subclass__(cls, *, code: str, title: str, status: int | None = None) -> None:
        """Set the class attributes; the status is that of the base class unless it is given."""
        cls.code, cls.title, cls.status = code, title, status or cls.status

    def __init__(self, message: str, **details: Any):
        super().__init__(message)
        self.message = message
        self.details = {name: value for name, value in details.items() if value is not None}


class ConfigError(HeadserveError, code="bad_config", title="Bad configuration"):
    """A setting or a file of settings is invalid; the command line prints the message and exits."""


class RequestError(HeadserveError, status=400, code="bad_request", title="Bad request"):
    """The client can correct the request."""


class BrokenJsonError(RequestError, code="broken_json", title="Broken JSON"):
    """The body is not valid JSON; `line` and `column` count from 1."""


class BodyTooLargeError(RequestError, status=413, code="body_too_large", title="Body too large"):
    """The body is larger than `max_body_bytes`."""


class UnauthorizedError(RequestError, status=401, code="unauthorized", title="Unauthorized"):
    """The path needs a key, and the request has none or a wrong one."""

    def __init__(self, message: str, *, wrong: bool = False):
        super().__init__(message)
        self.headers = ((b"www-authenticate", CHALLENGE + (b', error="invalid_token"' if wrong else b"")),)


class ForbiddenError(RequestError, status=403, code="forbidden", title="Forbidden"):
    """The server's settings forbid this request for every client."""


class InsufficientScopeError(ForbiddenError, code="insufficient_scope", title="Insufficient scope"):
    """The key is valid but lacks the scope `scope` or, if that is None, is not for the model."""

    def __init__(self, message: str, scope: str | None = None):
        super().__init__(message, scope=scope)
        needs = b"" if scope is None else b', scope="%s"' % scope.encode()
        self.headers = ((b"www-authenticate", CHALLENGE + b', error="insufficient_scope"' + needs),)


class UnsupportedFeatureError(RequestError, status=501, code="unsupported_feature", title="Unsupported feature"):
    """The request uses a part of the protocol that this server does not implement."""


class UnknownPathError(RequestError, status=404, code="unknown_path", title="Unknown path"):
    """No route has this path."""


class WrongMethodError(RequestError, status=405, code="wrong_method", title="Wrong method"):
    """The path exists, but not for this method."""


class UnsupportedEncodingError(RequestError, status=415, code="unsupported_encoding", title="Unsupported content encoding"):
    """The body has an unknown content encoding."""


class UnknownModelError(RequestError, status=404, code="unknown_model", title="Unknown model"):
    """No model has this name."""


class UnknownVersionError(RequestError, status=404, code="unknown_version", title="Unknown version"):
    """The model exists, but this version of it is not loaded."""


class UnknownLabelError(RequestError, status=404, code="unknown_label", title="Unknown label"):
    """The model exists, but has no version label of this name."""


class InvalidRequestError(RequestError, status=422, code="invalid_request", title="Invalid request"):
    """The request is well-formed, but this model cannot answer it."""


class UnknownHeadError(InvalidRequestError, code="unknown_head", title="Unknown head"):
    """The model has no head of this name."""


class UnknownKeyError(InvalidRequestError, code="unknown_key", title="Unknown prediction key"):
    """The head has no prediction key of this name."""


class UnsupportedTypeError(InvalidRequestError, code="unsupported_type", title="Unsupported type"):
    """A tensor has a dtype that JSON cannot carry."""


class TooManyRowsError(InvalidRequestError, code="too_many_rows", title="Too many rows"):
    """The request has more rows than `max_rows`."""


class RejectedByModelError(InvalidRequestError, code="rejected_by_model", title="Rejected by the model"):
    """TensorFlow refused the values during the computation."""


class InvalidInputError(InvalidRequestError, code="invalid_input", title="Invalid input"):
    """The values of the input `input` are invalid; `row`, if known, counts from 0."""


class UnknownInputError(InvalidInputError, code="unknown_input", title="Unknown input"):
    """The model has no input of this name."""


class MissingInputError(InvalidInputError, code="missing_input", title="Missing input"):
    """A required input is absent or null."""


class WrongTypeError(InvalidInputError, code="wrong_type", title="Wrong type"):
    """A value has another JSON type than the input accepts."""


class WrongShapeError(InvalidInputError, code="wrong_shape", title="Wrong shape"):
    """The lists are ragged, or their shape is not the input's."""


class OutOfRangeError(InvalidInputError, code="out_of_range", title="Number out of range"):
    """A number does not fit the input's dtype."""


class NoRowsError(InvalidInputError, code="no_rows", title="No rows"):
    """The request has no rows."""


class UnavailableError(HeadserveError, status=503, code="unavailable", title="Unavailable"):
    """Request and model are valid, but the server cannot answer now."""

    retry_after_s: int | None = 1


class NotAvailableError(UnavailableError, code="not_available", title="Model not available"):
    """The model is loading, or the version of a label is not served."""


class OverloadedError(UnavailableError, status=429, code="overloaded", title="Overloaded"):
    """The model's queue is full, or all requests together use the maximum memory."""


class RateLimitedError(UnavailableError, status=429, code="rate_limited", title="Rate limited"):
    """The key's rate limit is used up; the headers are those of the IETF draft RateLimit."""

    def __init__(self, message: str, limit: int, wait_s: int):
        super().__init__(message, limit=limit)
        self.retry_after_s = wait_s
        numbers = {b"limit": limit, b"remaining": 0, b"reset": wait_s}
        self.headers = tuple((b"ratelimit-" + name, b"%d" % number) for name, number in numbers.items())


class UnloadingError(UnavailableError, code="unloading", title="Unloading"):
    """The version is being unloaded; a retry reaches the version that replaces it."""


class DeadlineExceededError(UnavailableError, status=504, code="deadline_exceeded", title="Deadline exceeded"):
    """The response could not be ready before the request's deadline."""

    retry_after_s = None


class ModelError(HeadserveError, code="model_error", title="Model error"):
    """The model failed on a valid request."""


class ModelLoadError(ModelError, status=503, code="model_failed", title="Model failed to load"):
    """The model exists on disk, but could not be loaded."""

    def __init__(self, message: str, *, transient: bool = False, **details: Any):
        super().__init__(message, **details)
        self.transient = transient
        """Whether the next attempt may succeed with the same files."""


class OutOfMemoryError(ModelError, status=503, code="out_of_memory", title="Out of memory"):
    """TensorFlow ran out of memory."""
