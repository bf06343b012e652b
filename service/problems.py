"""Answers that tell of an error, in the words of the protocol that was spoken."""

from collections.abc import Sequence

import structlog

from service.api import Api, Encoded
from service.errors import BodyTooLargeError, HeadserveError

log = structlog.get_logger("headserve.app")


def unexpected() -> HeadserveError:
    """What a client is told of a fault of ours; the log has the trace."""
    return HeadserveError("An unexpected error; the server's log says more.")


def api_of(apis: Sequence[Api], path: str) -> Api:
    """The protocol that has this path; the last one for a path that no protocol has."""
    return next((api for api in apis if path == api.prefix or path.startswith(f"{api.prefix}/")), apis[-1])


def answer_to(error: HeadserveError, api: Api, path: str) -> tuple[int, Encoded]:
    """The status and the answer; the log has what is no fault of the client."""
    if error.status >= 500:
        log.error("request failed", path=path, code=error.code, error=error.message)
    status, answer = api.problem(error)
    headers = list(answer.headers)
    if isinstance(error, BodyTooLargeError):  # what is left of the body must not be read as the next request
        headers.append((b"connection", b"close"))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    return status, Encoded(answer.chunks, headers)
