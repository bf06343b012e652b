"""Waiting for what other threads and processes bring about."""

import time
from collections.abc import Callable
from typing import TypeVar

GENEROUS_S = 300
"""Longer than anything takes on a busy machine: only what never comes about fails."""

T = TypeVar("T")


def until(condition: Callable[[], T], what: str = "it") -> T:
    """What the condition gives as soon as that is true; the test fails if it never is."""
    deadline_s = time.monotonic() + GENEROUS_S
    while not (outcome := condition()):
        assert time.monotonic() < deadline_s, f"not within {GENEROUS_S} s: {what}"
        time.sleep(0.01)
    return outcome
