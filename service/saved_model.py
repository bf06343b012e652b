"""What the file `saved_model.pb` says and `tf.saved_model.load` does not: methods of signatures, and their tensors' names."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from service.discovery import SERVING_DEFAULT
from service.types import SignatureTensors

FILE_NAME = "saved_model.pb"
SERVING_TAG = "serve"


def read_proto(folder: Path) -> Any | None:
    """The protocol buffer; None where the model is kept in another format."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / FILE_NAME
    return saved_model_pb2.SavedModel.FromString(path.read_bytes()) if path.is_file() else None


def signature_tensors(proto: Any | None, signatures: Iterable[str]) -> Mapping[str, SignatureTensors]:
    """The tensors of the signatures, of the first graph that has them all; nothing where there is none."""
    names = set(signatures)
    graphs = [graph for graph in (proto.meta_graphs if proto is not None else ()) if names <= set(graph.signature_def)]
    serving = [graph for graph in graphs if SERVING_TAG in graph.meta_info_def.tags or SERVING_DEFAULT in graph.signature_def]
    return {name: _tensors(serving[0].signature_def[name]) for name in names} if serving else {}


def _tensors(signature: Any) -> SignatureTensors:
    return SignatureTensors(
        signature.method_name,
        {name: info.name for name, info in sorted(signature.inputs.items())},
        {name: info.name for name, info in sorted(signature.outputs.items())},
    )
