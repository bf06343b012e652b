"""What our export wrote, read back by `tf.saved_model.load`: raw tensors and serialized examples, on either TensorFlow."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.e2e.conftest import card, newest
from tests.e2e.test_serve import FILMS, in_process


def serialized(film: dict[str, object]) -> bytes:
    features = {}
    for key, value in film.items():
        if isinstance(value, str):
            features[key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        elif value is not None:
            features[key] = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def test_serving_default_is_the_first_head_for_raw_tensors_and_for_examples(models: Path) -> None:
    everything = in_process(models, "movies")
    raw = in_process(models, "movies", "serving_default")
    np.testing.assert_array_equal(raw["scores"], everything["genres/probabilities"])
    np.testing.assert_array_equal(raw["classes"], everything["genres/classes"])

    signatures = tf.saved_model.load(str(newest(models, "movies"))).signatures
    from_examples = signatures["examples:serving_default"](inputs=tf.constant([serialized(film) for film in FILMS]))
    np.testing.assert_array_equal(from_examples["scores"], raw["scores"])
    np.testing.assert_array_equal(from_examples["classes"], raw["classes"])


def test_every_signature_of_the_card_is_there(models: Path) -> None:
    version = newest(models, "movies")
    signatures = tf.saved_model.load(str(version)).signatures
    assert set(signatures) == set(card(version)["signatures"])
    for head in ("genres", "mpaa", "rating", "popular"):
        assert {head, f"{head}/predict", f"examples:{head}"} <= set(signatures)
