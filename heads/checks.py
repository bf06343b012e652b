"""Checks of shapes, ranks and ranges, with one form of message: what was expected, what came, which head.

A check that can be decided while the graph is built raises `ValueError`, in eager mode too, where every value is known. One
that depends on values of a later step raises `tf.errors.InvalidArgumentError` in that step.
"""

from collections.abc import Callable, Iterable, Sequence
from inspect import signature
from typing import Any

import tensorflow as tf

from heads.keys import Reduction


def require(condition: tf.Tensor, message: str, data: Callable[[], Sequence[Any]], then: tf.Tensor) -> tf.Tensor:
    """`then`, with the promise that `condition` held.

    Args:
        condition: boolean scalar.
        message: what was expected and the likely fix.
        data: makes the tensors that say what came, printed behind the message; only called, or run, when they are needed.
        then: the tensor that must not be used if the condition does not hold.

    Raises:
        ValueError: the condition is known now, and false.
        tf.errors.InvalidArgumentError: when the graph runs and the condition is false.
    """
    known = tf.get_static_value(condition)
    if known is None:

        def fail() -> tf.Operation:
            return tf.raw_ops.Assert(condition=False, data=[message, *data()], summarize=10)

        with tf.control_dependencies([tf.cond(condition, tf.no_op, fail)]):
            return tf.identity(then)
    if not known:
        values = (tf.get_static_value(tensor) if tf.is_tensor(tensor) else tensor for tensor in data())
        raise ValueError(f"{message} {' '.join(str(value) for value in values)}")
    return then


def of_head(name: str | None) -> str:
    """The part of a message that says which head it is about."""
    return f" (head {name!r})" if name else ""


def logits(value: Any, dimension: int, head: str | None) -> tf.Tensor:
    """`value` as float32 of shape `[D0, …, DN, dimension]`, at least rank 2."""
    tensor = tf.cast(value, tf.float32)
    message = (
        f"logits shape must be [D0, D1, ... DN, logits_dimension] with logits_dimension={dimension} and rank at least 2"
        f"{of_head(head)}: check the width of the layer that makes them. Got"
    )
    if tensor.shape.rank is not None and tensor.shape.rank < 2:
        raise ValueError(f"logits must have rank at least 2. {message} {tensor.shape}.")
    if tensor.shape.rank is not None and tensor.shape[-1] is not None:
        if tensor.shape[-1] != dimension:
            raise ValueError(f"{message} {tensor.shape}.")
        return tensor
    shape = tf.shape(tensor)
    tensor = require(tf.logical_and(tf.size(shape) >= 2, shape[-1] == dimension), message, lambda: [shape], tensor)
    tensor.set_shape(tf.TensorShape(None) if tensor.shape.rank is None else [*tensor.shape[:-1], dimension])
    return tensor


def matches(tensor: tf.Tensor, logits: tf.Tensor, widths: Sequence[int], message: str) -> tf.Tensor:
    """`tensor` of shape `logits.shape[:-1] + [w]`, w one of `widths`; a last dimension of 1 is added where it was left out."""
    rank, logits_rank = tensor.shape.rank, logits.shape.rank
    if rank is not None and logits_rank is not None and rank == logits_rank - 1 and 1 in widths:
        tensor = tf.expand_dims(tensor, -1)
    allowed = [tf.TensorShape([*logits.shape[:-1], width]) if logits_rank is not None else None for width in widths]
    if tensor.shape.is_fully_defined() and logits.shape.is_fully_defined():
        if tensor.shape not in allowed:
            raise ValueError(f"{message} Expected shape {' or '.join(map(str, allowed))}, got {tensor.shape}.")
        return tensor
    if not any(shape is None or tensor.shape.is_compatible_with(shape) for shape in allowed):
        raise ValueError(f"{message} Expected shape {' or '.join(map(str, allowed))}, got {tensor.shape}.")
    shape, outer = tf.shape(tensor), tf.shape(logits)[:-1]
    fits = tf.reduce_any([_same(shape, tf.concat([outer, [width]], 0)) for width in widths])
    return require(fits, message, lambda: ["Shape of logits and what came:", tf.shape(logits), shape], tensor)


