"""A SavedModel in memory: loads it, describes it, runs it. TensorFlow is imported here and in `devices`, in functions only.

The model is loaded into a `Session`, as TensorFlow Serving does it, so that its graph stays in C++. It is the graph that was
scanned: `tf.compat.v1.saved_model.load` would read the file again, and it may be another one by then. `tf.saved_model.load`
makes a Python graph of every signature and every function instead; a model with four heads then takes five times as long to
load and a call twice as long, and leaves 80,000 Python objects that every search for garbage looks at while all threads stop.

A request's outputs are fetched by the names of their tensors. TensorFlow computes what they need and nothing else: one head
costs one head, and all heads share one run of the trunk, also when they are outputs of several signatures. The values that
are fed are checked by the graph itself, not against the shapes that the signature declares.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from service.card import read_card
from service.devices import session_config
from service.discovery import TensorNames, example_row, layout
from service.errors import HeadserveError, ModelError, ModelLoadError, OutOfMemoryError, RejectedByModelError
from service.model_options import ComputeOptions
from service.parsing import features_by_tensor
from service.saved_model import read
from service.scan.files import INIT, INIT_COLLECTIONS
from service.scan.graph import tensor_name
from service.scan.rules import assets_of
from service.types import Array, InputSpec, ModelSpec, Output, SignatureSpec, SignatureTensors, TensorSpec
from service.wording import listed

MAX_GRAPHS = 64
"""Selections of outputs that a model keeps a pruned graph for; the least recently used goes first."""

TAG = "serve"
"""The graph of a SavedModel that is for serving."""

PATTERN = frozenset("*?[\\")
"""With these in it, TensorFlow takes the path of variables for a pattern, for the sake of its first format of them."""

INTERNAL = "__saved_model_"
"""How signatures begin that TensorFlow writes for its own loaders."""

IN_THE_CALLING_THREAD = -1
"""As `inter_op_thread_pool`: the ops run here rather than in a pool of threads, whose waking costs more than a small model."""


class Graph(NamedTuple):
    """What computes a selection of outputs: takes an array for each of `inputs`, and returns one for each of `fetched`."""

    inputs: tuple[TensorSpec, ...]
    call: Callable[..., Sequence[Array]]
    fetched: tuple[str, ...]


@dataclass(frozen=True)
class Servable:
    """A loaded version on one device; `run` may be called from several threads."""

    spec: ModelSpec
    device: str | None
    _tensors: Mapping[Output, str]
    _graph: Callable[[tuple[Output, ...]], Graph]
    _dtypes: Mapping[str, Any]
    _close: Callable[[], None]

    def run(self, inputs: Mapping[str, Array], outputs: tuple[Output, ...]) -> dict[Output, Array]:
        """The outputs asked for, computed in one graph run. Raises RejectedByModelError, ModelError."""
        with _translated(self.spec.name):
            graph = self._graph(tuple(sorted(outputs)))  # one for a selection, in whatever order it is asked for
            feeds = [self._fed(inputs[tensor.name], tensor.dtype) for tensor in graph.inputs]
            results = dict(zip(graph.fetched, graph.call(*feeds), strict=True))
            return {output: _array(results[self._tensors[output]]) for output in outputs}

    def close(self) -> None:
        """Frees the model. Nothing runs any more."""
        self._close()

    def _fed(self, array: Array, dtype: str) -> Array:
        wanted = self._dtypes[dtype]
        return array if array.dtype == wanted else array.astype(wanted)


def load(
    name: str,
    version: int,
    folder: Path,
    device: str | None = None,
    compute: ComputeOptions | None = None,
    saved_model: Any = None,
) -> Servable:
    """The SavedModel in `folder`, on that device (None: TensorFlow's choice).

    Args:
        name: the model's name.
        version: its version.
        folder: the version's folder: variables, assets and card come from there.
        device: such as `GPU:0`.
        compute: what the session computes with.
        saved_model: the protocol buffer to load; None: the folder's.

    Raises:
        ModelLoadError: also for a broken model card.
    """
    card = read_card(folder)
    session = None
    try:
        meta_graph = _serving(read(folder) if saved_model is None else saved_model)
        session, definitions, fetchable = _loaded(folder, meta_graph, device, compute or ComputeOptions())
        signatures = {key: _signature_spec(definition) for key, definition in definitions.items()}
        tensors: TensorNames = {
            key: {output: info.name for output, info in definition.outputs.items()} for key, definition in definitions.items()
        }
        dtypes = {tensor.dtype: _array_dtype(tensor.dtype) for signature in signatures.values() for tensor in signature.inputs}
        described = _signature_tensors(definitions, features_by_tensor(meta_graph))
        spec = replace(layout(name, version, signatures, card, tensors), tensors=described)
        if card is None and spec.features:
            spec = replace(spec, example=example_row(spec.features))
    except Exception as error:
        if session is not None:
            session.close()
        if isinstance(error, HeadserveError):
            raise
        # whatever a broken SavedModel makes TensorFlow raise
        raise ModelLoadError(f"TensorFlow cannot load {folder}: {_cleaned(str(error)) or type(error).__name__}") from error
    fetches = {spec.output(key, name): fetchable[tensor] for key, names in tensors.items() for name, tensor in names.items()}

    @lru_cache(MAX_GRAPHS)
    def graph(outputs: tuple[Output, ...]) -> Graph:
        needed = dict.fromkeys(spec.source(output)[0] for output in outputs)
        feeds = {info.name: (key, name) for key in needed for name, info in sorted(definitions[key].inputs.items())}
        inputs = tuple(_find(signatures[key].inputs, name) for key, name in feeds.values())
        fetched = tuple(dict.fromkeys(fetches[output] for output in outputs))
        return Graph(inputs, _callable(session, list(feeds), fetched), fetched)

    def close() -> None:
        graph.cache_clear()
        session.close()

    return Servable(spec, device, fetches, graph, dtypes, close)


def _serving(saved_model: Any) -> Any:
    """The MetaGraph that is for serving."""
    tags = [sorted(meta_graph.meta_info_def.tags) for meta_graph in saved_model.meta_graphs]
    if [TAG] not in tags:
        raise ModelLoadError(f"The SavedModel has no graph with the tag {TAG!r} alone; it has {listed(map(' '.join, tags))}.")
    return saved_model.meta_graphs[tags.index([TAG])]


def _loaded(
    folder: Path, meta_graph: Any, device: str | None, compute: ComputeOptions
) -> tuple[Any, dict[str, Any], dict[str, str]]:
    """The session, the definitions of the signatures that are for callers, and what to fetch for each output's tensor."""
    import tensorflow as tf

    if compute.jit_compile:  # on a CPU, XLA does not compile clusters by itself otherwise
        os.environ["TF_XLA_FLAGS"] = f"{os.environ.get('TF_XLA_FLAGS', '')} --tf_xla_cpu_global_jit".strip()
    with tf.Graph().as_default() as graph, tf.device(device):
        session = tf.compat.v1.Session(graph=graph, config=session_config(compute))
        try:
            _import(meta_graph, clear_devices=device is not None)
            _restore(session, meta_graph.saver_def, folder)
            _initialize(session, meta_graph, folder)
            named = sorted(meta_graph.signature_def.items())
            # Copies: a member of a protocol buffer keeps the whole of it in memory, constants and all.
            definitions = {key: deepcopy(definition) for key, definition in named if not key.startswith(INTERNAL)}
            names = {info.name for definition in definitions.values() for info in definition.outputs.values()}
            # A function call that is fetched itself is computed with all of its outputs; one behind an identity is inlined
            # and pruned. And an input that is an output as well can be fetched so.
            fetchable = {name: tf.identity(graph.get_tensor_by_name(name)).name for name in sorted(names)}
        except BaseException:
            session.close()
            raise
    return session, definitions, fetchable


def _import(meta_graph: Any, clear_devices: bool) -> None:
    """Puts the graph into the one that is made, and no collections: Python would make objects of them that nobody looked at."""
    import tensorflow as tf

    if clear_devices:
        for node in meta_graph.graph_def.node:
            node.device = ""
    producer = meta_graph.meta_info_def.stripped_op_list if meta_graph.meta_info_def.HasField("stripped_op_list") else None
    tf.graph_util.import_graph_def(meta_graph.graph_def, name="", producer_op_list=producer)


def _restore(session: Any, saver: Any, folder: Path) -> None:
    """Runs what reads the variables, and nothing else: a `Saver` of Python makes operations of its own where that fails."""
    if not saver.restore_op_name:
        return
    path = str(folder / "variables" / "variables")
    if PATTERN.intersection(path):
        raise ModelLoadError(f"{path} is a pattern to TensorFlow, which would read other files, too. Rename the folder.")
    session.run(saver.restore_op_name, {saver.filename_tensor_name: path})


def _initialize(session: Any, meta_graph: Any, folder: Path) -> None:
    """Runs what fills tables and the like, fed with the paths of the assets."""
    signatures, collections = meta_graph.signature_def, meta_graph.collection_def
    if INIT in signatures:
        names = [signatures[INIT].outputs[INIT].name]
    else:
        key = next((key for key in INIT_COLLECTIONS if key in collections), None)
        names = [] if key is None else list(collections[key].node_list.value)
    if len(names) > 1:
        raise ModelLoadError(f"The SavedModel has {len(names)} operations that initialize it, where one is expected.")
    feeds = {tensor: str(folder / "assets" / name) for tensor, name in assets_of(meta_graph).items()}
    for name in names:
        session.run(session.graph.as_graph_element(name), feeds)


def _callable(session: Any, feeds: Sequence[str], fetches: Sequence[str]) -> Callable[..., Sequence[Array]]:
    """What computes the tensors from arrays: `Session.run` without what it does in Python on every call.

    The method has had this underscore, and `tf.data` and Keras have relied on it, since TensorFlow 1.8.
    """
    from tensorflow.core.protobuf import config_pb2

    options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
    options.run_options.inter_op_thread_pool = IN_THE_CALLING_THREAD
    run: Callable[..., Sequence[Array]] = session._make_callable_from_options(options)
    return run


def _signature_spec(definition: Any) -> SignatureSpec:
    """Inputs and outputs in alphabetical order; a SavedModel keeps none."""
    return SignatureSpec(
        tuple(_tensor_spec(name, info) for name, info in sorted(definition.inputs.items())),
        tuple(_tensor_spec(name, info) for name, info in sorted(definition.outputs.items())),
    )


def _signature_tensors(
    definitions: Mapping[str, Any], features: Mapping[str, tuple[InputSpec, ...]]
) -> dict[str, SignatureTensors]:
    """What `SignatureDef`s say that their specs do not. `features`: what is read out of a tensor of the graph."""
    return {
        name: SignatureTensors(
            definition.method_name,
            {key: info.name for key, info in sorted(definition.inputs.items())},
            {key: info.name for key, info in sorted(definition.outputs.items())},
            {
                key: features[tensor_name(info.name)]
                for key, info in definition.inputs.items()
                if tensor_name(info.name) in features
            },
        )
        for name, definition in definitions.items()
    }


def _array(value: Any) -> Array:
    """What a session returns, which is no array where there are no dimensions."""
    return value if isinstance(value, np.ndarray) else np.array(value, object if isinstance(value, bytes) else None)


def _tensor_spec(name: str, info: Any) -> TensorSpec:
    """The tensor that a `TensorInfo` describes; old exports say nothing of its shape."""
    import tensorflow as tf

    if info.WhichOneof("encoding") != "name":
        raise ModelLoadError(f"Tensor {name!r} of a signature is sparse or composite; export a dense one.")
    known = info.HasField("tensor_shape") and not info.tensor_shape.unknown_rank
    shape = tuple(dim.size for dim in info.tensor_shape.dim) if known else None
    return TensorSpec(name, tf.dtypes.as_dtype(info.dtype).base_dtype.name, shape)


def _array_dtype(dtype: str) -> Any:
    """NumPy's dtype of the arrays that a tensor is fed with."""
    import tensorflow as tf

    try:
        return np.dtype(tf.dtypes.as_dtype(dtype).as_numpy_dtype)
    except KeyError:
        raise ModelLoadError(f"An input of a signature is a {dtype}, which no request can give; export a tensor.") from None


def _find(tensors: Sequence[TensorSpec], name: str) -> TensorSpec:
    return next(tensor for tensor in tensors if tensor.name == name)


@contextmanager
def _translated(model: str) -> Iterator[None]:
    """Turns TensorFlow's errors into ours, without its stack traces and node names."""
    import tensorflow as tf

    try:
        yield
    except UnicodeDecodeError as error:  # TensorFlow quotes the input, and its Python half fails on bytes that are no UTF-8
        raise RejectedByModelError(f"Model {model!r}: {_cleaned(error.object.decode(errors='replace'))}") from error
    except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
        raise RejectedByModelError(f"Model {model!r} refused the values: {_cleaned(error.message)}") from error
    except tf.errors.ResourceExhaustedError as error:
        raise OutOfMemoryError(f"Model {model!r} ran out of memory; send fewer rows at once.") from error
    except tf.errors.OpError as error:
        raise ModelError(f"Model {model!r} failed: {_cleaned(error.message)}") from error


_NOISE = re.compile(r"\{\{(function_node|node) [^}]*\}\}|\[\[.*?\]\]|\[Op:[^\]]*\](?:\s+name:)?", re.DOTALL)
_FRAMING = re.compile(
    r"^(Graph execution error:|Detected at node .*|Original stack trace for .*|"
    r"<stack traces unavailable>|\(\d+\) .*most recent call last.*|File \".*"
    r"|Traceback .*|\d+ root error\(s\) found\.|\d+ successful operations\.|\d+ derived errors ignored\.)$"
)


def _cleaned(message: str) -> str:
    """TensorFlow's message on one line, without graph names, stack traces and framing."""
    lines = (line.strip() for line in _NOISE.sub("", message).splitlines())
    text = " ".join(line for line in lines if line and not _FRAMING.match(line))
    return text[:500] or "no reason given"
