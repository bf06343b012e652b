"""A server with models for the tests of /v2: every datatype, several heads with a card, one plain signature, one that fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from service import Settings, create_app
from tests.service.conftest import FILMS_CARD, _serving, export_films, export_vectors, write_card

ADMIN_KEY = "an admin's key"
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
MAX_BODY_BYTES = 100_000

FIXED = {
    "BOOL": "bool",
    **{f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "FP16": "half",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "bfloat16",
}
"""The datatypes whose elements have one size, and TensorFlow's names of them."""


def export_echo(folder: Path, dtype: Any) -> None:
    """Gives back what it is given, under a plain signature's own names; no card."""
    import tensorflow as tf

    class Echo(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], dtype, name="x")])
        def serve(self, x):
            return {"y": tf.identity(x)}

    model = Echo()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})


def export_all(models: Path) -> None:
    import tensorflow as tf

    for version in ("1", "2"):
        export_films(models / "films" / version)
        write_card(models / "films" / version, FILMS_CARD | {"version": int(version)})
    (models / "models.toml").write_text("[models.films]\nversions = { all = true }\n")
    export_vectors(models / "vectors" / "7")
    for datatype, dtype in (FIXED | {"BYTES": "string"}).items():
        export_echo(models / f"echo_{datatype}" / "1", getattr(tf, dtype))


@contextmanager
def running(models: Path, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a server of that folder."""
    given = {"models": models, "compute_threads": 2, "max_body_bytes": MAX_BODY_BYTES, "admin_key": ADMIN_KEY}
    with _serving(create_app(Settings(**given | settings))) as client:
        yield client
