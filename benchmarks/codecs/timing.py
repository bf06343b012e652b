"""Times of two ways to do the same, taken by turns."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

Work = Callable[[], object]


class Pair(NamedTuple):
    """Microseconds of ours and of the reference in each round, one after the other."""

    ours_us: list[float]
    reference_us: list[float]

    @property
    def ours(self) -> float:
        """The median, in microseconds."""
        return statistics.median(self.ours_us)

    @property
    def reference(self) -> float:
        """The median, in microseconds."""
        return statistics.median(self.reference_us)

    @property
    def speeds(self) -> list[float]:
        """Our speed as a share of the reference's, sorted."""
        return sorted(reference / our for our, reference in zip(self.ours_us, self.reference_us, strict=True))

    @property
    def speed(self) -> float:
        """The median share."""
        return statistics.median(self.speeds)

    def __str__(self) -> str:
        return f"{self.speed:6.0%} {self.speeds[0]:5.0%}–{self.speeds[-1]:.0%}"


def by_turns(ours: Work, reference: Work, rounds: int, sample_s: float) -> Pair:
    """Each side for about `sample_s` in every round; whoever is first in one round is second in the next."""
    pair = Pair([], [])
    sides = ((ours, pair.ours_us), (reference, pair.reference_us))
    times = [max(1, round(sample_s * 1e6 / microseconds(work, 3))) for work, _ in sides]
    for turn in range(rounds):
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        for index in order:
            work, found = sides[index]
            found.append(microseconds(work, times[index]))
    return pair


def microseconds(work: Work, times: int) -> float:
    """The mean of so many."""
    start_s = time.perf_counter()
    for _ in range(times):
        work()
    return 1e6 * (time.perf_counter() - start_s) / times
