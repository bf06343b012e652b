"""Exports models with tf.estimator alone, none of headserve's training: canned estimators, as its users export them.

    python -m tests.e2e.canned MODELS

Each takes serialized `tf.Example`s, and keeps what the estimator itself predicted beside the SavedModel.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

EXPECTED = "expected.json"
PLACES = ["river", "hill", "town"]
EXAMPLES: list[dict[str, Any]] = [
    {"x": [0.5, -1.0], "place": "hill"},
    {"x": [2.0, 3.5], "place": "town"},
    {"x": [-0.25, 0.0], "place": "river"},
    {"x": [1.0, 1.0], "place": "elsewhere"},
]


def main(models: Path) -> None:
    """Trains and exports `canned_classifier`, `canned_regressor` and `canned_heads`, version 1 each."""
    import tensorflow as tf

    columns = [
        tf.feature_column.numeric_column("x", shape=(2,)),
        tf.feature_column.indicator_column(tf.feature_column.categorical_column_with_vocabulary_list("place", PLACES)),
    ]
    features = {name: np.array([example[name] for example in EXAMPLES]) for name in EXAMPLES[0]}
    level = np.array([["low"], ["high"], ["low"], ["mid"]])
    price = np.array([[1.0], [7.5], [0.5], [2.0]], np.float32)
    options: dict[str, Any] = {"feature_columns": columns, "hidden_units": [4]}
    vocabulary = ["low", "mid", "high"]
    heads = tf.estimator.MultiHead(
        [tf.estimator.MultiClassHead(3, label_vocabulary=vocabulary, name="level"), tf.estimator.RegressionHead(name="price")]
    )

    def export(name: str, make: Any, labels: Any) -> None:
        def rows() -> tf.data.Dataset:
            return tf.data.Dataset.from_tensor_slices((features, labels)).batch(len(EXAMPLES)).repeat()

        with tempfile.TemporaryDirectory() as run:
            estimator = make(config=tf.estimator.RunConfig(run, tf_random_seed=1))
            estimator.train(rows, steps=20)
            receiver = tf.estimator.export.build_parsing_serving_input_receiver_fn(
                tf.feature_column.make_parse_example_spec(columns)
            )
            exported = Path(estimator.export_saved_model(f"{run}/export", receiver).decode())
            predictions = list(_first(estimator.predict(rows), len(EXAMPLES)))
            (exported / "assets.extra").mkdir()
            (exported / "assets.extra" / EXPECTED).write_text(json.dumps([_plain(row) for row in predictions]))
            version = models / name / "1"
            version.parent.mkdir(parents=True)
            shutil.move(exported, version)

    classifier = {"n_classes": 3, "label_vocabulary": vocabulary}
    export("canned_classifier", lambda config: tf.estimator.DNNClassifier(**options, **classifier, config=config), level)
    export("canned_regressor", lambda config: tf.estimator.DNNRegressor(**options, config=config), price)
    labels = {"level": level, "price": price}
    export("canned_heads", lambda config: tf.estimator.DNNEstimator(heads, **options, config=config), labels)


def _first(rows: Iterable[Any], count: int) -> Iterable[Any]:
    return (row for row, _ in zip(rows, range(count), strict=False))


def _plain(row: dict[Any, np.ndarray]) -> dict[str, Any]:
    """A row in JSON; a pair of head and key becomes `head/key`."""
    return {
        "/".join(key) if isinstance(key, tuple) else key: value.astype(str).tolist()
        if value.dtype == object
        else value.tolist()
        for key, value in row.items()
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
