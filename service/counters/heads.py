"""Counts of the answers of one head: by class and by score."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from service.counters.histogram import SCORES, Histogram
from service.types import Array, HeadSpec, Output

CONFIDENT = 0.5
"""Smallest probability of a confident class; a head of several labels gives the labels from here on."""
MAX_CLASSES = 1000
"""Maximum number of classes of a head that is counted by class: each class is a time series in Prometheus."""


class HeadCounts:
    """Counts the answers of a head by class and by score.

    The score of a row is its largest probability, or `logistic` if the head has no `probabilities`.

    Attributes:
        spec: the head.
        classes: rows by class, in the order of the model card. A row has any number of classes if the head is `multi_label`;
            otherwise it has the one of `class_ids`, or of the largest probability if an answer has no `class_ids`. None if
            the head has no or too many classes, or no prediction key shows them.
        scores: scores of all rows; None without `probabilities` and `logistic`.
        unsure: number of rows without a confident class; None without `probabilities`.
    """

    def __init__(self, spec: HeadSpec):
        self.spec = spec
        self.unsure: int | None = 0 if "probabilities" in spec.key_names else None
        scored = self.unsure is not None or "logistic" in spec.key_names
        self.scores = Histogram(SCORES) if scored else None
        self._labels = spec.kind == "multi_label"
        shown_by = {"probabilities"} if self._labels else {"class_ids", "probabilities"}
        self._names = _names(spec)
        counted = 0 < len(self._names) <= MAX_CLASSES and not shown_by.isdisjoint(spec.key_names)
        self.classes = np.zeros(len(self._names), np.int64) if counted else None

    @property
    def counters(self) -> dict[str, Callable[[Array], None]]:
        """Return for each prediction key that is counted the function to call with its rows."""
        counters: dict[str, Callable[[Array], None]] = {}
        if self.classes is not None and not self._labels and "class_ids" in self.spec.key_names:
            counters["class_ids"] = self._class_ids
        if self.unsure is not None:
            counters["probabilities"] = self._probabilities
        elif self.scores is not None:
            counters["logistic"] = self._logistic
        return counters

    def add(self, answers: Sequence[Mapping[Output, Array]]) -> None:
        """Count the rows of answers, each of which may have some of the outputs only."""
        counters, name = self.counters, self.spec.name
        for key, count in counters.items():
            _count_rows(count, [answer[name, key] for answer in answers if (name, key) in answer])
        if self.classes is not None and not self._labels and "probabilities" in counters:
            ids, probabilities = (name, "class_ids"), (name, "probabilities")
            without_ids = [answer[probabilities] for answer in answers if probabilities in answer and ids not in answer]
            _count_rows(self._most_probable, without_ids)

    @property
    def by_class(self) -> dict[str, int]:
        """Return the number of rows by name of the class; classes of the same name are added."""
        counts: dict[str, int] = {}
        if self.classes is not None:
            for name, count in zip(self._names, self.classes.tolist(), strict=True):
                counts[name] = counts.get(name, 0) + count
        return counts

    def _class_ids(self, ids: Array) -> None:
        if self.classes is not None and ids.dtype.kind in "iu":
            ids = ids.astype(np.int64, copy=False).ravel()
            if len(ids) and (ids.min() < 0 or ids.max() >= len(self.classes)):
                ids = ids[(ids >= 0) & (ids < len(self.classes))]
            self.classes += np.bincount(ids, minlength=len(self.classes))

    def _most_probable(self, probabilities: Array) -> None:
        if self.classes is not None and probabilities.shape[1:] == self.classes.shape and probabilities.dtype.kind == "f":
            self._class_ids(probabilities.argmax(axis=1))

    def _probabilities(self, probabilities: Array) -> None:
        if self.unsure is None or not probabilities.ndim or not probabilities.size or probabilities.dtype.kind != "f":
            return
        by_row = probabilities if probabilities.ndim > 1 else probabilities[:, np.newaxis]
        if self._labels and self.classes is not None and by_row.shape[1:] == self.classes.shape:
            self.classes += np.count_nonzero(by_row >= CONFIDENT, axis=0)
        largest = by_row.max(axis=-1).ravel()
        self.unsure += len(largest) - int(np.count_nonzero(largest >= CONFIDENT))
        self._logistic(largest)

    def _logistic(self, scores: Array) -> None:
        if self.scores is not None and scores.dtype.kind == "f":
            self.scores.add(scores.ravel())


def _names(spec: HeadSpec) -> tuple[str, ...]:
    """Return the names of the classes; their ids if only the number of probabilities is known."""
    if spec.classes is not None:
        return spec.classes
    shapes = [key.shape for key in spec.keys if key.name == "probabilities" and key.shape]
    return tuple(map(str, range(shapes[0][-1]))) if shapes else ()


def _count_rows(count: Callable[[Array], None], arrays: Sequence[Array]) -> None:
    """Call `count` with the rows of all arrays, together if they have the same shape of a row."""
    if not arrays:
        return
    try:
        together = [np.concatenate(arrays)]
    except ValueError:  # the shapes of their rows differ
        together = list(arrays)
    for array in together:
        count(array)
