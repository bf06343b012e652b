"""JSON Schemas of the requests to one model under `/v1`; other members of a request are ignored."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod

from service.errors import InvalidRequestError
from service.models.discovery import SERVING_DEFAULT
from service.protocols import openapi as docs
from service.protocols.json.schemas import Schema, any_of, nested, rows, scalar, with_ranks
from service.protocols.tfserving.signatures import CLASSES, EXAMPLES_INPUT, EXAMPLES_PREFIX, SCORES, VALUES, example_signature
from service.types import InputSpec, ModelSpec, SignatureSpec, TensorSpec

_OTHER_FEATURE: Schema = {
    "anyOf": [docs.TEXT, {"type": "boolean"}, {"type": "number", "minimum": -(2.0**62), "maximum": 2.0**62}]
}
"""A feature that the model does not read."""

_METHODS = {"classify": (SCORES, CLASSES), "regress": (VALUES,)}


def predict_schema(spec: ModelSpec) -> Schema | None:
    """Return the schema of a prediction with any signature; None if no signature takes and gives values that JSON has."""
    return _one_of([_predict(name, signature) for name, signature in spec.signatures.items() if _takes_json(signature)])


def classify_schema(spec: ModelSpec) -> Schema | None:
    """Return the schema of a classification; None if the model has no signature for it."""
    return _on_examples(spec, "classify")


def regress_schema(spec: ModelSpec) -> Schema | None:
    """Return the schema of a regression; None if the model has no signature for it."""
    return _on_examples(spec, "regress")


def multi_inference_schema(spec: ModelSpec) -> Schema | None:
    """Return the schema of tasks over one input: for examples, and for each group of signatures with equal inputs."""
    of_examples = _signatures_of_examples(spec, None)
    forms = _tasks_over("examples", [_examples(spec, list(of_examples))], of_examples)
    groups: dict[Sequence[TensorSpec], dict[str, SignatureSpec]] = {}
    for name, signature in spec.signatures.items():
        if _takes_json(signature):
            groups.setdefault(signature.inputs, {})[name] = signature
    for inputs, signatures in groups.items():
        forms += _tasks_over("instances", _rows(inputs), signatures) + _tasks_over("inputs", _columns(inputs), signatures)
    return _one_of(forms)


def _tasks_over(member: str, inputs: list[Schema], signatures: Mapping[str, SignatureSpec]) -> list[Schema]:
    """Return the schema of tasks over the inputs in this member; empty if there are no such tasks or inputs."""
    tasks = []
    for name, signature in signatures.items():
        if chosen := _outputs(signature, by_row=member != "inputs"):
            tasks.append(_task(name, "predict", chosen))
        tasks += [_task(name, method) for method in _METHODS if _gives(signature, method)]
    if not tasks or not inputs:
        return []
    others = [{"required": [other]} for other in ("examples", "instances", "inputs") if other != member]
    return [docs.members(tasks=rows(any_of(tasks)), **{member: any_of(inputs)}) | {"not": {"anyOf": others}}]


def _one_of(schemas: Sequence[Schema]) -> Schema | None:
    return any_of(schemas) if schemas else None


def _named(name: str) -> Schema:
    """Return the schema of an object that names this signature, or none for the default one."""
    if name == SERVING_DEFAULT:
        return docs.optional(signature_name={"enum": ["", name]})
    return docs.members(signature_name={"const": name})


def _with(schema: Schema, required: Sequence[str], **properties: Schema) -> Schema:
    return schema | {
        "properties": schema["properties"] | properties,
        "required": [*schema.get("required", ()), *required],
    }


def _task(name: str, method: str, outputs: Schema | None = None) -> Schema:
    filters = {} if outputs is None else {"output_filter": outputs}
    required = ["output_filter"] if filters and "minItems" in filters["output_filter"] else []
    if method != "predict":
        required.append("method_name")
    return _with(_named(name), required, method_name={"enum": [method, f"tensorflow/serving/{method}"]}, **filters)


def _takes_json(signature: SignatureSpec) -> bool:
    """Return whether a request can carry the inputs, and an answer at least one of the outputs."""
    return (
        bool(signature.inputs)
        and all(scalar(tensor.dtype) is not None for tensor in signature.inputs)
        and _outputs(signature, by_row=False) is not None
    )


def _outputs(signature: SignatureSpec, by_row: bool) -> Schema | None:
    """Return the schema of `output_filter`; with `minItems` if it is required, None if no output can be written."""
    fit = [it.name for it in signature.outputs if scalar(it.dtype) is not None and not (by_row and it.shape == ())]
    if not fit:
        return None
    return docs.array({"enum": fit}, **({} if len(fit) == len(signature.outputs) else {"minItems": 1}))


def _predict(name: str, signature: SignatureSpec) -> Schema:
    members = {"instances": _rows(signature.inputs), "inputs": _columns(signature.inputs)}
    forms = []
    for member, schemas in members.items():
        chosen = _outputs(signature, by_row=member == "instances")
        if schemas and chosen:
            required = [member, "output_filter"] if "minItems" in chosen else [member]
            forms.append(docs.optional(output_filter=chosen) | {"required": required})
    given = {member: any_of(schemas) for member, schemas in members.items() if schemas}
    only = {"oneOf": [{"required": [member]} for member in members], "anyOf": forms}
    return _with(_named(name), (), output_filter=docs.array(docs.TEXT), **given) | only


def _value(tensor: TensorSpec) -> Schema:
    return scalar(tensor.dtype, overflows=True) or {}


def _rows(inputs: Sequence[TensorSpec]) -> list[Schema]:
    """Return the schemas of `instances`: objects, or the values of the only input; empty if an input has no rows."""
    if any(tensor.shape == () for tensor in inputs):
        return []
    size = max((tensor.shape[0] for tensor in inputs if tensor.shape), default=-1)
    forms = []
    for tensors in with_ranks(inputs):
        values = {tensor.name: nested(_value(tensor), (tensor.shape or ())[1:]) for tensor in tensors}
        forms += [*(values.values() if len(values) == 1 else ()), docs.members(**values) | {"additionalProperties": False}]
    return [rows(form, size) for form in forms]


def _columns(inputs: Sequence[TensorSpec]) -> list[Schema]:
    """Return the schemas of `inputs`: an object of columns, or the only input."""
    forms = []
    for tensors in with_ranks(inputs):
        columns = {tensor.name: nested(_value(tensor), tensor.shape or ()) for tensor in tensors}
        forms += [*(columns.values() if len(columns) == 1 else ()), docs.members(**columns)]
    return forms


def _gives(signature: SignatureSpec, method: str) -> bool:
    """Return whether the declared outputs of a signature are those of the method."""
    outputs = [tensor for tensor in signature.outputs if tensor.name in _METHODS[method]]
    if method == "classify":
        fit = all(tensor.shape is None or len(tensor.shape) == 2 for tensor in outputs)
    else:
        fit = all(tensor.shape is None or (tensor.shape[1:] in ((), (1,)) and tensor.shape != ()) for tensor in outputs)
    return bool(outputs) and fit and all(scalar(tensor.dtype) is not None for tensor in outputs)


def _signatures_of_examples(spec: ModelSpec, input_name: str | None) -> dict[str, SignatureSpec]:
    """Return the signatures that take examples, by each name under which a request reaches them."""
    found = {}
    for name in spec.signatures:
        with suppress(InvalidRequestError):
            found[name] = spec.signatures[example_signature(spec, name, input_name).signature]
    return found


def _on_examples(spec: ModelSpec, method: str) -> Schema | None:
    signatures = _signatures_of_examples(spec, EXAMPLES_INPUT)
    forms = []
    for name in (name for name, signature in signatures.items() if _gives(signature, method)):
        features = {each.name: _feature(each) for each in _features(spec, [name])}
        context = docs.optional(**features) | {"additionalProperties": _OTHER_FEATURE}
        forms.append(_with(_named(name), ["examples"], examples=_examples(spec, [name]), context=context))
    return _one_of(forms)


def _examples(spec: ModelSpec, names: Sequence[str]) -> Schema:
    """Return the schema of examples with the features that these signatures read."""
    features = _features(spec, names)
    return rows(
        docs.optional(**{each.name: _feature(each) for each in features})
        | {"additionalProperties": _OTHER_FEATURE, "required": [each.name for each in features if each.required]}
    )


def _features(spec: ModelSpec, names: Sequence[str]) -> list[InputSpec]:
    """Return the features of these signatures according to the graph, or else to their counterparts of raw tensors."""
    found: dict[str, InputSpec] = {}
    for name in names:
        candidate = example_signature(spec, name, None).signature
        parsed = spec.tensors[candidate].features.values() if candidate in spec.tensors else ()
        features = [feature for group in parsed for feature in group]
        raw = spec.signatures.get(candidate.removeprefix(EXAMPLES_PREFIX))
        if not features and raw is not None and candidate.startswith(EXAMPLES_PREFIX):
            features = [InputSpec(it.name, it.dtype, None if it.shape is None else it.shape[1:]) for it in raw.inputs]
        found |= {feature.name: feature for feature in features}
    return list(found.values())


def _feature(feature: InputSpec) -> Schema:
    """Return the schema of a feature of one example: one value, or a flat list."""
    one = scalar(feature.dtype) or {}
    shape = feature.shape or ()
    single = [one] if all(size in (1, -1) for size in shape) else []
    sizes = (-1,) if -1 in shape else (prod(shape),)
    return any_of([*single, nested(one, sizes)])
