"""The JSON Schema of an inference request to one model in the Open Inference Protocol."""

from service.protocols import openapi as docs
from service.protocols.json.schemas import NULL, Schema, any_of, nested, scalar
from service.protocols.oip.binary import datatype
from service.protocols.oip.codec import MAX_TIMEOUT_US
from service.protocols.oip.outputs import MAX_CLASSES
from service.types import InputSpec, ModelSpec, TensorSpec

_FLAG: Schema = {"type": ["boolean", "null"]}


def infer_schema(spec: ModelSpec) -> Schema | None:
    """Return the schema of a request in JSON; None if the protocol has no datatype for an input, or for any output."""
    outputs = [tensor for tensor in spec.output_tensors.values() if datatype(tensor.dtype) is not None]
    if not outputs or any(datatype(tensor.dtype) is None for tensor in spec.inputs):
        return None
    return docs.optional(
        id=docs.TEXT,
        parameters=_parameters(spec),
        inputs=_inputs(spec),
        outputs=docs.array(any_of([_output(tensor) for tensor in outputs])),
    ) | {
        "required": ["inputs"],
        "anyOf": [
            docs.optional(outputs={"maxItems": 0}),
            docs.optional(parameters=docs.optional(heads=False, keys=False)),
        ],
    }


def _parameters(spec: ModelSpec) -> Schema:
    keys = dict.fromkeys(key.name for head in spec.heads for key in head.keys if datatype(key.dtype) is not None)
    heads = [head.name for head in spec.heads if all(datatype(key.dtype) is not None for key in head.keys)]
    return docs.optional(
        heads=_names(heads),
        keys=_names(list(keys)),
        timeout={"type": "integer", "minimum": 0, "maximum": MAX_TIMEOUT_US, "description": "In µs; 0 for none."},
        binary_data_output=_FLAG,
    )


def _names(known: list[str]) -> Schema:
    """Return the schema of names as a list or as one string; several names in a string are separated by commas."""
    listed = [docs.array({"enum": known}, minItems=1, uniqueItems=True)] if known else []
    return any_of([*listed, {"enum": ["*", *known]}])


def _inputs(spec: ModelSpec) -> Schema:
    required = [tensor.name for tensor in spec.inputs if tensor.required]
    tensors = docs.array(
        any_of([_input(tensor) for tensor in spec.inputs]), minItems=max(len(required), 1), maxItems=len(spec.inputs)
    )
    if len(spec.inputs) == 1:
        return tensors
    return tensors | {"allOf": [{"contains": docs.optional(name={"const": name})} for name in required]}


def _input(tensor: InputSpec) -> Schema:
    shape = tensor.shape
    one = scalar(tensor.dtype) or {}
    if not tensor.required or "float" in tensor.dtype:
        one = any_of([one, NULL])
    data = [docs.array(one), *([nested(one, shape)] if shape is not None and len(shape) != 1 else [])]
    members = docs.members(
        name={"const": tensor.name},
        datatype={"const": datatype(tensor.dtype)},
        shape=_shape(shape),
        data=any_of(data),
    )
    members["properties"]["parameters"] = docs.optional(binary_data_size=False, shared_memory_region=False)
    return members


def _shape(shape: tuple[int, ...] | None) -> Schema:
    if shape is None:
        return docs.array(docs.COUNT)
    sizes = [{"const": size} if size >= 0 else docs.COUNT | {"minimum": int(not at)} for at, size in enumerate(shape)]
    return {"type": "array", "prefixItems": sizes, "minItems": len(sizes), "maxItems": len(sizes)}


def _output(tensor: TensorSpec) -> Schema:
    given = docs.optional(binary_data=_FLAG, shared_memory_region=False)
    if tensor.dtype not in ("string", "bool"):
        given["properties"]["classification"] = docs.COUNT | {"maximum": MAX_CLASSES}
    return docs.members(name={"const": tensor.name}, parameters=given) | {"required": ["name"]}
