"""What one head has answered: its classes, how sure it was, and where it was not."""

from collections.abc import Callable

import numpy as np

from service.metrics.histogram import SCORES, Histogram
from service.types import Array, HeadSpec

CONFIDENT = 0.5
"""A row whose largest probability is below this has no confident class."""
MOST_CLASSES = 1000
"""A head of more classes is not counted by class: each would be a series for Prometheus to keep."""


class HeadRecorder:
    """Counts a head's answers by class and by score.

    The score of a row is its largest probability; `logistic` where the head has no `probabilities`.

    Attributes:
        spec: the head.
        counts: rows by class, in the order of `spec.classes`; None without `class_ids` or classes, or with too many.
        scores: of all rows; None without `probabilities` and `logistic`.
        unsure: rows without a confident class.
    """

    def __init__(self, spec: HeadSpec):
        self.spec = spec
        self.unsure: int | None = 0 if "probabilities" in spec.key_names else None
        scored = self.unsure is not None or "logistic" in spec.key_names
        self.scores = Histogram(SCORES) if scored else None
        counted = spec.classes is not None and len(spec.classes) <= MOST_CLASSES and "class_ids" in spec.key_names
        self.counts = np.zeros(len(spec.classes or ()), np.int64) if counted else None

    @property
    def takes(self) -> dict[str, Callable[[Array], None]]:
        """What is to be called with which prediction key."""
        takes: dict[str, Callable[[Array], None]] = {}
        if self.counts is not None:
            takes["class_ids"] = self._class_ids
        if self.unsure is not None:
            takes["probabilities"] = self._probabilities
        elif self.scores is not None:
            takes["logistic"] = self._logistic
        return takes

    def _class_ids(self, ids: Array) -> None:
        if self.counts is not None and ids.dtype.kind in "iu":
            known = ids[(ids >= 0) & (ids < len(self.counts))]
            self.counts += np.bincount(known, minlength=len(self.counts))

    def _probabilities(self, probabilities: Array) -> None:
        if self.unsure is not None and probabilities.size and probabilities.dtype.kind == "f":
            largest = (probabilities.max(axis=-1) if probabilities.ndim > 1 else probabilities).ravel()
            self.unsure += len(largest) - int(np.count_nonzero(largest >= CONFIDENT))
            self._logistic(largest)

    def _logistic(self, scores: Array) -> None:
        if self.scores is not None and scores.dtype.kind == "f":
            self.scores.add(scores.ravel())
