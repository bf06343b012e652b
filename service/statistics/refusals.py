"""Requests that got no version: no model of that name, none loaded yet, a body that is too large."""

from collections import Counter


class Refusals:
    """Counts them by model, protocol and status. They end in the event loop: no other thread may add one.

    The model is empty where there is none of the name that was asked for, so that a client makes up no more than a status.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()

    def add(self, model: str, api: str, status: int) -> None:
        """One more."""
        self._counts[model, api, status] += 1

    @property
    def counts(self) -> dict[tuple[str, str, int], int]:
        """What they are now, by model, protocol and status; a copy."""
        return dict(self._counts)
