"""A TensorFlow `Session` that holds the graph of a SavedModel, with its variables restored and its tables initialized.

A session runs the very graph that was scanned and keeps it in C++, as TensorFlow Serving does. The alternatives are worse:
`tf.compat.v1.saved_model.load` reads the file a second time, after the scan. `tf.saved_model.load` does so as well, runs
functions of the file that the scan takes for unreachable, and builds Python graphs: loading takes five times as long, a call
twice as long, and 80,000 Python objects stay for every garbage collection to traverse.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from service.errors import ModelLoadError
from service.models.options import ComputeOptions
from service.models.scan.files import INIT, INIT_COLLECTIONS
from service.models.scan.rules import assets_of
from service.runtime.devices import enable_xla_on_cpu, session_config
from service.runtime.saved_model import served_signatures
from service.types import Array

PATTERN = frozenset("*?[\\")
"""Characters that make TensorFlow read the path of the variables as a pattern that may match several files."""

IN_THE_CALLING_THREAD = -1
"""The value of `inter_op_thread_pool` with which ops run in the calling thread: for a small model, waking a thread of the
pool costs more than the computation."""


def opened(folder: Path, meta_graph: Any, device: str | None, compute: ComputeOptions) -> tuple[Any, dict[str, str]]:
    """Return the session, and for each output of a signature the tensor to fetch in its place.

    The dtypes that the signatures in `meta_graph` declare are replaced by those of the graph: call `described` after this.
    """
    import tensorflow as tf

    enable_xla_on_cpu()
    signatures = served_signatures(meta_graph).values()
    with tf.Graph().as_default() as graph, tf.device(device):
        session = tf.compat.v1.Session(graph=graph, config=session_config(compute))
        try:
            _import(meta_graph, clear_devices=device is not None)
            _restore(session, meta_graph.saver_def, folder)
            _assign_originals(session, meta_graph.graph_def)
            _initialize(session, meta_graph, folder)
            _set_dtypes(graph, signatures)
            outputs = {info.name for its in signatures for info in its.outputs.values() if _is_dense(info)}
            # A function call that is fetched directly computes all of its outputs; one behind an identity is inlined and
            # pruned. An identity also makes an input fetchable that is an output as well.
            fetchable = {name: tf.identity(graph.get_tensor_by_name(name)).name for name in sorted(outputs)}
        except BaseException:
            session.close()
            raise
    return session, fetchable


def _set_dtypes(graph: Any, signatures: Iterable[Any]) -> None:
    """Replace the dtypes that signatures declare by those of the graph: old exports declare wrong ones, or none."""
    for signature in signatures:
        for info in filter(_is_dense, (*signature.inputs.values(), *signature.outputs.values())):
            info.dtype = graph.get_tensor_by_name(info.name).dtype.base_dtype.as_datatype_enum


def _is_dense(info: Any) -> bool:
    return bool(info.WhichOneof("encoding") == "name")


def _import(meta_graph: Any, clear_devices: bool) -> None:
    """Import the graph without its collections: TensorFlow would make Python objects of them that the scan has not seen."""
    import tensorflow as tf

    if clear_devices:
        for node in meta_graph.graph_def.node:
            node.device = ""
    producer = meta_graph.meta_info_def.stripped_op_list if meta_graph.meta_info_def.HasField("stripped_op_list") else None
    tf.graph_util.import_graph_def(meta_graph.graph_def, name="", producer_op_list=producer)


def _restore(session: Any, saver: Any, folder: Path) -> None:
    """Run the restore operation and nothing else: Python's `Saver` adds operations of its own if that fails."""
    if not saver.restore_op_name:
        return
    path = str(folder / "variables" / "variables")
    if PATTERN.intersection(path):
        raise ModelLoadError(f"{path} is a pattern to TensorFlow, which would read other files, too. Rename the folder.")
    session.run(saver.restore_op_name, {saver.filename_tensor_name: path})


def _assign_originals(session: Any, graph_def: Any) -> None:
    """Assign the value of a restored copy to each variable that has no value itself.

    `tf.saved_model.save` of a Keras 3 model writes such a copy of each variable: the saver restores the copy, the signatures
    read the original. The copy's initializer, which nothing runs, shows which variable it is a copy of.
    """
    import tensorflow as tf

    pairs = [tuple(map(session.graph.as_graph_element, pair)) for pair in _copies(graph_def)]
    if not pairs:
        return
    has_value = session.run([[tf.raw_ops.VarIsInitializedOp(resource=handle) for handle in pair] for pair in pairs])
    dtypes = {node.name: node.attr["dtype"].type for node in graph_def.node if node.op == "VarHandleOp"}
    assignments = []
    for (original, copy), (original_has_value, copy_has_value) in zip(pairs, has_value, strict=True):
        if copy_has_value and not original_has_value:
            value = tf.raw_ops.ReadVariableOp(resource=copy, dtype=dtypes[copy.op.name])
            assignments.append(tf.raw_ops.AssignVariableOp(resource=original, value=value))
    session.run(assignments)


def _copies(graph_def: Any) -> Iterator[tuple[str, str]]:
    """Yield the handles of (original, copy) for every variable whose initializer reads another variable."""
    nodes = {node.name: node for node in graph_def.node}
    for node in graph_def.node:
        if node.op != "AssignVariableOp":
            continue
        copy, read = (nodes.get(name) for name in node.input[:2])
        if copy is not None and copy.op == "VarHandleOp" and read is not None and read.op == "ReadVariableOp":
            original = nodes.get(read.input[0])
            if original is not None and original.op == "VarHandleOp":
                yield f"{original.name}:0", f"{copy.name}:0"


def _initialize(session: Any, meta_graph: Any, folder: Path) -> None:
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


def callable_of(session: Any, feeds: Sequence[str], fetches: Sequence[str]) -> Callable[..., Sequence[Array]]:
    """Return a function from arrays for `feeds` to arrays of `fetches`; it skips what `Session.run` does in Python each call.

    The private method that it uses exists since TensorFlow 1.8, and `tf.data` and Keras rely on it.
    """
    from tensorflow.core.protobuf import config_pb2

    options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
    options.run_options.inter_op_thread_pool = IN_THE_CALLING_THREAD
    run: Callable[..., Sequence[Array]] = session._make_callable_from_options(options)
    return run
