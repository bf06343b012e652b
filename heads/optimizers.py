"""From a loss to the operation that trains: every kind of optimizer, in the graph of an Estimator.

An Estimator counts its steps with the global step. Whatever optimizers there are, a step moves it by one; with an optimizer
that counts for itself it would stay at 0, and training would never reach its last step.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import tensorflow as tf

from heads.keys import Reduction


def train_op(
    loss: tf.Tensor,
    loss_reduction: str,
    optimizer: Any = None,
    trainable_variables: Any = None,
    train_op_fn: Callable[[tf.Tensor], Any] | None = None,
    update_ops: Sequence[Any] | None = None,
    own_variables: Sequence[tf.Variable] = (),
) -> Any:
    """The operation of one training step; the arguments are those of `Head.create_estimator_spec`.

    With several replicas (`tf.distribute`) the optimizer gets the loss divided by their number where the loss is a mean, since
    the replicas' gradients are added up.

    Args:
        loss: the scalar to minimize.
        loss_reduction: how it was reduced.
        optimizer: one, or several by name.
        trainable_variables: what each changes.
        train_op_fn: instead of an optimizer.
        update_ops: operations that run with the step.
        own_variables: of the head: the first optimizer trains them as well, unless they are among the given ones.

    Raises:
        ValueError: both or neither of `optimizer` and `train_op_fn` are given, an argument has the wrong type, optimizers and
            variables have different names, or no variable has a gradient.
    """
    if update_ops is not None and not isinstance(update_ops, list | tuple):
        raise ValueError(f"update_ops should be a list or a tuple. Given type: {type(update_ops)}.")
    if optimizer is not None and train_op_fn is not None:
        raise ValueError("train_op_fn and optimizer cannot both be set.")
    if optimizer is not None:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        scaled = loss / replicas if replicas > 1 and Reduction.is_mean(loss_reduction) else loss
        step = _minimize(scaled, _groups(optimizer, trainable_variables, own_variables))
    elif train_op_fn is not None:
        step = train_op_fn(loss)
    else:
        raise ValueError("train_op_fn and optimizer cannot both be None.")
    return tf.group(step, *update_ops) if update_ops else step


def _groups(optimizer: Any, variables: Any, own: Sequence[tf.Variable]) -> list[tuple[Any, list[tf.Variable]]]:
    """Optimizers with what each changes."""
    if variables is None:
        raise ValueError(
            "trainable_variables cannot be None. Given None: pass the list of variables that the optimizer changes."
        )
    if not isinstance(optimizer, Mapping):
        optimizer, variables = {"": optimizer}, {"": variables}
    if not isinstance(variables, Mapping) or variables.keys() != optimizer.keys():
        given = sorted(variables) if isinstance(variables, Mapping) else type(variables)
        raise ValueError(f"trainable_variables must have the names of the optimizers, {sorted(optimizer)}. Given: {given}.")
    for group in variables.values():
        if not isinstance(group, list | tuple):
            raise ValueError(f"trainable_variables should be a list or a tuple. Given type: {type(group)}.")
    groups = [(_resolve(optimizer[name]), list(variables[name])) for name in optimizer]
    given_ids = [id(variable) for _, group in groups for variable in group]
    if len(set(given_ids)) < len(given_ids):
        raise ValueError("trainable_variables must name every variable once: two optimizers would both change it.")
    groups[0][1].extend(variable for variable in own if id(variable) not in given_ids)
    return groups


def _resolve(optimizer: Any) -> Any:
    known = (tf.keras.optimizers.Optimizer, tf.keras.optimizers.legacy.Optimizer, tf.compat.v1.train.Optimizer)
    if isinstance(optimizer, str):
        return tf.keras.optimizers.get(optimizer)
    if isinstance(optimizer, known):
        return optimizer
    raise ValueError(
        "The given optimizer is not a tf.keras.optimizers.Optimizer instance, a tf.compat.v1.train.Optimizer or the name of a "
        f"Keras optimizer. Received optimizer of type {type(optimizer)}"
    )


def _minimize(loss: tf.Tensor, groups: list[tuple[Any, list[tf.Variable]]]) -> Any:
    # One backward pass for all groups.
    gradients = iter(tf.gradients(loss, [variable for _, variables in groups for variable in variables]))
    global_step = tf.compat.v1.train.get_or_create_global_step()
    steps, counted = [], False
    for optimizer, variables in groups:
        pairs = [(g, v) for g, v in zip(islice(gradients, len(variables)), variables, strict=True) if g is not None]
        if not pairs:
            raise ValueError(
                f"No gradients for any of the variables {[v.name for v in variables]}: the loss uses none of them."
            )
        # One optimizer's own step counter is the global step, if that can be; a second one must not move it again.
        counts = not counted and not isinstance(optimizer, tf.compat.v1.train.Optimizer) and _counts(optimizer, global_step)
        steps.append(_apply(optimizer, pairs))
        counted = counted or counts
    if counted:
        return tf.group(*steps)
    with tf.control_dependencies(steps):
        return global_step.assign_add(1)


def _counts(optimizer: Any, global_step: tf.Variable) -> bool:
    """Whether the optimizer's step counter is the global step, after trying to make it so."""
    try:
        optimizer.iterations = global_step
    except RuntimeError:  # It has a counter already: the user's choice, or from an earlier use.
        return optimizer.iterations is global_step
    return True


def _apply(optimizer: Any, pairs: list[tuple[Any, tf.Variable]]) -> Any:
    if not isinstance(optimizer, tf.keras.optimizers.Optimizer) or isinstance(optimizer, tf.keras.optimizers.legacy.Optimizer):
        return optimizer.apply_gradients(pairs)
    # The updates of Keras' optimizers (2.11 and later) are ordered by automatic control dependencies, which only a tf.function
    # has: put straight into an Estimator's graph they are made, and nothing runs them.
    variables = [variable for _, variable in pairs]
    optimizer.build(variables)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator] # TensorFlow has no types
    def apply(gradients: list[Any]) -> tf.Tensor:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return tf.identity(optimizer.iterations)

    try:
        return apply([gradient for gradient, _ in pairs])
    except RuntimeError as error:
        # The replicas of most strategies meet to add up their gradients, which they can not from within such a function.
        if not tf.distribute.has_strategy():
            raise
        name, strategy = type(optimizer).__name__, type(tf.distribute.get_strategy()).__name__
        raise ValueError(
            f"{name}, of Keras 2.11 or later, does not train under {strategy} in an Estimator. "
            f"Use tf.keras.optimizers.legacy.{name}."
        ) from error
