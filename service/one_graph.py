"""Several signatures of one graph as one function, so that the trunk they share runs once.

TensorFlow 1 writes a model as one graph, of which a signature is a part. Loaded, each signature is a function of its own with
its own copy of the trunk, and TensorFlow does not always notice that two are the same. Cut out together they are one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service.types import ModelSpec

Run = Callable[[Mapping[str, Any]], list[Any]]


def merged(loaded: Any, spec: ModelSpec, sources: Sequence[tuple[str, str]], aliases: bool) -> Run | None:
    """A function of tensors by input's name, with one result for each of the sources; None where there is nothing to merge.

    Args:
        loaded: the model, as `tf.saved_model.load` returns it.
        spec: says what the tensors of its signatures are called.
        sources: signature and name of each output.
        aliases: signatures may call one placeholder by different names, which are given the same value.
    """
    signatures = list(dict.fromkeys(name for name, _ in sources))
    if len(signatures) < 2 or not hasattr(loaded, "prune") or not spec.tensors.keys() >= set(signatures):
        return None
    placeholders = [item for name in signatures for item in spec.tensors[name].inputs.items()]
    feeds = dict(placeholders)
    fetches = [spec.tensors[signature].outputs[name] for signature, name in sources]
    if any(feeds[name] != tensor for name, tensor in placeholders) or not all((*feeds.values(), *fetches)):
        return None  # a name means two placeholders, or a tensor is of several parts and has no name
    names = {tensor: name for name, tensor in reversed(feeds.items())}
    if len(names) < len(feeds) and not aliases:
        return None
    unique = list(dict.fromkeys(fetches))
    pruned = loaded.prune(list(names), unique)

    def run(given: Mapping[str, Any]) -> list[Any]:
        results = dict(zip(unique, pruned(*(given[name] for name in names.values())), strict=True))
        return [results[tensor] for tensor in fetches]

    return run
