"""A model whose every answer can be checked to the digit: what it answers is in its weights, and tells which weights.

`triple/value` is 3 x + 1,000,000 content, and `triple/content` is the content. `slow/value` is 3 x of the first x, after as
many turns of a loop as `steps` says, and shares a run with nobody.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.half_plus import save

NAME = "echo"
X_MAX = 8192
OF_CONTENT = 1_000_000
CARD = "assets.extra/heads.json"
VARIABLES = "variables/variables.data-00000-of-00001"


def value(x: int, content: int) -> int:
    """What `triple/value` is."""
    return 3 * x + OF_CONTENT * content


def export(folder: Path, content: int) -> None:
    """Writes the SavedModel and its card."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        table = [value(x, content) for x in range(X_MAX)]
        values = v1.get_variable("values", initializer=tf.constant(table, tf.int64))
        contents = v1.get_variable("contents", initializer=tf.constant(content, tf.int64))
        x, steps = (v1.placeholder(tf.int64, [None], name=name) for name in ("x", "steps"))
        triple, told = tf.gather(values, x), tf.fill(tf.shape(x), contents)
        (turns,) = tf.while_loop(lambda i: i < tf.reduce_max(steps), lambda i: (i + 1,), (tf.constant(0, tf.int64),))
        slow = tf.reshape(3 * x[0] + 0 * turns, [1])
        session.run(v1.global_variables_initializer())
        every = {"triple/value": triple, "triple/content": told, "slow/value": slow}
        own = {"value": triple, "content": told}
        save(
            session,
            folder,
            {
                "predict": ("predict", {"x": x, "steps": steps}, every),
                "serving_default": ("predict", {"x": x}, own),
                "triple/predict": ("predict", {"x": x}, own),
            },
        )
    write_card(folder)


def write_card(folder: Path, steps: int = 0) -> None:
    """Says what the files are now; with `steps`, the version takes long to warm up."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / CARD]
    card = {
        "schema_version": 1,
        "name": NAME,
        "version": 1,
        "default_head": "triple",
        "inputs": [
            {"name": "x", "dtype": "int64", "shape": [-1]},
            {"name": "steps", "dtype": "int64", "shape": [-1], "required": False, "missing": 0},
        ],
        "heads": [_head("triple", ("value", "content"), -1), _head("slow", ("value",), 1)],
        "example": {"x": 1, "steps": steps},
        "files": {
            path.relative_to(folder).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in files
        },
    }
    (folder / CARD).parent.mkdir(exist_ok=True)
    (folder / CARD).write_text(json.dumps(card))


def _head(name: str, keys: tuple[str, ...], rows: int) -> dict[str, Any]:
    tensors = [{"name": key, "dtype": "int64", "shape": [rows]} for key in keys]
    return {"name": name, "kind": "regression", "logits_dimension": 1, "keys": tensors}
