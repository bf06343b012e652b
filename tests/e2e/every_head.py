"""Exports a model with every kind of head, and what it answered when it was exported.

    python -m tests.e2e.every_head MODELS

`make test` and `make test-newest` read it back, on the TensorFlow that wrote it and on the newest.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 6
EXPECTED = "expected.npz"


def inputs() -> dict[str, np.ndarray]:
    """The tensors that the model is asked with."""
    rng = np.random.default_rng(3)
    return {"x": rng.normal(size=(ROWS, 4)).astype(np.float32)}


def main(models: Path) -> None:
    """Trains one step, exports to `<models>/every_head/<version>` and keeps the answers beside the model's card."""
    import tensorflow as tf

    import heads

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        head = heads.MultiHead(
            [
                heads.MultiClassHead(3, label_vocabulary=["low", "mid", "high"], name="level"),
                heads.MultiLabelHead(2, name="tags"),
                heads.BinaryClassHead(name="sold"),
                heads.RegressionHead(2, name="place"),
                heads.PoissonRegressionHead(name="count"),
                heads.LogisticRegressionHead(name="share"),
                heads.MultiHead([heads.BinaryClassHead(name="a"), heads.RegressionHead(name="b")]),
            ]
        )
        kernel = tf.Variable(tf.random.stateless_normal([4, head.logits_dimension], [1, 2]))
        return head.create_estimator_spec(
            features, mode, features["x"] @ kernel, labels, optimizer="sgd", trainable_variables=[kernel]
        )

    def rows() -> tf.data.Dataset:
        zeros = np.zeros((ROWS, 1), np.float32)
        labels = {
            "level": np.array([["mid"]] * ROWS),
            "tags": np.zeros((ROWS, 2)),
            "sold": zeros,
            "place": np.zeros((ROWS, 2)),
            "count": zeros,
            "share": zeros,
            "a_b": {"a": zeros, "b": zeros},
        }
        return tf.data.Dataset.from_tensor_slices((inputs(), labels)).batch(ROWS)

    with tempfile.TemporaryDirectory() as run:
        estimator = tf.estimator.Estimator(model_fn, run)
        estimator.train(rows, steps=1)
        version = heads.export(estimator, models, "every_head", {"x": tf.io.FixedLenFeature([4], tf.float32)})
    signatures = tf.saved_model.load(str(version)).signatures
    tensors = {name: tf.constant(value) for name, value in inputs().items()}
    answers = {
        f"{signature}:{key}": value.numpy().astype("S") if value.dtype == tf.string else value.numpy()
        for signature in signatures
        if not signature.startswith("examples:")
        for key, value in signatures[signature](**tensors).items()
    }
    np.savez(version / "assets.extra" / EXPECTED, **answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
