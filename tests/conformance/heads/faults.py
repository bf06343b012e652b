"""What a known fault of tf.estimator's heads does there, and what is right; the faults are in `test_faults_*.py`.

A test is a scenario that takes the library (`heads` or `tf.estimator`), what comes of it on tf.estimator's heads, a wrong value
or a crash, and what must come of it on ours, with the numbers worked out in view.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import tensorflow as tf

import heads

LOG2 = 0.6931472  # sigmoid cross entropy at logit 0
THREE = ["ant", "bee", "cat"]


class Raises(NamedTuple):
    """That a scenario raises: the exception's type, and a pattern its message holds."""

    error: type[Exception]
    message: str


def fault(scenario: Callable[[ModuleType], Any], *, upstream: Any, ours: Any) -> None:
    """Checks that the scenario comes to `upstream` with tf.estimator, and to `ours`, which is something else, with `heads`."""
    assert not same(upstream, ours)
    check(scenario, tf.estimator, upstream)
    check(scenario, heads, ours)


def check(scenario: Callable[[ModuleType], Any], library: ModuleType, expected: Any) -> None:
    if isinstance(expected, Raises):
        with pytest.raises(expected.error, match=expected.message):
            scenario(library)
    else:
        got = scenario(library)
        assert same(got, expected), f"{library.__name__}: expected {expected}, got {got}"


def same(left: Any, right: Any) -> bool:
    """Whether two values of a scenario are equal, floats to six digits."""
    if isinstance(left, Raises) or isinstance(right, Raises):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, float) or isinstance(right, float):
        return left == pytest.approx(right, rel=1e-5, nan_ok=True)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def two(library: ModuleType, head_weights: Any = None) -> Any:
    """Two regressions, a and b, with one logit each."""
    return library.MultiHead([library.RegressionHead(name="a"), library.RegressionHead(name="b")], head_weights)


def zeros(*names: str) -> dict[str, Any]:
    return {name: tf.zeros([1, 1]) for name in names}
