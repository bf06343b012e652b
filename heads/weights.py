"""Example weights: a feature, named or described by a numeric column, that fits the logits."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from heads import checks


def check_column(column: Any) -> Any:
    """`column`: None, a feature's name, or what `tf.feature_column.numeric_column` makes.

    Raises:
        TypeError: it is something else.
    """
    # A NumericColumn is told by what is used of it, so that the class, which newer TensorFlow hides, need not be found.
    if column is None or isinstance(column, str) or (hasattr(column, "key") and hasattr(column, "normalizer_fn")):
        return column
    raise TypeError(f"Weight column must be either a string or NumericColumn. Given type: {type(column)}.")


def of_batch(
    features: Mapping[str, Any] | None, column: Any, logits: tf.Tensor, widths: Sequence[int], head: str | None
) -> tf.Tensor | None:
    """Weights as float32 `[D0, …, DN, w]`, w one of `widths`; None, which stands for 1, without a column."""
    if column is None:
        return None
    name = column if isinstance(column, str) else column.key
    if not features or name not in features:
        raise ValueError(
            f"weight_column {name!r} must be among the features{checks.of_head(head)}. "
            f"Given features: {sorted(features or ())}."
        )
    weights = tf.convert_to_tensor(features[name])
    normalizer = getattr(column, "normalizer_fn", None)
    if normalizer is not None:
        weights = normalizer(weights)
    if not (weights.dtype.is_floating or weights.dtype.is_integer):
        raise ValueError(f"Weight column should be castable to float. Given dtype: {weights.dtype}{checks.of_head(head)}.")
    message = f"weights shape must be [D0, D1, ... DN] or {' or '.join(f'[D0, D1, ... DN, {w}]' for w in widths)}"
    return checks.matches(tf.cast(weights, tf.float32), logits, widths, f"{message}{checks.of_head(head)}.")


def weighted(values: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """`values` times their weights, of which None are all 1."""
    return values if weights is None else values * weights
