"""`MultiLabelHead`: any number of classes per example."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from heads import checks, labels, losses, metrics
from heads.keys import MetricKeys, PredictionKeys, Reduction, SignatureKeys
from heads.metrics import MetricSpec
from heads.signatures import Classify, Predict, Signature, all_classes
from heads.single_head import LOGITS, Batch, PredictionFunctions, SingleHead, of_label, of_prediction


class MultiLabelHead(SingleHead):
    """None to all of `n_classes` classes, by sigmoid cross entropy averaged over the classes.

    Logits are `[D0, …, DN, n_classes]`. Labels are multi-hot `[D0, …, DN, n_classes]` with values in [0, 1], or a
    `SparseTensor` or `RaggedTensor` that lists every example's class ids, or names with a `label_vocabulary`.

    Args:
        n_classes: how many classes, at least 2.
        weight_column: feature with a weight per example, `[D0, …, DN]` or `[D0, …, DN, 1]`.
        thresholds: in (0, 1); accuracy, precision and recall are measured at each.
        label_vocabulary: the classes' names, by class id.
        loss_reduction: a value of `tf.losses.Reduction` but `NONE`.
        loss_fn: instead of the head's loss; gets multi-hot labels and returns `[D0, …, DN, 1]`.
        classes_for_class_based_metrics: class ids or names that get an AUC and a mean probability of their own.
        name: the head's name.

    Raises:
        ValueError: an argument is not valid.
    """

    def __init__(
        self,
        n_classes: int,
        weight_column: Any = None,
        thresholds: Iterable[float] | None = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = Reduction.SUM_OVER_BATCH_SIZE,
        loss_fn: Callable[..., tf.Tensor] | None = None,
        classes_for_class_based_metrics: Iterable[int | str] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(weight_column, loss_reduction, loss_fn, name)
        if n_classes is None or n_classes < 2:
            raise ValueError(f"n_classes must be > 1 for multi-label classification. Given: {n_classes}{checks.of_head(name)}.")
        self._n_classes = int(n_classes)
        self._thresholds = checks.thresholds(thresholds)
        self._vocabulary = checks.vocabulary(label_vocabulary, self._n_classes, name)
        self._measured = tuple(self._class_id(item) for item in classes_for_class_based_metrics or ())

    @property
    def logits_dimension(self) -> int:
        """The number of classes."""
        return self._n_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by class id."""
        return self._vocabulary or tuple(str(i) for i in range(self._n_classes))

    def _class_id(self, item: int | str) -> int:
        if isinstance(item, str):
            if self._vocabulary is None:
                raise ValueError("label_vocabulary must be provided when classes_for_class_based_metrics are strings.")
            if item not in self._vocabulary:
                raise ValueError(
                    f"classes_for_class_based_metrics must be in label_vocabulary {list(self._vocabulary)}. Given: {item!r}"
                )
            return self._vocabulary.index(item)
        if not 0 <= item < self._n_classes:
            raise ValueError(f"All classes_for_class_based_metrics must be in range [0, {self._n_classes - 1}]. Given: {item}")
        return int(item)

    def _encode_labels(self, raw: Any, logits: tf.Tensor) -> tf.Tensor:
        encoded = labels.multi_hot(raw, logits, self._n_classes, self._vocabulary, self.name)
        return tf.cast(encoded, tf.float32)

    def _example_loss(self, encoded: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return losses.multi_label_cross_entropy(encoded, logits)

    def _prediction_functions(self) -> PredictionFunctions:
        return {
            **LOGITS,
            PredictionKeys.PROBABILITIES: lambda p: tf.sigmoid(p.logits),
            # The published meaning: the names of all classes, in the order of the probabilities, not the predicted ones.
            PredictionKeys.CLASSES: lambda p: all_classes(self._n_classes, self._vocabulary, p.logits),
        }

    def _metric_specs(self) -> list[MetricSpec]:
        probability = of_prediction(PredictionKeys.PROBABILITIES)
        specs = [
            *metrics.curve_areas(of_label, probability),
            *metrics.at_thresholds(self._thresholds, of_label, probability),
        ]
        for class_id in self._measured:
            name = self._vocabulary[class_id] if self._vocabulary else None
            at_class = partial(MetricKeys.at_class, class_id=class_id, class_name=name)
            label, own = _column(of_label, class_id), _column(probability, class_id)
            specs += [
                metrics.mean(at_class(MetricKeys.PROBABILITY_MEAN), own),
                *metrics.curve_areas(label, own, at_class),
            ]
        return specs

    def _signatures(self, predictions: Mapping[str, tf.Tensor]) -> dict[str, Signature]:
        return {
            SignatureKeys.CLASSIFY: Classify(predictions[PredictionKeys.PROBABILITIES], predictions[PredictionKeys.CLASSES]),
            SignatureKeys.PREDICT: Predict(predictions),
        }


def _column(values: Callable[[Batch], tf.Tensor], class_id: int) -> Callable[[Batch], tf.Tensor]:
    return lambda batch: values(batch)[..., class_id : class_id + 1]
