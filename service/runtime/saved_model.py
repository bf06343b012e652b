"""Reads and describes the file of a SavedModel, which is later scanned and loaded; TensorFlow is imported lazily."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import ModelLoadError
from service.messages import listed
from service.models.card import Card
from service.models.discovery import example_row, layout
from service.models.options import HeadOptions
from service.models.scan import Finding, scan
from service.models.scan.files import SAME
from service.models.scan.graph import Graph, TooTangledError, attribute, data_inputs, tensor_name
from service.types import InputSpec, ModelSpec, SignatureSpec, SignatureTensors, TensorSpec

BINARY, TEXT = "saved_model.pb", "saved_model.pbtxt"
"""Names of the file; if both exist, the first one is used, as by TensorFlow."""

TAG = "serve"
"""The tag of the graph to serve."""

INTERNAL = "__saved_model_"
"""The prefix of signatures that TensorFlow writes for its own loaders."""

PARSE_V1, PARSE_V2 = "ParseExample", "ParseExampleV2"
"""The operations that parse `tf.Example`s; their inputs are

    ParseExample(serialized, names, sparse keys, one by one, dense keys, one by one, dense defaults)
    ParseExampleV2(serialized, names, all sparse keys, all dense keys, all ragged keys, dense defaults)
"""

DTYPES = {1: "float32", 7: "string", 9: "int64"}
"""The dtypes of features, by the numbers of `tensorflow.DataType`."""


def read(folder: Path) -> Any:
    """Return the `SavedModel` in the folder. Raises ModelLoadError if the file is missing or not a SavedModel."""
    from google.protobuf import message, text_format
    from tensorflow.core.protobuf import saved_model_pb2

    path = next((folder / name for name in (BINARY, TEXT) if (folder / name).is_file()), folder / BINARY)
    saved_model = saved_model_pb2.SavedModel()
    try:
        content = path.read_bytes()
        if path.name == BINARY:
            saved_model.ParseFromString(content)
        else:
            text_format.Parse(content.decode(), saved_model)
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read: {error.strerror}.") from error
    except (message.DecodeError, text_format.ParseError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"{path} is not a SavedModel, or only a part of one: {str(error)[:200]}.") from error
    if not saved_model.meta_graphs:
        raise ModelLoadError(f"{path} is a SavedModel without a graph.")
    return saved_model


def scanned(saved_model: Any, folder: Path) -> list[Finding]:
    """Return what an untrusted SavedModel must not contain. Raises ModelLoadError if its content is broken."""
    from google.protobuf import message

    try:
        found = scan(saved_model)
    except (message.DecodeError, ValueError) as error:
        raise ModelLoadError(f"The SavedModel in {folder} is broken: {str(error)[:200]}.") from error
    if (folder / BINARY).exists() and (folder / TEXT).exists():
        found.append(Finding(f"the file {TEXT}", f"is another model beside {BINARY}, which is the one that is loaded"))
    return found


def serving(saved_model: Any) -> Any:
    """Return the MetaGraph with the tag `serve`. Raises ModelLoadError if there is none."""
    tags = [sorted(meta_graph.meta_info_def.tags) for meta_graph in saved_model.meta_graphs]
    if [TAG] not in tags:
        raise ModelLoadError(f"The SavedModel has no graph with the tag {TAG!r} alone; it has {listed(map(' '.join, tags))}.")
    return saved_model.meta_graphs[tags.index([TAG])]


def served_signatures(meta_graph: Any) -> dict[str, Any]:
    """Return the `SignatureDef` of each signature by name, without those that TensorFlow writes for its own loaders."""
    return {key: definition for key, definition in sorted(meta_graph.signature_def.items()) if not key.startswith(INTERNAL)}


def signature_specs(meta_graph: Any) -> dict[str, SignatureSpec]:
    """Return inputs and outputs of each served signature. Raises ModelLoadError for a tensor that cannot be served."""
    served = served_signatures(meta_graph)
    return {key: SignatureSpec(_specs(signature.inputs), _specs(signature.outputs)) for key, signature in served.items()}


def described(
    name: str, version: int, meta_graph: Any, card: Card | None, heads: Mapping[str, HeadOptions] | None = None
) -> ModelSpec:
    """Return the model with the dtypes that the signatures declare; `heads` are those of `models.toml`.

    Raises ModelLoadError for a broken signature or card, or for heads that do not fit.
    """
    signatures, features = signature_specs(meta_graph), features_by_tensor(meta_graph)
    tensors = {key: _signature_tensors(signature, features) for key, signature in served_signatures(meta_graph).items()}
    outputs = {key: its.outputs for key, its in tensors.items()}
    spec = replace(layout(name, version, signatures, card, outputs, heads), tensors=tensors)
    return replace(spec, example=example_row(spec.features)) if card is None and spec.features else spec


def array_dtype(dtype: str) -> Any:
    """Return NumPy's dtype for arrays that are fed to a tensor of this dtype. Raises ModelLoadError if there is none."""
    import tensorflow as tf

    try:
        return np.dtype(tf.dtypes.as_dtype(dtype).as_numpy_dtype)
    except KeyError:
        raise ModelLoadError(f"An input of a signature is a {dtype}, which no request can give; export a tensor.") from None


