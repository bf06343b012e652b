"""The published names of predictions, metrics, signatures and loss reductions.

These strings are what users and their clients match on; nothing else in the package spells them out, and the two functions at
the end are the only places where a name is put together with a head's.
"""

import re
from typing import Final


class PredictionKeys:
    """Keys of the dictionaries that `Head.predictions` returns."""

    LOGITS: Final = "logits"
    LOGISTIC: Final = "logistic"
    PROBABILITIES: Final = "probabilities"
    CLASS_IDS: Final = "class_ids"
    CLASSES: Final = "classes"
    ALL_CLASS_IDS: Final = "all_class_ids"
    ALL_CLASSES: Final = "all_classes"
    PREDICTIONS: Final = "predictions"


class MetricKeys:
    """Keys of the dictionaries that `Head.metrics` returns, before the head's name is added."""

    LOSS: Final = "loss"
    LOSS_MEAN: Final = "average_loss"
    LOSS_REGULARIZATION: Final = "regularization_loss"
    ACCURACY: Final = "accuracy"
    ACCURACY_BASELINE: Final = "accuracy_baseline"
    PRECISION: Final = "precision"
    RECALL: Final = "recall"
    AUC: Final = "auc"
    AUC_PR: Final = "auc_precision_recall"
    LABEL_MEAN: Final = "label/mean"
    PREDICTION_MEAN: Final = "prediction/mean"
    PROBABILITY_MEAN: Final = "probability_mean"

    @staticmethod
    def at_threshold(key: str, threshold: str) -> str:
        """`accuracy/positive_threshold_0.5` for one metric at one threshold, written as `threshold_names` gives it."""
        return f"{key}/positive_threshold_{threshold}"

    @staticmethod
    def at_class(key: str, class_id: int, class_name: str | None) -> str:
        """`auc/class2`, or `auc/<name>` for a class that has one."""
        return f"{key}/{class_name}" if class_name is not None else f"{key}/class{class_id:d}"


class SignatureKeys:
    """Names of SavedModel signatures; `<head>` and `<head>/<kind>` are made with `output_key`."""

    DEFAULT: Final = "serving_default"
    CLASSIFY: Final = "classification"
    REGRESS: Final = "regression"
    PREDICT: Final = "predict"


class Reduction:
    """How `Head.loss` turns elementwise losses into one number: the values of `tf.losses.Reduction` that a head accepts."""

    AUTO: Final = "auto"
    SUM: Final = "sum"
    SUM_OVER_BATCH_SIZE: Final = "sum_over_batch_size"

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """The accepted values."""
        return (cls.AUTO, cls.SUM, cls.SUM_OVER_BATCH_SIZE)

    @classmethod
    def is_mean(cls, reduction: str) -> bool:
        """Whether `reduction` divides by the number of elements."""
        return reduction != cls.SUM


def scope_name(name: str | None) -> str:
    """A scope for the operations of head `name`: the name, with what no scope may hold replaced."""
    scope = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name or "head")
    return scope if re.match(r"[A-Za-z0-9.]", scope) else f"head{scope}"


def metric_key(key: str, head: str | None) -> str:
    """`<key>/<head>`: the name of a metric or summary; just `<key>` for a head without a name."""
    return f"{key}/{head}" if head else key


def output_key(head: str | None, key: str) -> str:
    """`<head>/<key>`: the name of a signature, of an output of `predict`, or of a head within a nested `MultiHead`."""
    return f"{head}/{key}" if head else key
