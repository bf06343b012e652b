"""The native protocol: `instances` or `inputs` in, predictions by head and key out, errors as RFC 9457 problems.

{"instances": [{"x": 1}, …], "heads": ["a"], "keys": ["probabilities"]}     rows
{"inputs": {"x": [1, …]}, "heads": "*"}                                     columns
{"model": "m", "version": 3, "predictions": {"a": {"probabilities": [[…], …]}}}

A model whose only input is serialized `tf.Example`s also accepts rows of features, if the features can be read off its graph.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import orjson

from service.errors import (
    HeadserveError,
    InvalidRequestError,
    MissingInputError,
    NoRowsError,
    RequestError,
    UnknownInputError,
    WrongShapeError,
    WrongTypeError,
)
from service.messages import cut, described, did_you_mean, listed
from service.protocols.json import tensors
from service.protocols.json.lists import InvalidItemError, flatten
from service.protocols.json.reader import Dialect, check_rows, has_rows, parse_object
from service.protocols.json.tf_example import serialized
from service.protocols.protocol import JSON_TYPE
from service.protocols.selection import ALL_HEADS, select
from service.types import Array, Encoded, InferRequest, InferResponse, InputSpec, ModelSpec

_PROBLEM_TYPE = (b"content-type", b"application/problem+json")
MEMBERS = ("instances", "inputs", "heads", "keys")
JSON = Dialect('{"instances": […]}', words=False)


def decode(body: bytes, spec: ModelSpec) -> InferRequest:
    """Decode a request and check it against the model. Raises a subclass of RequestError."""
    message = parse_object(body, JSON)
    for member in message:
        if member not in MEMBERS:
            reason = f"Unknown member {cut(member)!r}; a request has {listed(MEMBERS)}.{did_you_mean(member, MEMBERS)}"
            raise RequestError(reason, member=cut(member), expected=MEMBERS)
    by_row = has_rows(message)
    heads, keys = message.get("heads"), message.get("keys")
    if heads != ALL_HEADS:
        _check_names("heads", heads, ', "*" for all,')
    _check_names("keys", keys, "")
    outputs = select(spec, heads, keys)
    return InferRequest(_rows(message["instances"], spec) if by_row else _columns(message["inputs"], spec), outputs)


def encode(response: InferResponse) -> Encoded:
    """Encode the answer as JSON; NaN and infinities are null."""
    predictions: dict[str, dict[str, Any]] = {}
    for (head, key), array in response.outputs.items():
        predictions.setdefault(head, {})[key] = tensors.encode(array, head, key)
    answer = {"model": response.model, "version": response.version, "predictions": predictions}
    return Encoded((tensors.dumped(answer),), (JSON_TYPE,))


def encode_error(error: HeadserveError) -> Encoded:
    """Encode a problem: RFC 9457's members, `code`, `error` for clients of other protocols, and the error's details."""
    problem = {
        "type": f"urn:headserve:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "error": error.message,
    }
    return Encoded((orjson.dumps(problem | error.details),), (_PROBLEM_TYPE,))


def _check_names(member: str, names: Any, other: str) -> None:
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InvalidRequestError(
            f"{member!r}: expected a list of names{other} or nothing for the default, but got {described(names)}."
        )


def _rows(rows: Any, spec: ModelSpec) -> dict[str, Array]:
    check_rows(rows)
    for tensor in spec.inputs:
        if tensor.shape == ():
            raise WrongShapeError(f"Input {tensor.name!r} has no rows; use 'inputs'.", input=tensor.name)
    if len(spec.inputs) == 1 and not _are_objects(rows, spec):
        return {spec.inputs[0].name: tensors.decode(rows, spec.inputs[0])}
    if spec.features and not any(type(row) is dict and row.keys() == {spec.inputs[0].name} for row in rows):
        return {spec.inputs[0].name: _examples(rows, len(rows), spec)}
    names = spec.input_names
    expected = dict.fromkeys(names).keys()
    for i, row in enumerate(rows):
        if type(row) is not dict:
            raise WrongTypeError(f"Row {i}: expected an object with {listed(names)}, but got {described(row)}.", row=i)
        if row.keys() != expected:
            _check_inputs(row, spec.inputs, i)
    return {tensor.name: tensors.decode([row.get(tensor.name) for row in rows], tensor) for tensor in spec.inputs}


def _columns(columns: Any, spec: ModelSpec) -> dict[str, Array]:
    if not isinstance(columns, dict):
        raise WrongTypeError(f"'inputs': expected an object of columns, but got {described(columns)}.")
    if spec.features and columns.keys() != {spec.inputs[0].name}:
        return {spec.inputs[0].name: _examples(*_as_rows(columns, spec), spec)}
    _check_inputs(columns, spec.inputs, None)
    arrays: dict[str, Array] = {}
    lengths: dict[str, int] = {}
    for tensor in spec.inputs:
        if columns.get(tensor.name) is None and not tensor.required:
            continue
        array = arrays[tensor.name] = tensors.decode(columns.get(tensor.name), tensor)
        if array.ndim:
            if not len(array):
                raise NoRowsError(f"Input {tensor.name!r} is empty; give at least one row.", input=tensor.name)
            _add_length(lengths, tensor.name, len(array))
    if not lengths and len(arrays) < len(spec.inputs):
        raise NoRowsError("Every column is absent or null, so there are no rows; give at least one column of nulls.")
    rows = next(iter(lengths.values()), 0)
    return {
        tensor.name: arrays[tensor.name] if tensor.name in arrays else tensors.missing_rows(tensor, rows)
        for tensor in spec.inputs
    }


def _are_objects(rows: list[Any], spec: ModelSpec) -> bool:
    """Return whether the rows of a one-input model are objects `{"x": value}` and not bare values, such as `{"b64": …}`."""
    only = spec.inputs[0]
    bare_bytes = only.dtype == "string" and only.name != "b64"
    return any(type(row) is dict and not (bare_bytes and row.keys() == {"b64"}) for row in rows)


def _examples(rows: Iterable[Any], count: int, spec: ModelSpec) -> Array:
    """Serialize rows of features as `tf.Example`s: bytes `[rows]`."""
    floats = {feature.name for feature in spec.features if "float" in feature.dtype}
    required = {feature.name for feature in spec.features if feature.required}
    examples = np.empty(count, np.object_)
    for i, row in enumerate(rows):
        if type(row) is not dict:
            names = listed(feature.name for feature in spec.features)
            raise WrongTypeError(f"Row {i}: expected an object with {names}, but got {described(row)}.", row=i)
        _check_inputs(row, spec.features, i)
        present = {
            name: _flat(value, f"Row {i}, feature {name!r}")
            for name, value in row.items()
            if value is not None or name in required
        }
        examples[i] = serialized(present, f"Row {i}", floats)
    return examples


def _as_rows(columns: dict[str, Any], spec: ModelSpec) -> tuple[Iterator[dict[str, Any]], int]:
    """Return the rows of columns of features, not all at once as they take much memory, and their number."""
    _check_inputs(columns, spec.features, None)
    lengths: dict[str, int] = {}
    for name, column in columns.items():
        if not isinstance(column, list):
            raise WrongTypeError(f"Column {name!r}: expected a list of values, but got {described(column)}.", input=name)
        _add_length(lengths, name, len(column))
    if not any(lengths.values()):
        raise NoRowsError("The columns are empty; give at least one row.")
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return rows, next(iter(lengths.values()))


def _add_length(lengths: dict[str, int], name: str, rows: int) -> None:
    lengths[name] = rows
    first, expected = next(iter(lengths.items()))
    if rows != expected:
        raise WrongShapeError(
            f"Columns must be of one length, but {first!r} has {expected} rows and {name!r} has {rows}.", input=name
        )


def _flat(value: Any, where: str) -> list[Any]:
    try:
        return flatten(value)[0]
    except InvalidItemError as error:
        raise error.error(f"{where}: {error.reason}.") from None


def _check_inputs(given: dict[str, Any], inputs: Sequence[InputSpec], row: int | None) -> None:
    names = [tensor.name for tensor in inputs]
    where = "" if row is None else f"Row {row}: "
    for name in given:
        if name not in names:
            reason = f"There is no input {cut(name)!r}; the model takes {listed(names)}.{did_you_mean(name, names)}"
            raise UnknownInputError(where + reason, input=cut(name), row=row, expected=names)
    for tensor in inputs:
        if tensor.required and tensor.name not in given:
            reason = f"Input {tensor.name!r} is missing; it is required and has dtype {tensor.dtype}."
            raise MissingInputError(where + reason, input=tensor.name, row=row, expected=names)