def _specs(infos: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    """Return the tensors in alphabetical order, because a SavedModel stores no order."""
    return tuple(_tensor_spec(name, info) for name, info in sorted(infos.items()))


def _tensor_spec(name: str, info: Any) -> TensorSpec:
    """Return the tensor that a `TensorInfo` describes; old exports have no shapes."""
    import tensorflow as tf

    if info.WhichOneof("encoding") != "name":
        raise ModelLoadError(f"Tensor {name!r} of a signature is sparse or composite; export a dense one.")
    try:
        dtype = tf.dtypes.as_dtype(info.dtype).base_dtype.name
    except TypeError:
        raise ModelLoadError(
            f"A signature declares no valid dtype for tensor {name!r}, only the number {info.dtype}. "
            "A server uses the dtype of the graph; to have it declared, export the model again."
        ) from None
    known = info.HasField("tensor_shape") and not info.tensor_shape.unknown_rank
    return TensorSpec(name, dtype, tuple(dim.size for dim in info.tensor_shape.dim) if known else None)


def _signature_tensors(signature: Any, features: Mapping[str, tuple[InputSpec, ...]]) -> SignatureTensors:
    """Return the names in the graph; `features` are those that the graph parses out of each of its tensors."""
    read = {key: features.get(tensor_name(info.name)) for key, info in signature.inputs.items()}
    return SignatureTensors(
        signature.method_name,
        {key: info.name for key, info in sorted(signature.inputs.items())},
        {key: info.name for key, info in sorted(signature.outputs.items())},
        {key: found for key, found in read.items() if found is not None},
    )


def features_by_tensor(meta_graph: Any) -> dict[str, tuple[InputSpec, ...]]:
    """Return, for each tensor that holds examples, the features parsed from it. The tensor `x:0` is named `x`.

    A sparse or ragged feature has the shape `[-1]`. Features whose keys are computed are left out; a graph that takes too long
    to search has none.
    """
    bodies = (meta_graph.graph_def.node, *(function.node_def for function in meta_graph.graph_def.library.function))
    if not any(node.op in {PARSE_V1, PARSE_V2} for nodes in bodies for node in nodes):
        return {}
    try:
        return _features(Graph(meta_graph))
    except TooTangledError:
        return {}


def _features(graph: Graph) -> dict[str, tuple[InputSpec, ...]]:
    found: dict[str, dict[str, InputSpec]] = defaultdict(dict)
    for function, scope in graph.scopes.items():
        for node in scope.nodes.values():
            if node.op not in {PARSE_V1, PARSE_V2}:
                continue
            features = {feature.name: feature for feature in _Parser(graph, function, node).features()}
            for place, tensor in graph.origins((function, node.input[0]), SAME):
                if place is None:
                    graph.step(len(features))
                    found[tensor] |= features
    return {tensor: tuple(features.values()) for tensor, features in found.items()}


class _Parser:
    """A node that parses examples."""

    def __init__(self, graph: Graph, function: str | None, node: Any):
        self._graph, self._function, self._node = graph, function, node
        self._inputs = list(data_inputs(node))[2:]

    def features(self) -> Iterator[InputSpec]:
        """The features that the node parses."""
        loose_types = self._types("sparse_types") + self._types("ragged_value_types")
        dense_types, shapes = self._types("Tdense"), attribute(self._node, "dense_shapes")
        if self._node.op == PARSE_V1:
            middle, last = len(loose_types), len(loose_types) + len(dense_types)
            loose, dense, defaults = self._inputs[:middle], self._inputs[middle:last], self._inputs[last:]
        else:
            sparse, all_dense, ragged, *defaults = self._inputs
            loose, dense = [sparse, ragged], [all_dense]
        if shapes is None or None in map(self._constant, (*loose, *dense)):
            return
        for name, number in zip(self._strings(loose), loose_types, strict=False):
            yield InputSpec(name, DTYPES[number], (-1,), required=False)
        for name, number, shape, default in zip(self._strings(dense), dense_types, shapes.list.shape, defaults, strict=False):
            sizes = tuple(dim.size for dim in shape.dim)
            # A first dimension of unknown size is padded. Otherwise the default applies; an empty one means that there is none.
            yield InputSpec(name, DTYPES[number], sizes, required=-1 not in sizes[:1] and self._is_empty(default))

    def _types(self, name: str) -> list[int]:
        value = attribute(self._node, name)
        return [] if value is None else list(value.list.type)

    def _constant(self, tensor: str) -> Any:
        """Return the `TensorProto` of a constant tensor; None if the tensor may have other values."""
        origins = self._graph.origins((self._function, tensor), SAME)
        node = self._graph.node(next(iter(origins))) if len(origins) == 1 else None
        return attribute(node, "value").tensor if node is not None and node.op == "Const" else None

    def _strings(self, tensors: Iterable[str]) -> Iterator[str]:
        return (value.decode(errors="replace") for tensor in tensors for value in self._constant(tensor).string_val)

    def _is_empty(self, tensor: str) -> bool:
        constant = self._constant(tensor)
        return constant is not None and any(not dim.size for dim in constant.tensor_shape.dim)
