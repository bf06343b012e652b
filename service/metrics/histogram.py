"""How many values are at most each bound: Prometheus' histogram, filled with arrays."""

from collections.abc import Sequence

import numpy as np

from service.types import Array

SECONDS = (25e-6, 5e-5, 1e-4, 25e-5, 5e-4, 1e-3, 25e-4, 5e-3, 1e-2, 25e-3, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = tuple(float(2**power) for power in range(13))
SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Histogram:
    """Counts by upper bound, and the sum. What is not finite has no bucket and is left out."""

    def __init__(self, bounds: Sequence[float]):
        self.sum = 0.0
        self._bounds = np.array(bounds)
        self._names = [*map(repr, bounds), "+Inf"]
        self._counts = np.zeros(len(self._names), np.int64)

    def add(self, values: Array) -> None:
        """Adds an array of one dimension."""
        finite = values[np.isfinite(values)].astype(np.float64)
        # A float32 that is the nearest to 0.1 is a little more; it belongs to the bucket of 0.1 all the same.
        slack = 1e-7 if values.dtype == np.float32 else 0.0
        found = np.searchsorted(self._bounds, finite * (1 - slack))
        self._counts += np.bincount(found, minlength=len(self._names))
        self.sum += float(finite.sum())

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Each bound as Prometheus writes it, and how many values are at most that."""
        return list(zip(self._names, np.cumsum(self._counts).astype(float).tolist(), strict=True))
