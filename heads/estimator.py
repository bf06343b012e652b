"""`EstimatorSpec`s from heads: the only module that needs TensorFlow's Estimator."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from heads.keys import MetricKeys, SignatureKeys, metric_key, output_key, scope_name
from heads.signatures import Classify, Predict, Regress, Signature

if TYPE_CHECKING:
    from heads.head import Head

if not hasattr(tf, "estimator"):
    raise ModuleNotFoundError(
        f"An EstimatorSpec needs TensorFlow 2.15.1 with Estimator, which TensorFlow {tf.__version__} no longer has. "
        "Install them with: pip install 'headserve[train]'",
        name="tensorflow_estimator",
    )
estimator: Any = tf.estimator


def build_spec(
    head: "Head",
    features: Mapping[str, Any],
    mode: str,
    logits: Any,
    labels: Any,
    regularization_losses: Sequence[tf.Tensor] | None,
    train: Callable[[tf.Tensor], Any],
) -> Any:
    """What `Head.create_estimator_spec` gives; `train` makes the train op from the loss."""
    modes = estimator.ModeKeys
    if mode not in (modes.TRAIN, modes.EVAL, modes.PREDICT):
        raise ValueError(f"mode={mode} unrecognized: expected a value of tf.estimator.ModeKeys.")
    with tf.name_scope(scope_name(head.name)):
        by_key = head._predict(logits)
        predictions = dict(by_key)
        if mode == modes.PREDICT:
            forwarded = _forward(head, features, predictions)
            outputs = {
                name or SignatureKeys.DEFAULT: export_output(signature)
                for name, signature in _with_outputs(head._export(by_key), forwarded).items()
            }
            return estimator.EstimatorSpec(mode, predictions=predictions | forwarded, export_outputs=outputs)
        batch = head._examine(labels, by_key, features)
        loss = head._total_loss(batch, regularization_losses)
        if mode == modes.EVAL:
            metrics = head._add_batch(head.metrics(regularization_losses), batch, regularization_losses)
            return estimator.EstimatorSpec(mode, predictions=predictions, loss=loss, eval_metric_ops=metrics)
        # At the top, as Keras has it: no head's scope stands before the names of an optimizer's variables in a checkpoint.
        with tf.compat.v1.name_scope(None), tf.name_scope("training"):
            step = train(loss)
    _summarize(head, batch, loss, regularization_losses)
    return estimator.EstimatorSpec(mode, predictions=predictions, loss=loss, train_op=step)


def _forward(head: "Head", features: Mapping[str, Any], predictions: Mapping[Any, Any]) -> dict[str, Any]:
    """The features that are given out with the predictions."""
    names = head._forwarded()
    missing = sorted(set(names) - set(features))
    if missing:
        raise ValueError(
            f"forward_features must be among the features. Missing: {missing}. Given features: {sorted(features)}."
        )
    taken = sorted(set(names) & {key if isinstance(key, str) else output_key(*key) for key in predictions})
    if taken:
        raise ValueError(f"forward_features must not have the names of predictions: {taken}. Rename these features.")
    return {name: tf.identity(features[name]) for name in names}


def _with_outputs(signatures: Mapping[str, Signature], outputs: Mapping[str, tf.Tensor]) -> dict[str, Signature]:
    """The signatures, with more outputs for those that take any: the predict signatures."""
    return {
        name: Predict({**signature.outputs, **outputs}) if isinstance(signature, Predict) else signature
        for name, signature in signatures.items()
    }


def _summarize(head: "Head", batch: Any, loss: tf.Tensor, regularization_losses: Sequence[tf.Tensor] | None) -> None:
    root = head._metrics_root
    with tf.compat.v1.name_scope(None):
        _scalar(metric_key(MetricKeys.LOSS, root), loss)
        for name, own in head._head_losses(batch, "").items():
            _scalar(metric_key(MetricKeys.LOSS, name), own)
        if regularization_losses:
            _scalar(metric_key(MetricKeys.LOSS_REGULARIZATION, root), tf.add_n(list(regularization_losses)))


def _scalar(key: str, value: tf.Tensor) -> None:
    tf.compat.v1.summary.scalar(scope_name(key), value)


class _Classification(estimator.export.ClassificationOutput):
    """Scores and classes: a classify signature on serialized examples, a predict signature on any other input.

    TensorFlow's own raises for other inputs, and its exporter then leaves the signature out, `serving_default` among them.
    """

    def as_signature_def(self, receiver_tensors: Mapping[str, tf.Tensor]) -> Any:
        if _takes_examples(receiver_tensors):
            return super().as_signature_def(receiver_tensors)
        return _predict({"classes": self.classes, "scores": self.scores}, receiver_tensors)


class _Regression(estimator.export.RegressionOutput):
    """A value: a regress signature on serialized examples, a predict signature on any other input."""

    def as_signature_def(self, receiver_tensors: Mapping[str, tf.Tensor]) -> Any:
        if _takes_examples(receiver_tensors):
            return super().as_signature_def(receiver_tensors)
        return _predict({"outputs": self.value}, receiver_tensors)


def export_output(signature: Signature) -> Any:
    """The `tf.estimator.export.ExportOutput` of a signature."""
    if isinstance(signature, Classify):
        return _Classification(scores=signature.scores, classes=signature.classes)
    if isinstance(signature, Regress):
        return _Regression(signature.value)
    return estimator.export.PredictOutput(dict(signature.outputs))


def _takes_examples(receiver_tensors: Mapping[str, tf.Tensor]) -> bool:
    tensors = list(receiver_tensors.values())
    if len(tensors) != 1 or tensors[0].dtype != tf.string:
        return False
    # A single feature may be a string itself: only examples are parsed.
    return any(operation.type.startswith("ParseExample") for operation in tensors[0].consumers())


def _predict(outputs: Mapping[str, tf.Tensor], receiver_tensors: Mapping[str, tf.Tensor]) -> Any:
    return estimator.export.PredictOutput(outputs).as_signature_def(receiver_tensors)
