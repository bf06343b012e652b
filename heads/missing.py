"""Labels that some rows do not have: which those are, and what stands in their place."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from heads import checks

Sentinel = float | int | str


class MissingLabels(NamedTuple):
    """How a head is told that a row has no label.

    Attributes:
        sentinel: the value of the label that says so: NaN, -1, an empty string; None when none does.
        mask_column: the feature that says so, `[D0, …, DN]` or `[D0, …, DN, 1]`: true, or not 0, where there is a label.
    """

    sentinel: Sentinel | None = None
    mask_column: str | None = None

    @property
    def possible(self) -> bool:
        """Whether a label can be missing at all."""
        return self.sentinel is not None or self.mask_column is not None

    def fill(self, labels: tf.Tensor, masked: tf.Tensor | None, filler: str | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Dense labels `[D0, …, DN, k]` with a valid value where there is none, and where there are, boolean of the same shape.

        Args:
            labels: as the user gave them, made dense.
            masked: what `mask` gave.
            filler: a valid label, for labels that are names; numbers are filled with 0.
        """
        present = tf.ones_like(labels, dtype=tf.bool)
        if isinstance(self.sentinel, float) and math.isnan(self.sentinel):
            if labels.dtype.is_floating:
                present = tf.logical_not(tf.math.is_nan(labels))
        elif self.sentinel is not None:
            present = tf.not_equal(labels, tf.constant(self.sentinel, labels.dtype))
        if masked is not None:
            present = tf.logical_and(present, masked)
        valid = tf.constant(filler or "") if labels.dtype == tf.string else tf.zeros([], labels.dtype)
        return tf.where(present, labels, valid), present

    def mask(self, features: Mapping[str, Any] | None, logits: tf.Tensor, head: str | None) -> tf.Tensor | None:
        """Where the mask says that there is a label, boolean `[D0, …, DN, 1]`; None without a mask."""
        if self.mask_column is None:
            return None
        if not features or self.mask_column not in features:
            raise ValueError(
                f"mask_column {self.mask_column!r} must be among the features{checks.of_head(head)}. "
                f"Given features: {sorted(features or ())}."
            )
        message = f"mask shape must be [D0, D1, ... DN] or [D0, D1, ... DN, 1]{checks.of_head(head)}."
        return tf.cast(checks.matches(tf.convert_to_tensor(features[self.mask_column]), logits, [1], message), tf.bool)
