"""A SavedModel in memory on one device: load and run it; TensorFlow is imported lazily.

The outputs of a request are fetched by the names of their tensors. TensorFlow computes only what they need: one head costs
one head, and all heads share one run of the trunk, even if they are outputs of several signatures. The graph itself checks
the values that are fed, so shapes other than the declared ones are possible.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from service.errors import HeadserveError, ModelError, ModelLoadError, OutOfMemoryError, RejectedByModelError
from service.models.card import read_card
from service.models.options import ComputeOptions, HeadOptions
from service.runtime.saved_model import array_dtype, described, read, serving
from service.runtime.session import callable_of, opened
from service.types import Array, ModelSpec, Output, TensorSpec

MAX_GRAPHS = 64
"""Number of selections of outputs for which a model keeps a pruned graph; the least recently used is dropped first."""


class Graph(NamedTuple):
    """Computes a selection of outputs: `call` takes an array for each of `inputs` and returns one for each of `fetched`."""

    inputs: tuple[TensorSpec, ...]
    call: Callable[..., Sequence[Array]]
    fetched: tuple[str, ...]


@dataclass(frozen=True)
class Servable:
    """A loaded version on one device; `run` may be called from several threads."""

    spec: ModelSpec
    device: str | None
    _session: Any
    _fetches: Mapping[Output, str]
    _dtypes: Mapping[str, Any]
    _graph: Any
    """The cached function from outputs to their `Graph`."""

    def run(self, inputs: Mapping[str, Array], outputs: tuple[Output, ...]) -> dict[Output, Array]:
        """Return the selected outputs, computed in one graph run. Raises RejectedByModelError, ModelError."""
        with _translated(self.spec.name):
            graph = self._graph(tuple(sorted(outputs)))  # one graph for a selection, in any order
            feeds = [self._fed(inputs[tensor.name], tensor.dtype) for tensor in graph.inputs]
            results = dict(zip(graph.fetched, graph.call(*feeds), strict=True))
            return {output: _array(results[self._fetches[output]]) for output in outputs}

    def close(self) -> None:
        """Free the model; no run may follow."""
        self._graph.cache_clear()
        self._session.close()

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
    heads: Mapping[str, HeadOptions] | None = None,
) -> Servable:
    """Load the version in `folder`, which has variables, assets and model card. Raises ModelLoadError.

    The device is one such as `GPU:0`; None leaves the choice to TensorFlow. `saved_model` is the protocol buffer to load;
    default: the one in the folder. `heads` are those of `models.toml`.
    """
    card = read_card(folder)
    try:
        meta_graph = serving(read(folder) if saved_model is None else saved_model)
        session, fetchable = opened(folder, meta_graph, device, compute or ComputeOptions())
        try:
            spec = described(name, version, meta_graph, card, heads)  # with the dtypes that `opened` has corrected
            dtypes = {tensor.dtype: array_dtype(tensor.dtype) for its in spec.signatures.values() for tensor in its.inputs}
        except BaseException:
            session.close()
            raise
    except HeadserveError:
        raise
    except Exception as error:  # whatever a broken SavedModel makes TensorFlow raise
        raise ModelLoadError(f"TensorFlow cannot load {folder}: {_cleaned(str(error)) or type(error).__name__}") from error
    fetches = {
        spec.output(key, output): fetchable[tensor]
        for key, tensors in spec.tensors.items()
        for output, tensor in tensors.outputs.items()
    }
    return Servable(spec, device, session, fetches, dtypes, lru_cache(MAX_GRAPHS)(partial(_graph, session, spec, fetches)))


def _graph(session: Any, spec: ModelSpec, fetches: Mapping[Output, str], outputs: tuple[Output, ...]) -> Graph:
    feeds: dict[str, TensorSpec] = {}
    for key in dict.fromkeys(spec.source(output)[0] for output in outputs):
        names = spec.tensors[key].inputs
        feeds |= {names[tensor.name]: tensor for tensor in spec.signatures[key].inputs}
    fetched = tuple(dict.fromkeys(fetches[output] for output in outputs))
    return Graph(tuple(feeds.values()), callable_of(session, list(feeds), fetched), fetched)


def _array(value: Any) -> Array:
    """Return the value as an array: a session returns NumPy scalars and bytes for tensors without dimensions."""
    return value if isinstance(value, np.ndarray) else np.array(value, object if isinstance(value, bytes) else None)


@contextmanager
def _translated(model: str) -> Iterator[None]:
    """Translate TensorFlow's errors to those of the service, without stack traces and node names."""
    import tensorflow as tf

    try:
        yield
    except UnicodeDecodeError as error:  # TensorFlow quotes an input that is not UTF-8, and its Python half cannot decode it
        raise RejectedByModelError(f"Model {model!r}: {_cleaned(error.object.decode(errors='replace'))}") from error
    except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
        raise RejectedByModelError(f"Model {model!r} refused the values: {_cleaned(error.message)}") from error
    except tf.errors.ResourceExhaustedError as error:
        raise OutOfMemoryError(f"Model {model!r} ran out of memory; send fewer rows at once.") from error
    except tf.errors.OpError as error:
        raise ModelError(f"Model {model!r} failed: {_cleaned(error.message)}") from error


SEARCHED_CHARACTERS = 4000
"""Characters of a message that are searched: it may quote megabytes of a request that is made to be slow to search."""
_NOISE = re.compile(r"\{\{(function_node|node) [^}]*\}\}|\[\[.*?\]\]|\[Op:[^\]]*\](?:\s+name:)?", re.DOTALL)
_FRAMING = re.compile(
    r"^(Graph execution error:|Detected at node .*|Original stack trace for .*|"
    r"<stack traces unavailable>|\(\d+\) .*most recent call last.*|File \".*"
    r"|Traceback .*|\d+ root error\(s\) found\.|\d+ successful operations\.|\d+ derived errors ignored\.)$"
)


def _cleaned(message: str) -> str:
    """Return TensorFlow's message on one line, without graph names, stack traces and framing."""
    lines = (line.strip() for line in _NOISE.sub("", message[:SEARCHED_CHARACTERS]).splitlines())
    text = " ".join(line for line in lines if line and not _FRAMING.match(line))
    return text[:500] or "no reason given"
