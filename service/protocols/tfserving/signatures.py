"""The signature that a request names, and the outputs of that signature."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from service.errors import InvalidRequestError
from service.messages import cut, described, did_you_mean, listed
from service.models.discovery import SERVING_DEFAULT
from service.protocols.json.reader import Dialect
from service.types import Array, ModelSpec, Output, SignatureSpec, TensorSpec

JSON = Dialect('{"instances": […]}', problem="JSON Parse error")
"""TensorFlow Serving's variant of JSON, with the beginning of its messages."""

EXAMPLES_PREFIX = "examples:"
"""The prefix of headserve's exported signatures of `tf.Example`s, before the name of the signature of raw tensors."""

EXAMPLES_INPUT = "inputs"
"""TensorFlow's name of the input of a classification or regression signature."""

SCORES, CLASSES, VALUES = "scores", "classes", "outputs"
"""TensorFlow's names of the outputs of such signatures."""


class ExampleSignature(NamedTuple):
    """A signature of `tf.Example`s: its name, the name of its input, and the features read as floats, if known."""

    signature: str
    input: str
    floats: frozenset[str]


def signature_name(message: Mapping[str, Any], spec: ModelSpec) -> str:
    """Return the signature that the member `signature_name` names. Raises InvalidRequestError."""
    name = message.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidRequestError(f"'signature_name': expected a string, but got {described(name)}.")
    name = name or SERVING_DEFAULT
    if name not in spec.signatures:
        raise InvalidRequestError(
            f'Serving signature name: "{cut(name)}" not found in signature def; model {spec.name!r} has '
            f"{listed(spec.signatures)}.{did_you_mean(name, spec.signatures)}"
        )
    return name


def outputs_of(spec: ModelSpec, signature: str, names: Iterable[str]) -> dict[str, Output]:
    """Return the signature's outputs of these names."""
    return {name: spec.output(signature, name) for name in names}


def selected_outputs(output_filter: Any, spec: ModelSpec, signature: str) -> dict[str, Output]:
    """Return the signature's outputs that `output_filter` names; all if it is absent or empty. Raises InvalidRequestError."""
    existing = [tensor.name for tensor in spec.signatures[signature].outputs]
    if output_filter is None or output_filter == []:
        return outputs_of(spec, signature, existing)
    if not (isinstance(output_filter, list) and all(isinstance(name, str) for name in output_filter)):
        raise InvalidRequestError(f"'output_filter': expected a list of names of outputs, but got {described(output_filter)}.")
    for name in output_filter:
        if name not in existing:
            reason = f"signature {signature!r} has no output {cut(name)!r}; it has {listed(existing)}."
            raise InvalidRequestError(f"'output_filter': {reason}{did_you_mean(name, existing)}")
    return outputs_of(spec, signature, output_filter)


def example_signature(spec: ModelSpec, name: str, input_name: str | None = EXAMPLES_INPUT) -> ExampleSignature:
    """Find the signature of serialized `tf.Example`s: `name`, or the counterpart that headserve has exported.

    `input_name` is the required name of the input, None for any. Raises InvalidRequestError.
    """
    for candidate in (name, EXAMPLES_PREFIX + name):
        signature = spec.signatures.get(candidate)
        if signature is not None and _takes_examples(signature, input_name):
            return ExampleSignature(candidate, signature.inputs[0].name, _floats(spec, candidate))
    takes = listed(tensor.name for tensor in spec.signatures[name].inputs)
    raise InvalidRequestError(
        f"Expected a signature with one input of serialized tf.Examples, called {input_name or EXAMPLES_INPUT!r}, but "
        f"{name!r} takes {takes}; use ':predict', or name another signature."
    )


def is_declared(arrays: dict[str, Array], inputs: Sequence[TensorSpec]) -> bool:
    """Return whether the arrays have rows and the declared shapes, so that the request may be batched with others.

    A request without rows runs alone: no row can be repeated to pad it to an allowed batch size.
    """
    return all(
        array.ndim > 0 and len(array) > 0 and tensor.fits(array.shape) for tensor in inputs for array in (arrays[tensor.name],)
    )


def _floats(spec: ModelSpec, signature: str) -> frozenset[str]:
    """Return the features read as floats according to the graph, or else to the counterpart signature of raw tensors."""
    parsed = spec.tensors[signature].features.values() if signature in spec.tensors else ()
    features = [feature for group in parsed for feature in group]
    raw = spec.signatures.get(signature.removeprefix(EXAMPLES_PREFIX)) if signature.startswith(EXAMPLES_PREFIX) else None
    known = features or (() if raw is None else raw.inputs)
    return frozenset(feature.name for feature in known if "float" in feature.dtype)


def _takes_examples(signature: SignatureSpec, input_name: str | None) -> bool:
    inputs = signature.inputs
    return len(inputs) == 1 and inputs[0].dtype == "string" and input_name in (None, inputs[0].name)
