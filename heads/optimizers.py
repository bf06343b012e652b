"""From a loss to the operation that trains: every kind of optimizer, in the graph of an Estimator.

An Estimator counts its steps with the global step. Every optimizer is made to move it, exactly once a step; an optimizer that
counts for itself would leave it at 0, and training would never reach its last step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from heads.keys import Reduction


def train_op(
    loss: tf.Tensor,
    loss_reduction: str,
    optimizer: Any = None,
    trainable_variables: Sequence[tf.Variable] | None = None,
    train_op_fn: Callable[[tf.Tensor], Any] | None = None,
    update_ops: Sequence[Any] | None = None,
) -> Any:
    """The operation of one training step; the arguments are those of `Head.create_estimator_spec`.

    With several replicas (`tf.distribute`) the optimizer gets the loss divided by their number where the loss is a mean, since
    the replicas' gradients are added up.

    Raises:
        ValueError: both or neither of `optimizer` and `train_op_fn` are given, or an argument has the wrong type.
    """
    if update_ops is not None and not isinstance(update_ops, list | tuple):
        raise ValueError(f"update_ops should be a list or a tuple. Given type: {type(update_ops)}.")
    if optimizer is not None and train_op_fn is not None:
        raise ValueError("train_op_fn and optimizer cannot both be set.")
    if optimizer is not None:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        scaled = loss / replicas if replicas > 1 and Reduction.is_mean(loss_reduction) else loss
        step = _minimize(scaled, optimizer, _check_variables(trainable_variables))
    elif train_op_fn is not None:
        step = train_op_fn(loss)
    else:
        raise ValueError("train_op_fn and optimizer cannot both be None.")
    return tf.group(step, *update_ops) if update_ops else step


def _check_variables(variables: Sequence[tf.Variable] | None) -> list[tf.Variable]:
    if variables is None:
        raise ValueError(
            "trainable_variables cannot be None. Given None: pass the list of variables that the optimizer changes."
        )
    if not isinstance(variables, list | tuple):
        raise ValueError(f"trainable_variables should be a list or a tuple. Given type: {type(variables)}.")
    return list(variables)


def _minimize(loss: tf.Tensor, optimizer: Any, variables: list[tf.Variable]) -> Any:
    global_step = tf.compat.v1.train.get_or_create_global_step()
    if isinstance(optimizer, str):
        optimizer = tf.keras.optimizers.get(optimizer)
    if isinstance(optimizer, tf.compat.v1.train.Optimizer):
        return optimizer.minimize(loss, global_step=global_step, var_list=variables)
    if isinstance(optimizer, tf.keras.optimizers.legacy.Optimizer):
        counts = _counts_with(optimizer, global_step)
        step = optimizer.get_updates(loss, variables)[0]
    elif isinstance(optimizer, tf.keras.optimizers.Optimizer):
        counts = _counts_with(optimizer, global_step)
        step = _apply(optimizer, tf.gradients(loss, variables), variables)
    else:
        raise ValueError(
            "The given optimizer is not a tf.keras.optimizers.Optimizer instance, a tf.compat.v1.train.Optimizer or the name "
            f"of a Keras optimizer. Received optimizer of type {type(optimizer)}"
        )
    if counts:
        return step
    with tf.control_dependencies([step]):
        return global_step.assign_add(1)


def _counts_with(optimizer: Any, global_step: tf.Variable) -> bool:
    """Whether the optimizer's step counter is the global step, after trying to make it so."""
    try:
        optimizer.iterations = global_step
    except RuntimeError:  # It has a counter already: the user's choice, or from an earlier use.
        return optimizer.iterations is global_step
    return True


def _apply(optimizer: Any, gradients: list[Any], variables: list[tf.Variable]) -> tf.Tensor:
    # The updates of Keras' optimizers (2.11 and later) are ordered by automatic control dependencies, which only a tf.function
    # has: put straight into an Estimator's graph they are made, and nothing runs them.
    optimizer.build(variables)
    pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
    changed = [variable for _, variable in pairs]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def apply(present: list[Any]) -> tf.Tensor:
        optimizer.apply_gradients(zip(present, changed, strict=True))
        return tf.identity(optimizer.iterations)

    return apply([gradient for gradient, _ in pairs])
