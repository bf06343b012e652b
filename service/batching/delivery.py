"""Sends answers from the threads that compute them to the event loops in which they are awaited."""

import asyncio
from collections.abc import Callable, Iterable

from service.batching.batch import Answers
from service.batching.request_queue import QueuedRequest
from service.errors import DeadlineExceededError

Delivered = Callable[[asyncio.AbstractEventLoop], None]
"""Called in an event loop after it has received answers."""


def deliver(answers: Answers, delivered: Delivered) -> bool:
    """Send the answers to their event loops: one call for each loop and batch, because each call wakes the loop.

    Returns:
        Whether a loop receives answers, after which `delivered` is called.
    """
    by_loop: dict[asyncio.AbstractEventLoop, Answers] = {}
    for request, answer in answers:
        by_loop.setdefault(request.future.get_loop(), []).append((request, answer))
    is_delivered = bool(by_loop)
    for loop, of_loop in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, loop, of_loop, delivered)
        except RuntimeError:  # the loop is closed, so no caller waits for the answer
            is_delivered = False
    return is_delivered


def _resolve(loop: asyncio.AbstractEventLoop, answers: Answers, delivered: Delivered) -> None:
    for request, answer in answers:
        if request.future.done():
            continue
        if isinstance(answer, Exception):
            request.future.set_exception(answer)
        else:
            request.future.set_result(answer)
    delivered(loop)


def expire(model: str, requests: Iterable[QueuedRequest]) -> None:
    """Fail the requests that have no answer yet with DeadlineExceededError."""
    for request in requests:
        if not request.future.done():
            request.future.set_exception(deadline_exceeded(model))


def deadline_exceeded(model: str) -> DeadlineExceededError:
    """Return the error of a request of the model that was not answered in time."""
    return DeadlineExceededError(f"Model {model!r} had no answer within the time that the request gave it.")
