"""Models of TensorFlow's first years, which `tf.saved_model.load` refuses.

Before version 24 of the graph format, a placeholder without a shape was written with the shape of a scalar, and exporters left
the shapes of inputs and outputs out. Both meant: any shape. Today both are taken at their word.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service.saved_model import FILE_NAME

SHAPES_SINCE = 24
"""The version of the graph format that tells a scalar from any shape."""


@contextmanager
def loadable(folder: Path, proto: Any | None) -> Iterator[Path]:
    """The folder to load; for an old model a copy that says what it means, gone after the block. Nothing else is written.

    Args:
        folder: the version's folder.
        proto: its `saved_model.pb`, which stays as it is.
    """
    if proto is None or not any(_is_old(graph) for graph in proto.meta_graphs):
        yield folder
        return
    with TemporaryDirectory(prefix="headserve-") as temporary:
        copy = Path(temporary)
        for entry in folder.resolve().iterdir():
            if entry.name != FILE_NAME:
                (copy / entry.name).symlink_to(entry)
        (copy / FILE_NAME).write_bytes(_modern(proto).SerializeToString())
        yield copy


def _modern(proto: Any) -> Any:
    """A copy in which shapes that are not known say so."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    for graph in filter(_is_old, copy.meta_graphs):
        for signature in graph.signature_def.values():
            for info in (*signature.inputs.values(), *signature.outputs.values()):
                if not info.HasField("tensor_shape"):
                    info.tensor_shape.unknown_rank = True
        for node in graph.graph_def.node:
            shape = node.attr["shape"].shape if node.op == "Placeholder" else None
            if shape is not None and not shape.dim:
                shape.unknown_rank = True
    return copy


def _is_old(graph: Any) -> bool:
    return bool(graph.graph_def.versions.producer < SHAPES_SINCE and graph.graph_def.node)
