"""How a `MultiHead` weighs the losses of its heads: by given numbers, or by uncertainties that it learns."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import tensorflow as tf

from heads.keys import scope_name

UNCERTAINTY = "uncertainty"


class LossWeights(Protocol):
    """Puts the heads' losses, scalars in the order of the heads, together into one."""

    def combine(self, losses: Sequence[tf.Tensor]) -> tf.Tensor:
        """The scalar loss of all heads."""

    def variables(self) -> list[tf.Variable]:
        """What has to be trained for it."""


class FixedWeights:
    """`Σ wᵢ·Lᵢ`.

    Raises:
        ValueError: there are not as many weights as heads.
    """

    def __init__(self, values: Iterable[float] | None, count: int) -> None:
        weights = tuple(float(value) for value in values) if values is not None else ()
        if weights and len(weights) != count:
            raise ValueError(
                f"heads and head_weights must have the same size. Given len(heads): {count}. "
                f"Given len(head_weights): {len(weights)}."
            )
        self._weights = weights or (1.0,) * count

    def combine(self, losses: Sequence[tf.Tensor]) -> tf.Tensor:
        """The weighted sum."""
        return tf.add_n([loss * weight for loss, weight in zip(losses, self._weights, strict=True)])

    def variables(self) -> list[tf.Variable]:
        """None."""
        return []


class UncertaintyWeights:
    """`Σ exp(-sᵢ)·cᵢ·Lᵢ + sᵢ/2` with a trained sᵢ = log σᵢ² per head, and cᵢ = ½ for squared errors and 1 for cross entropies.

    After Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics"
    (2018), equations 7 and 10: σᵢ is the noise of head i's labels, and the sᵢ/2 keep it from growing without end.

    Args:
        names: of the heads; the variables are called after them.
        factors: cᵢ.
    """

    def __init__(self, names: Sequence[str], factors: Sequence[float]) -> None:
        self._names = tuple(names)
        self._factors = tuple(factors)
        # A variable belongs to a graph, and a head is used in several: TRAIN's, EVAL's, and eagerly, which is None.
        self._by_graph: dict[tf.Graph | None, list[tf.Variable]] = {}

    def combine(self, losses: Sequence[tf.Tensor]) -> tf.Tensor:
        """The weighted sum and its penalty."""
        terms = zip(losses, self._factors, self.variables(), strict=True)
        return tf.add_n([tf.exp(-s) * factor * loss + s / 2 for loss, factor, s in terms])

    def variables(self) -> list[tf.Variable]:
        """The log variances, float32 scalars that start at 0, in the order of the heads; made when they are first needed."""
        with tf.init_scope():
            # Lifted out of a tf.function, the default graph is still that of the function.
            graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
            if graph not in self._by_graph:
                # At the top, whatever the scope it is first needed in: TRAIN and EVAL find it in a checkpoint by its name.
                with tf.compat.v1.name_scope(None):
                    self._by_graph[graph] = [tf.Variable(0.0, name=f"log_variance/{scope_name(name)}") for name in self._names]
            return self._by_graph[graph]
