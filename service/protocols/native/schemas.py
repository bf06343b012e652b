"""The JSON Schema of a request to one model in the native protocol."""

from collections.abc import Iterable, Sequence

from service.protocols import openapi as docs
from service.protocols.json.schemas import NULL, Schema, any_of, nested, rows, scalar, with_ranks
from service.types import InputSpec, ModelSpec


def predict_schema(spec: ModelSpec) -> Schema | None:
    """Return the schema of a prediction; None if JSON cannot carry one of the inputs, or any output."""
    keys = list(dict.fromkeys(key.name for head in spec.heads for key in head.keys if scalar(key.dtype) is not None))
    if not keys or any(scalar(tensor.dtype) is None for tensor in spec.inputs):
        return None
    forms = {"instances": _instances(spec), "inputs": _columns(spec)}
    inputs = {name: any_of(schemas) for name, schemas in forms.items() if schemas}
    names = docs.array({"enum": [head.name for head in spec.heads]}, minItems=1, uniqueItems=True)
    return docs.optional(
        **inputs,
        heads={"oneOf": [{"const": "*"}, names]},
        keys=docs.array({"enum": keys}, minItems=1, uniqueItems=True),
    ) | {
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in inputs],
        "anyOf": [{"required": ["heads"]}, docs.optional(keys=docs.array({"enum": list(spec.heads[0].key_names)}))],
        **_keys_required(spec),
    }


def _keys_required(spec: ModelSpec) -> Schema:
    """Return the condition that requests without `keys` name only heads whose outputs JSON can carry."""
    plain = [head.name for head in spec.heads if all(scalar(key.dtype) is not None for key in head.keys)]
    if len(plain) == len(spec.heads):
        return {}
    allowed: list[Schema] = [{"required": ["keys"]}]
    if plain:
        allowed.append(docs.members(heads=docs.array({"enum": plain})))
    if spec.default_head in plain:
        allowed.append({"not": {"required": ["heads"]}})
    return {"allOf": [{"anyOf": allowed}]}


def _instances(spec: ModelSpec) -> list[Schema]:
    """Return the schemas of the lists of rows; empty if an input has no rows."""
    if any(tensor.shape == () for tensor in spec.inputs):
        return []
    size = max((tensor.shape[0] for tensor in spec.inputs if tensor.shape), default=-1)
    found = [_object((feature, _feature(feature)) for feature in spec.features)] if spec.features else []
    for inputs in with_ranks(spec.inputs):
        found.append(_object((tensor, _value(tensor, (tensor.shape or ())[1:])) for tensor in inputs))
        found += _bare(inputs[0]) if len(inputs) == 1 else []
    return [rows(row, size) for row in found]


def _bare(tensor: InputSpec) -> list[Schema]:
    """Return the schemas of a row that is the value of the only input; a last size of 1 needs no brackets."""
    shape = (tensor.shape or ())[1:]
    return [_value(tensor, shape), *([_value(tensor, shape[:-1])] if shape[-1:] == (1,) else [])]


def _columns(spec: ModelSpec) -> list[Schema]:
    features = ((feature, rows(_feature(feature))) for feature in spec.features)
    found = [_object(features, column=True)] if spec.features else []
    named = [_object(((tensor, _column(tensor)) for tensor in inputs), column=True) for inputs in with_ranks(spec.inputs)]
    return [*found, *named]


def _column(tensor: InputSpec) -> Schema:
    shape = tensor.shape or ()
    return rows(_value(tensor, shape[1:]), shape[0]) if shape else _value(tensor, ())


def _object(values: Iterable[tuple[InputSpec, Schema]], column: bool = False) -> Schema:
    """Return the schema of an object with these values by name; columns may not all be absent."""
    given = list(values)
    return docs.optional(**{tensor.name: schema for tensor, schema in given}) | {
        "additionalProperties": False,
        "required": [tensor.name for tensor, _ in given if tensor.required],
        "minProperties": int(column),
    }


def _value(tensor: InputSpec, shape: Sequence[int]) -> Schema:
    """Return the schema of one row of an input; null, if it is optional, for the row or any value in it."""
    one = scalar(tensor.dtype) or {}
    if tensor.required:
        return nested(one, shape)
    value = nested(any_of([one, NULL]), shape)
    return value if not shape else any_of([value, NULL])


def _feature(feature: InputSpec) -> Schema:
    """Return the schema of a feature of one row: one value, or a list."""
    one = scalar(feature.dtype) or {}
    single = [one] if all(size in (1, -1) for size in feature.shape or ()) else []
    listed = [nested(one, feature.shape)] if feature.shape else []
    return any_of([*single, *listed, *([] if feature.required else [NULL])])
