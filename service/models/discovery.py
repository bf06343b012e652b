"""The heads of a SavedModel, derived from its signatures and, if it has one, its model card. Imports no TensorFlow.

A SavedModel lists tensors, not heads. The heads are, in this order of preference,

1. those of the card;
2. those of `models.toml`: outputs of `serving_default`, else of `predict`, else of the only signature;
3. the `<head>` of the outputs `<head>/<key>` of the signature `predict`;
4. the `<head>` of the signatures `<head>/predict`;
5. one head named `default`, of the signature of rule 2.

Names with a colon before the first slash (`examples:predict`) take serialized `tf.Example`s: they are listed as
signatures, but are not heads. Without a card, the first head is the one whose tensors `serving_default` returns, else the only
one that has all its outputs with the same dtypes and shapes; the other heads are in alphabetical order.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

from service.errors import ModelLoadError
from service.messages import did_you_mean, listed
from service.models.card import Card
from service.models.options import HeadOptions
from service.types import HeadSpec, InputSpec, ModelSpec, Output, SignatureSpec, TensorSpec, output_key

PREDICT = "predict"
SERVING_DEFAULT = "serving_default"
DEFAULT_HEAD = "default"
PROBABILITIES = "probabilities"

MOST_VALUES = 100_000
"""Values of one input in a generated example; a SavedModel may declare any shape."""

TensorNames = Mapping[str, Mapping[str, str]]
"""Signature → output → the name of the tensor in the graph."""


def layout(
    name: str,
    version: int,
    signatures: Mapping[str, SignatureSpec],
    card: Card | None,
    tensor_names: TensorNames,
    heads: Mapping[str, HeadOptions] | None = None,
) -> ModelSpec:
    """Return the model's heads, inputs and signatures. Raises ModelLoadError.

    `tensor_names` is used without a card only; `heads` are those of `models.toml`.
    """
    if not signatures:
        raise ModelLoadError("The SavedModel has no signatures; export it with at least a 'serving_default'.")
    if card is not None and heads is not None:
        raise ModelLoadError("models.toml has heads for this model, but the version has a model card; remove one of them.")
    if card is not None:
        return _by_card(name, version, signatures, card)
    if heads is not None:
        return _by_options(name, version, signatures, heads)
    return _by_signatures(name, version, signatures, tensor_names)


def _by_signatures(name: str, version: int, signatures: Mapping[str, SignatureSpec], tensor_names: TensorNames) -> ModelSpec:
    sources = _sources(signatures)
    grouped: dict[str, list[TensorSpec]] = defaultdict(list)
    for (head, key), (signature, output) in sources.items():
        tensor = next(tensor for tensor in signatures[signature].outputs if tensor.name == output)
        grouped[head].append(TensorSpec(key, tensor.dtype, tensor.shape))
    first = _first_head(grouped, sources, signatures, tensor_names)
    heads = tuple(HeadSpec(head, tuple(grouped[head])) for head in sorted(grouped, key=lambda head: (head != first, head)))
    inputs = _inputs(signatures[signature] for signature in dict.fromkeys(source[0] for source in sources.values()))
    return ModelSpec(name, version, inputs, heads, signatures, _example(inputs), sources=sources)


def _by_card(name: str, version: int, signatures: Mapping[str, SignatureSpec], card: Card) -> ModelSpec:
    predict = signatures.get(PREDICT)
    if predict is None:
        raise ModelLoadError(f"The model card needs a signature 'predict'; the SavedModel has {listed(signatures)}.")
    inputs, heads = card.inputs, card.head_specs
    sources = {(head.name, key): (PREDICT, output_key(head.name, key)) for head in heads for key in head.key_names}
    names, in_model = {spec.name for spec in inputs}, {spec.name: spec for spec in predict.inputs}
    outputs = {output for _, output in sources.values()}
    for what, missing in (("inputs", names - in_model.keys()), ("outputs", outputs - {spec.name for spec in predict.outputs})):
        if missing:
            raise ModelLoadError(f"The model card has {what} {listed(sorted(missing))} that signature 'predict' does not have.")
    if missing := in_model.keys() - names:
        raise ModelLoadError(f"Signature 'predict' has inputs {listed(sorted(missing))} that the model card does not have.")
    for given in inputs:
        declared = in_model[given.name]
        if given.dtype != declared.dtype or not declared.fits(given.shape):
            raise ModelLoadError(
                f"The model card says input {given.name!r} is {given.dtype} {given.shape}; "
                f"signature 'predict' says {declared.dtype} {declared.shape}."
            )
    example = _example(inputs) if card.example is None else card.example
    about = (card.metrics, card.created_at, card.headserve_version, card.tensorflow_version)
    return ModelSpec(name, version, inputs, heads, signatures, example, *about, sources)


def _by_options(
    name: str, version: int, signatures: Mapping[str, SignatureSpec], heads: Mapping[str, HeadOptions]
) -> ModelSpec:
    signature = _default_signature(signatures)
    outputs = {tensor.name: tensor for tensor in signatures[signature].outputs}
    found: list[HeadSpec] = []
    sources: dict[Output, tuple[str, str]] = {}
    for head, options in (heads or {output: HeadOptions(outputs=output) for output in sorted(outputs)}).items():
        if missing := sorted(set(options.keys.values()) - outputs.keys()):
            raise ModelLoadError(
                f"models.toml names {listed(missing)} as output of head {head!r}, but signature {signature!r} has "
                f"{listed(sorted(outputs))}.{did_you_mean(missing[0], outputs)}"
            )
        keys = tuple(TensorSpec(key, outputs[output].dtype, outputs[output].shape) for key, output in options.keys.items())
        for tensor in keys:
            width = (tensor.shape or (-1,))[-1]
            if tensor.name == PROBABILITIES and options.classes is not None and width not in {-1, len(options.classes)}:
                raise ModelLoadError(
                    f"models.toml has {len(options.classes)} classes for head {head!r}, but its probabilities have {width}."
                )
        found.append(HeadSpec(head, keys, options.kind, options.classes))
        sources |= {(head, key): (signature, output) for key, output in options.keys.items()}
    inputs = _inputs([signatures[signature]])
    return ModelSpec(name, version, inputs, tuple(found), signatures, _example(inputs), sources=sources)


def _default_signature(signatures: Mapping[str, SignatureSpec]) -> str:
    only = list(signatures) if len(signatures) == 1 else []
    for signature in (SERVING_DEFAULT, PREDICT, *only):
        if signature in signatures:
            return signature
    raise ModelLoadError(
        f"No heads: the SavedModel has neither 'serving_default' nor 'predict', only {listed(sorted(signatures))}."
    )


def _sources(signatures: Mapping[str, SignatureSpec]) -> dict[Output, tuple[str, str]]:
    """Return the signature and name of every output; keys in alphabetical order: a SavedModel stores no order."""

    def outputs(head: str, signature: str) -> dict[Output, tuple[str, str]]:
        names = sorted(spec.name for spec in signatures[signature].outputs)
        return {(head, name): (signature, name) for name in names}

    if PREDICT in signatures and any("/" in spec.name for spec in signatures[PREDICT].outputs):
        return {
            (head.lstrip(":") or DEFAULT_HEAD, key): (PREDICT, name)
            for name in sorted(spec.name for spec in signatures[PREDICT].outputs)
            for head, _, key in [name.rpartition("/")]
        }
    found: dict[Output, tuple[str, str]] = {}
    for signature in sorted(signatures):
        head, slash, kind = signature.rpartition("/")
        if slash and kind == PREDICT and ":" not in head:
            found |= outputs(head, signature)
    if found:
        return found
    return outputs(DEFAULT_HEAD, _default_signature(signatures))


def _first_head(
    heads: Mapping[str, Iterable[TensorSpec]],
    sources: Mapping[Output, tuple[str, str]],
    signatures: Mapping[str, SignatureSpec],
    tensor_names: TensorNames,
) -> str | None:
    if SERVING_DEFAULT not in signatures:
        return None
    answered = set(tensor_names.get(SERVING_DEFAULT, {}).values())
    for (head, _), (signature, output) in sources.items():
        if tensor_names.get(signature, {}).get(output) in answered:
            return head
    wanted = {(spec.name, spec.dtype, spec.shape) for spec in signatures[SERVING_DEFAULT].outputs}
    same = [head for head, keys in heads.items() if wanted <= {(key.name, key.dtype, key.shape) for key in keys}]
    return same[0] if len(same) == 1 else None


def _inputs(signatures: Iterable[SignatureSpec]) -> tuple[InputSpec, ...]:
    """Return the inputs of all signatures. Raises ModelLoadError if two signatures differ in one."""
    inputs: dict[str, InputSpec] = {}
    for signature in signatures:
        for spec in sorted(signature.inputs, key=lambda spec: spec.name):
            tensor = InputSpec(spec.name, spec.dtype, spec.shape)
            if inputs.setdefault(spec.name, tensor) != tensor:
                raise ModelLoadError(
                    f"Input {spec.name!r} differs between heads: {inputs[spec.name].dtype} {inputs[spec.name].shape} "
                    f"and {spec.dtype} {spec.shape}; export a signature 'predict' with outputs '<head>/<key>'."
                )
    return tuple(inputs.values())


def example_row(tensors: Iterable[TensorSpec]) -> dict[str, Any]:
    """Return a row with a value for each tensor, whose shape is without the dimension of rows; None for a very large one."""

    def nested(value: Any, shape: tuple[int, ...]) -> Any:
        return [nested(value, shape[1:])] * shape[0] if shape else value

    def value(tensor: TensorSpec) -> Any:
        shape = tuple(max(size, 1) for size in tensor.shape or ())
        zero = {"string": "text", "bool": False}.get(tensor.dtype, 0.0 if "float" in tensor.dtype else 0)
        return nested(zero, shape) if prod(shape) <= MOST_VALUES else None

    return {tensor.name: value(tensor) for tensor in tensors}


def _example(inputs: Iterable[InputSpec]) -> dict[str, Any]:
    return example_row(replace(spec, shape=(spec.shape or (-1,))[1:]) for spec in inputs)
