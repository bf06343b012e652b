"""The scan: checks every node of every graph and function of a SavedModel, also those that nothing reaches."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from service.models.scan import calls, files
from service.models.scan.findings import Finding, shown
from service.models.scan.graph import Graph, attribute, functions_in, values_in
from service.models.scan.operations import FILES, UNKNOWN, allowed, refused

ASSETS = "saved_model_assets"
"""Collection in which SavedModels of TensorFlow's first years list their assets."""
_RESOURCE, _VARIANT, _REFERENCE = 20, 21, 100
"""Numbers of `tensorflow.DataType`; a reference type adds the last one to the number of its values' type."""
_HANDLES = frozenset({_RESOURCE, _VARIANT, _RESOURCE + _REFERENCE, _VARIANT + _REFERENCE})


class Rule(NamedTuple):
    """The condition under which an operation is allowed: an attribute has this kind of value, and `accepts` it.

    `default`: whether the operation is allowed without the attribute.
    """

    attribute: str
    kind: str
    accepts: Callable[[Any], bool]
    reason: str
    default: bool = True


def _is_in_the_model(source: bytes) -> bool:
    return source in {b"", b"local://"} or source.startswith(b"bytes://")


_NO_HANDLES = "makes handles of resources from data"
_NO_DESCRIPTORS = "reads a file of descriptors"
_NO_MEMORY = "returns memory with data that others left in it"
RULES = {
    "Const": Rule("dtype", "type", lambda dtype: dtype not in _HANDLES, _NO_HANDLES),
    "ParseTensor": Rule("out_type", "type", lambda dtype: dtype not in _HANDLES, _NO_HANDLES),
    "DeserializeSparse": Rule("dtype", "type", lambda dtype: dtype not in _HANDLES, _NO_HANDLES),
    "DeserializeManySparse": Rule("dtype", "type", lambda dtype: dtype not in _HANDLES, _NO_HANDLES),
    "Restore": Rule("dt", "type", lambda dtype: dtype not in _HANDLES, _NO_HANDLES),
    "RestoreSlice": Rule("dt", "type", lambda dtype: dtype not in _HANDLES, _NO_HANDLES),
    "RestoreV2": Rule("dtypes", "list", lambda dtypes: _HANDLES.isdisjoint(dtypes.type), _NO_HANDLES),
    "Empty": Rule("init", "b", bool, _NO_MEMORY, default=False),
    "Eig": Rule("compute_v", "b", bool, _NO_MEMORY),
    "SelfAdjointEigV2": Rule("compute_v", "b", bool, _NO_MEMORY),
    "Svd": Rule("compute_uv", "b", bool, _NO_MEMORY),
    "FixedUnigramCandidateSampler": Rule("vocab_file", "s", lambda name: not name, "reads a file"),
    "DecodeProtoV2": Rule("descriptor_source", "s", _is_in_the_model, _NO_DESCRIPTORS),
    "EncodeProto": Rule("descriptor_source", "s", _is_in_the_model, _NO_DESCRIPTORS),
}


def scan(saved_model: Any) -> list[Finding]:
    """Return what only a trusted `SavedModel` may have, in the order of its graphs; empty for a harmless one."""
    return [finding for meta_graph in saved_model.meta_graphs for finding in _meta_graph(meta_graph)]


def _meta_graph(meta_graph: Any) -> Iterator[Finding]:
    library = meta_graph.graph_def.library
    bodies = [
        (None, meta_graph.graph_def.node),
        *((function.signature.name, function.node_def) for function in library.function),
    ]
    functions = {name for name, _ in bodies[1:]}
    yield from _repeated("function", (name for name, _ in bodies[1:]), None)
    yield from _repeated("node", (node.name for node in meta_graph.graph_def.node), None)
    yield from _library(library, functions)
    has_file_operations = False
    for function, nodes in bodies:
        for node in nodes:
            reason = _refused_operation(node, functions) or _refused_call(node, functions)
            if reason is not None:
                yield Finding(node.op, reason, node.name, function)
            has_file_operations = has_file_operations or node.op in FILES
    assets = assets_of(meta_graph)
    yield from (
        Finding("an asset", f"has the name {shown(name)}, which leaves the folder assets") for name in _leaving(assets.values())
    )
    graph = Graph(meta_graph)
    yield from calls.findings(graph)
    if has_file_operations:
        yield from files.findings(graph, meta_graph, assets)


def _library(library: Any, functions: set[str]) -> Iterator[Finding]:
    """Check names: functions named like operations, unknown gradients, nodes named like tensors, and repeated names."""
    for function in library.function:
        arguments = (argument.name for argument in function.signature.input_arg)
        names = [*arguments, *(node.name for node in function.node_def)]
        yield from _repeated("node or argument", names, function.signature.name)
        for name in names:
            if ":" in name:
                yield Finding(f"the name {shown(name)}", "is a tensor's name, and not a node's", None, function.signature.name)
    for name in sorted(functions & (allowed() | FILES)):
        yield Finding(f"a function named {shown(name)}", "has the name of an operation")
    for gradient in library.gradient:
        for name in (gradient.function_name, gradient.gradient_func):
            if name not in functions:
                of = shown(gradient.function_name)
                yield Finding(f"the gradient of {of}", f"names {shown(name)}, which is not a function of the model")


def assets_of(meta_graph: Any) -> dict[str, str]:
    """Return the tensors that are fed with the path of an asset → the file's name in the folder `assets`."""
    listed = meta_graph.asset_file_def
    if not listed and ASSETS in meta_graph.collection_def:
        listed = type(meta_graph)().asset_file_def
        for packed in meta_graph.collection_def[ASSETS].any_list.value:
            packed.Unpack(listed.add())
    return {asset.tensor_info.name: asset.filename for asset in listed}


def _refused_operation(node: Any, functions: Collection[str | None]) -> str | None:
    """Return why the node's operation is refused, None if it is allowed."""
    if node.op in allowed() or node.op in FILES:
        rule = RULES.get(node.op)
        return None if rule is None or _is_allowed_by(rule, attribute(node, rule.attribute)) else rule.reason
    if node.op in refused():
        return refused()[node.op]
    return None if node.op in functions else UNKNOWN


def _refused_call(node: Any, functions: Collection[str | None]) -> str | None:
    """Return why a function that the node names is refused: TensorFlow would run an operation of that name."""
    for value in node.attr.values():
        for name in functions_in(value):
            if name not in functions:
                return f"calls {shown(name)}, which is not a function of the model; an operation of that name would be run"
        if any(passed.WhichOneof("value") == "placeholder" for passed in values_in(value)):
            return "has an attribute that callers of its function set, for instance a function to call"
    return None


def _is_allowed_by(rule: Rule, value: Any) -> bool:
    """Return whether the rule accepts the attribute's value, None if absent; a value that callers set is never accepted."""
    if value is None:
        return rule.default
    return value.WhichOneof("value") == rule.kind and rule.accepts(getattr(value, rule.kind))


def _repeated(what: str, names: Iterable[str], function: str | None) -> Iterator[Finding]:
    """Return names that several members share: the scan could check one of them, and TensorFlow run another."""
    for name, times in Counter(names).items():
        if times > 1:
            yield Finding(f"the {what} name {shown(name)}", f"is used {times} times", None, function)


def _leaving(names: Iterable[str]) -> list[str]:
    """Return the file names that lead out of their folder."""
    paths = [(name, PurePosixPath(name)) for name in names]
    return [name for name, path in paths if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name]
