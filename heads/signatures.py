"""What a head offers to a SavedModel: which tensors, under which output names, as which of TensorFlow's three methods."""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf


class Classify(NamedTuple):
    """Scores with the classes they belong to, both `[batch, …, n]`; classes are strings."""

    scores: tf.Tensor
    classes: tf.Tensor


class Regress(NamedTuple):
    """A value per example, `[batch, …, k]`."""

    value: tf.Tensor


class Predict(NamedTuple):
    """Any tensors by output name."""

    outputs: Mapping[str, tf.Tensor]


Signature = Classify | Regress | Predict


def all_class_ids(n_classes: int, like: tf.Tensor) -> tf.Tensor:
    """0 … n_classes-1 for every example, int32 `[D0, …, DN, n_classes]` for `like` of shape `[D0, …, DN, k]`."""
    return _for_every_example(tf.range(n_classes), like)


def all_classes(n_classes: int, vocabulary: tuple[str, ...] | None, like: tf.Tensor) -> tf.Tensor:
    """All class names for every example, string `[D0, …, DN, n_classes]`; without a vocabulary the ids written as text."""
    return _for_every_example(tf.constant(vocabulary or [str(i) for i in range(n_classes)]), like)


def class_names(ids: tf.Tensor, vocabulary: tuple[str, ...] | None) -> tf.Tensor:
    """The names of class ids, shape as `ids`; without a vocabulary the ids written as text."""
    return tf.strings.as_string(ids) if vocabulary is None else tf.gather(tf.constant(vocabulary), ids)


def _for_every_example(row: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    shape = tf.concat([tf.shape(like)[:-1], tf.shape(row)], axis=0)
    tensor = tf.broadcast_to(row, shape)
    if like.shape.rank is not None:
        tensor.set_shape(like.shape[:-1] + row.shape)
    return tensor
