"""What our export wrote, read back by `tf.saved_model.load`: raw tensors and serialized examples, on either TensorFlow."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.e2e import every_head
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


def test_every_kind_of_head_answers_as_when_it_was_exported(models: Path) -> None:
    version = newest(models, "every_head")
    signatures = tf.saved_model.load(str(version)).signatures
    expected = np.load(version / "assets.extra" / every_head.EXPECTED)
    assert {name.partition(":")[0] for name in expected} == {name for name in signatures if not name.startswith("examples:")}
    for name, value in expected.items():
        signature, _, key = name.partition(":")
        answer = signatures[signature](x=tf.constant(every_head.inputs()["x"]))[key].numpy()
        if value.dtype.kind == "S":
            np.testing.assert_array_equal(answer.astype("S"), value)
        else:
            # The two TensorFlows multiply matrices in different orders.
            np.testing.assert_allclose(answer, value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_tensorflows_own_command_shows_every_signature(models: Path) -> None:
    version = newest(models, "every_head")
    command = Path(sys.executable).parent / "saved_model_cli"
    shown = subprocess.run(
        [command, "show", "--dir", version, "--tag_set", "serve"], capture_output=True, text=True, check=True
    )
    for signature in card(version)["signatures"]:
        assert f'SignatureDef key: "{signature}"' in shown.stdout
