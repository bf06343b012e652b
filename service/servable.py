"""A SavedModel in memory: loads it, describes it, runs it.

TensorFlow is imported here, in `devices`, `saved_model` and `warmup`, in functions only.

A request's outputs become one graph: a `tf.function` that calls the signature and returns only them. TensorFlow inlines
the call and prunes what nothing asks for, so that one head costs one head, and all heads share one run of the trunk.

A graph is run by the op `StatefulPartitionedCall`, which `tf.function` itself ends in: the same computation without a
third to a half of a millisecond of Python around it, that is binding arguments, gradient tapes and structured outputs.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from service.card import read_card
from service.devices import runtime as runtime  # noqa: PLC0414 - its former place
from service.discovery import layout
from service.errors import HeadserveError, ModelError, ModelLoadError, OutOfMemoryError, RejectedByModelError
from service.model_options import ComputeOptions
from service.old_exports import loadable
from service.one_graph import merged
from service.saved_model import read_proto, signature_tensors
from service.types import Array, ModelSpec, Output, SignatureSpec, TensorSpec

MAX_GRAPHS = 64
"""Selections of outputs that a model keeps a traced graph for; the least recently used goes first."""

SINGLE_THREADED = "SINGLE_THREADED_EXECUTOR"
"""Runs the ops of a graph in the calling thread, one after the other, each with all cores. TensorFlow's default hands them
to a pool of threads that spin while they wait, which costs more time of the processor than a small model computes."""


class Graph(NamedTuple):
    """What computes a selection of outputs: takes a tensor for each of `inputs`, and returns one for each output."""

    inputs: tuple[TensorSpec, ...]
    call: Callable[..., Any]


@dataclass(frozen=True)
class Servable:
    """A loaded version on one device; `run` may be called from several threads."""

    spec: ModelSpec
    device: str | None
    _graph: Callable[[tuple[Output, ...]], Graph]
    _constant: Callable[[Array, str], Any]
    _placed: Callable[[], AbstractContextManager[Any]]
    _forget: Callable[[], None]

    def run(self, inputs: Mapping[str, Array], outputs: tuple[Output, ...]) -> dict[Output, Array]:
        """The outputs asked for, computed in one graph run. Raises RejectedByModelError, ModelError."""
        with _translated(self.spec.name), self._placed():
            ordered = tuple(sorted(outputs))  # one graph for a selection, in whatever order it is asked for
            graph = self._graph(ordered)
            feeds = [self._constant(inputs[tensor.name], tensor.dtype) for tensor in graph.inputs]
            results = dict(zip(ordered, graph.call(*feeds), strict=True))
            return {output: _array(results[output].numpy()) for output in outputs}

    @contextmanager
    def trying(self) -> Iterator[None]:
        """What is run in this block leaves no graph behind, and the others must be traced again."""
        try:
            yield
        finally:
            self._forget()


def load(name: str, version: int, folder: Path, device: str | None = None, compute: ComputeOptions | None = None) -> Servable:
    """The SavedModel in `folder`, on that device (None: TensorFlow's choice).

    Raises:
        ModelLoadError: also for a broken model card.
    """
    compute = compute or ComputeOptions()
    card = read_card(folder)
    try:
        import tensorflow as tf

        placed = partial(tf.device, device) if device else nullcontext
        with placed():
            proto = read_proto(folder)
            with loadable(folder, proto) as modern:
                loaded = tf.saved_model.load(str(modern))
        signatures = {name: _signature_spec(loaded.signatures[name]) for name in sorted(loaded.signatures)}
        tensors = signature_tensors(proto, signatures)
    except HeadserveError:
        raise
    except Exception as error:  # whatever a broken SavedModel makes TensorFlow raise
        raise ModelLoadError(f"TensorFlow cannot load {folder}: {_cleaned(str(error)) or type(error).__name__}") from error
    del proto  # it may be large
    spec = layout(name, version, signatures, card, {name: its.outputs for name, its in tensors.items()})
    spec = replace(spec, tensors=tensors)
    inputs = [tensor for signature in signatures.values() for tensor in signature.inputs]
    dtypes = {tensor.dtype: tf.dtypes.as_dtype(tensor.dtype) for tensor in inputs}

    @lru_cache(MAX_GRAPHS)
    def graph(outputs: tuple[Output, ...]) -> Graph:
        return _trace(loaded, spec, outputs, compute)

    return Servable(spec, device, graph, lambda array, dtype: tf.constant(array, dtypes[dtype]), placed, graph.cache_clear)


def _trace(loaded: Any, spec: ModelSpec, outputs: tuple[Output, ...], compute: ComputeOptions) -> Graph:
    """One graph for these outputs, with the inputs of the signatures that it needs."""
    sources = [spec.source(output) for output in outputs]
    takes = {name: [tensor.name for tensor in spec.signatures[name].inputs] for name, _ in sources}
    inputs = {tensor.name: tensor for name in takes for tensor in spec.signatures[name].inputs}

    # Heads are asked for with values for all of their inputs; what asks for other signatures has one value for all of them.
    together = merged(loaded, spec, sources, aliases=any(owner.startswith(":") for owner, _ in outputs))

    def run(*arguments: Any) -> list[Any]:
        feeds = dict(zip(inputs, arguments, strict=True))
        if together is not None:
            return together(feeds)
        results = {name: loaded.signatures[name](**{key: feeds[key] for key in keys}) for name, keys in takes.items()}
        return [results[signature][name] for signature, name in sources]

    return Graph(tuple(inputs.values()), _compiled(run, [_declared(loaded, takes, name) for name in inputs], compute))


def _compiled(run: Callable[..., list[Any]], specs: list[Any], compute: ComputeOptions) -> Callable[..., Any]:
    """The function as a graph, called with as little around it as there can be."""
    import tensorflow as tf

    if compute.jit_compile:  # one program for each batch size: XLA knows no sizes that vary
        compiled: Callable[..., Any] = tf.function(run, jit_compile=True, autograph=False)
        return compiled
    concrete = tf.function(run, input_signature=specs, autograph=False).get_concrete_function()
    captured, dtypes = concrete.captured_inputs, [tensor.dtype for tensor in concrete.outputs]
    config = _rewriting(compute.mixed_precision)

    executor = SINGLE_THREADED

    def call(*feeds: Any) -> Any:
        nonlocal executor
        try:
            return tf.raw_ops.StatefulPartitionedCall(
                args=[*feeds, *captured], Tout=dtypes, f=concrete, config_proto=config, executor_type=executor
            )
        except tf.errors.OpError as error:
            if not executor or "executor does not support" not in error.message:
                raise
            executor = ""  # loops and branches of TensorFlow 1
            return call(*feeds)

    return call


def _rewriting(mixed_precision: bool) -> bytes:
    """The graph optimizer's settings, serialized: float16 on a GPU and bfloat16 on a CPU that has it, where that is safe."""
    if not mixed_precision:
        return b""
    import tensorflow as tf

    config = tf.compat.v1.ConfigProto()
    on = 1  # RewriterConfig.ON
    config.graph_options.rewrite_options.auto_mixed_precision = on
    config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = on
    return bytes(config.SerializeToString())


def _declared(loaded: Any, signatures: Iterable[str], name: str) -> Any:
    """The TensorSpec of an input, as the first of the signatures that takes it declares it."""
    import tensorflow as tf

    declared = (loaded.signatures[signature].structured_input_signature[1] for signature in signatures)
    spec = next(specs[name] for specs in declared if name in specs)
    return tf.TensorSpec(spec.shape, spec.dtype)


def _array(value: Any) -> Array:
    """TensorFlow hands out a string without rows as bytes."""
    array: Array = np.array(value, object) if isinstance(value, bytes) else value
    return array


def _signature_spec(function: Any) -> SignatureSpec:
    """Inputs and outputs in alphabetical order; a SavedModel keeps none."""
    return SignatureSpec(
        tuple(_tensor_spec(name, spec) for name, spec in sorted(function.structured_input_signature[1].items())),
        tuple(_tensor_spec(name, spec) for name, spec in sorted(function.structured_outputs.items())),
    )


def _tensor_spec(name: str, spec: Any) -> TensorSpec:
    shape = None if spec.shape.rank is None else tuple(-1 if size is None else size for size in spec.shape)
    return TensorSpec(name, spec.dtype.name, shape)


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
    r"^(Graph execution error:|Detected at node .*|<stack traces unavailable>|\(\d+\) .*most recent call last.*|File \".*"
    r"|Traceback .*|\d+ root error\(s\) found\.|\d+ successful operations\.|\d+ derived errors ignored\.)$"
)


def _cleaned(message: str) -> str:
    """TensorFlow's message on one line, without graph names, stack traces and framing."""
    lines = (line.strip() for line in _NOISE.sub("", message).splitlines())
    text = " ".join(line for line in lines if line and not _FRAMING.match(line))
    return text[:500] or "no reason given"
