"""`MultiClassHead`: one of several classes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Unpack

import tensorflow as tf

from heads import checks, labels, losses, metrics
from heads.keys import MetricKeys, PredictionKeys, Reduction, SignatureKeys
from heads.metrics import MetricSpec
from heads.signatures import Classify, Predict, Signature, all_class_ids, all_classes, class_names
from heads.single_head import LOGITS, Batch, Options, PredictionFunctions, SingleHead, of_prediction


class MultiClassHead(SingleHead):
    """One of `n_classes` classes, by softmax cross entropy.

    Logits are `[D0, …, DN, n_classes]`. Labels are `[D0, …, DN, 1]` or `[D0, …, DN]`: class ids of any integer dtype, or names
    with a `label_vocabulary`.

    >>> head = MultiClassHead(3)
    >>> logits = tf.constant([[2.0, 0.0, 0.0]])
    >>> round(float(head.loss(tf.constant([0]), logits)), 4)  # log(e² + 2) - 2
    0.2395
    >>> head.predictions(logits)["class_ids"].numpy().tolist()
    [[0]]

    Args:
        n_classes: how many classes, at least 3 (`BinaryClassHead` is for two).
        weight_column: feature with a weight per example, `[D0, …, DN]` or `[D0, …, DN, 1]`.
        label_vocabulary: the classes' names, by class id.
        loss_fn: instead of softmax cross entropy; returns `[D0, …, DN, 1]`.
        thresholds: in (0, 1); accuracy, precision and recall are measured at each, every class against the others.
        classes_for_class_based_metrics: class ids or names that get an AUC and a mean probability of their own.
        loss_reduction, name, **options: see `SingleHead`.

    Raises:
        ValueError: `n_classes`, the vocabulary, `loss_reduction` or `loss_fn` is not valid.
    """

    def __init__(
        self,
        n_classes: int,
        weight_column: Any = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = Reduction.SUM_OVER_BATCH_SIZE,
        loss_fn: Callable[..., tf.Tensor] | None = None,
        name: str | None = None,
        *,
        thresholds: Iterable[float] | None = None,
        classes_for_class_based_metrics: Iterable[int | str] | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(weight_column, loss_reduction, loss_fn, name, **options)
        if n_classes is None:
            raise ValueError(f"n_classes cannot be None{checks.of_head(name)}.")
        if n_classes <= 2:
            raise ValueError(f"n_classes must be > 2: {n_classes}{checks.of_head(name)}. For two classes use BinaryClassHead.")
        self._n_classes = int(n_classes)
        self._vocabulary = checks.vocabulary(label_vocabulary, self._n_classes, name)
        self._thresholds = checks.thresholds(thresholds)
        self._measured = checks.classes(classes_for_class_based_metrics, self._n_classes, self._vocabulary)

    @property
    def logits_dimension(self) -> int:
        """The number of classes."""
        return self._n_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by class id."""
        return self._vocabulary or tuple(str(i) for i in range(self._n_classes))

    def _encode_labels(self, raw: Any, logits: tf.Tensor) -> tf.Tensor:
        dense = labels.dense(raw, logits, 1, self.name)
        return labels.class_ids(dense, self._n_classes, self._vocabulary, self.name)

    def _example_loss(self, encoded: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return losses.softmax_cross_entropy(encoded, logits)

    def _prediction_functions(self) -> PredictionFunctions:
        return {
            **LOGITS,
            PredictionKeys.PROBABILITIES: lambda p: tf.nn.softmax(p.logits),
            PredictionKeys.CLASS_IDS: lambda p: tf.expand_dims(tf.argmax(p.logits, axis=-1), -1),
            PredictionKeys.CLASSES: lambda p: class_names(p[PredictionKeys.CLASS_IDS], self._vocabulary),
            PredictionKeys.ALL_CLASS_IDS: lambda p: all_class_ids(self._n_classes, p.logits),
            PredictionKeys.ALL_CLASSES: lambda p: all_classes(self._n_classes, self._vocabulary, p.logits),
        }

    def _metric_specs(self) -> list[MetricSpec]:
        probability = of_prediction(PredictionKeys.PROBABILITIES)
        return [
            metrics.mean(MetricKeys.ACCURACY, lambda b: tf.equal(b.labels, b.predictions[PredictionKeys.CLASS_IDS])),
            *metrics.at_thresholds(self._thresholds, self._one_hot, probability),
            *metrics.of_classes(self._measured, self._vocabulary, self._one_hot, probability),
        ]

    def _one_hot(self, batch: Batch) -> tf.Tensor:
        return tf.one_hot(tf.squeeze(batch.labels, axis=-1), self._n_classes)

    def _signatures(self, predictions: Mapping[str, tf.Tensor]) -> dict[str, Signature]:
        return {
            SignatureKeys.CLASSIFY: Classify(
                predictions[PredictionKeys.PROBABILITIES], predictions[PredictionKeys.ALL_CLASSES]
            ),
            SignatureKeys.PREDICT: Predict(predictions),
        }