def _same(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    # tf.equal broadcasts, or fails, when the ranks differ: compare the sizes first and pad the shorter one.
    size = tf.maximum(tf.size(left), tf.size(right))
    left, right = (tf.pad(shape, [[0, size - tf.size(shape)]], constant_values=-1) for shape in (left, right))
    return tf.reduce_all(tf.equal(left, right))


def in_range(labels: tf.Tensor, maximum: int | None, message: str) -> tf.Tensor:
    """`labels`, all of them within `[0, maximum]`, None standing for no upper bound; a NaN is not."""
    fine = labels >= tf.cast(0, labels.dtype)
    if maximum is not None:
        fine = tf.logical_and(fine, labels <= tf.cast(maximum, labels.dtype))

    def outside() -> list[Any]:
        return ["Got", tf.boolean_mask(tf.reshape(labels, [-1]), tf.reshape(tf.logical_not(fine), [-1]))]

    return require(tf.reduce_all(fine), message, outside, labels)


def loss_reduction(value: str) -> str:
    """`value`, one of `tf.losses.Reduction` but `NONE`.

    Raises:
        ValueError: it is something else.
    """
    if value not in Reduction.all():
        raise ValueError(f"Invalid loss_reduction: {value}. See `tf.losses.Reduction`; valid: {', '.join(Reduction.all())}.")
    return value


def loss_fn(function: Callable[..., Any] | None) -> bool:
    """Whether `function`, a user's loss, takes `features` beside `labels` and `logits`.

    Raises:
        ValueError: it lacks `labels` or `logits`, or has an argument that a head can not give it.
    """
    if function is None:
        return False
    parameters = signature(function).parameters
    for name in ("labels", "logits"):
        if name not in parameters:
            raise ValueError(f"loss_fn must contain argument: {name}. Given arguments: {tuple(parameters)}")
    # `loss_reduction` may stand there, as ever, and keeps its own default: the head reduces, not the function.
    unexpected = sorted(set(parameters) - {"labels", "logits", "features", "loss_reduction"})
    if unexpected:
        raise ValueError(f"loss_fn has unexpected args: {unexpected}. It may take labels, logits and features.")
    return "features" in parameters


def thresholds(values: Iterable[float] | None) -> tuple[float, ...]:
    """`values` as a tuple of floats within (0, 1), from any iterable.

    Raises:
        ValueError: one is outside, or stands there twice.
    """
    numbers = tuple(float(value) for value in values) if values is not None else ()
    for number in numbers:
        if not 0.0 < number < 1.0:
            raise ValueError(f"thresholds must be in (0, 1) range. Given: {number}")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"thresholds must differ from one another. Given: {numbers}")
    return numbers


def classes(items: Iterable[int | str] | None, n_classes: int, vocabulary: Sequence[str] | None) -> tuple[int, ...]:
    """Class ids of `items`, which are ids or names.

    Raises:
        ValueError: one is no class.
    """
    ids = []
    for item in items if items is not None else ():
        if not isinstance(item, str):
            if not 0 <= item < n_classes:
                raise ValueError(f"All classes_for_class_based_metrics must be in range [0, {n_classes - 1}]. Given: {item}")
            ids.append(int(item))
        elif vocabulary is None:
            raise ValueError("label_vocabulary must be provided when classes_for_class_based_metrics are strings.")
        elif item not in vocabulary:
            raise ValueError(f"classes_for_class_based_metrics must be in label_vocabulary {list(vocabulary)}. Given: {item!r}")
        else:
            ids.append(vocabulary.index(item))
    return tuple(ids)


def vocabulary(values: Sequence[str] | None, size: int | None, head: str | None) -> tuple[str, ...] | None:
    """`values` as a tuple of `size` different class names, or None.

    Raises:
        ValueError: it is no list or tuple, has another length or holds a name twice.
    """
    if values is None:
        return None
    if not isinstance(values, list | tuple):
        raise ValueError(f"label_vocabulary should be a list or a tuple. Given type: {type(values)}{of_head(head)}.")
    if size is not None and len(values) != size:
        raise ValueError(
            f"Length of label_vocabulary must be n_classes ({size}). Given: {len(values)}{of_head(head)}: {list(values)}"
        )
    if len(set(values)) < len(values):
        raise ValueError(f"label_vocabulary must not hold a class twice. Given: {list(values)}{of_head(head)}.")
    return tuple(values)
