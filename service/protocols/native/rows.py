"""The native protocol's inputs: rows or columns of JSON → arrays.

A model whose only input is serialized `tf.Example`s also accepts rows of features, if the features can be read off its graph.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from service.errors import MissingInputError, NoRowsError, UnknownInputError, WrongShapeError, WrongTypeError
from service.messages import cut, described, did_you_mean, listed
from service.protocols.json import tensors
from service.protocols.json.lists import InvalidItemError, flatten
from service.protocols.json.tf_example import serialized
from service.types import Array, InputSpec, ModelSpec


def read_rows(rows: Any, spec: ModelSpec) -> dict[str, Array]:
    """Decode the inputs from a list of rows."""
    if not isinstance(rows, list):
        raise WrongTypeError(f"'instances': expected a list of rows, but got {described(rows)}.")
    if not rows:
        raise NoRowsError("'instances' is empty; give at least one row.")
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


def read_columns(columns: Any, spec: ModelSpec) -> dict[str, Array]:
    """Decode the inputs from an object of columns of equal length."""
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
        if not array.ndim:
            continue
        if not len(array):
            raise NoRowsError(f"Input {tensor.name!r} is empty; give at least one row.", input=tensor.name)
        lengths[tensor.name] = len(array)
        _check_length(tensor.name, lengths)
    if not lengths and len(arrays) < len(spec.inputs):
        raise NoRowsError("Every column is absent or null, so there are no rows; give at least one column of nulls.")
    rows = next(iter(lengths.values()), 0)
    return {
        tensor.name: arrays[tensor.name] if tensor.name in arrays else tensors.missing_rows(tensor, rows)
        for tensor in spec.inputs
    }


def _are_objects(rows: list[Any], spec: ModelSpec) -> bool:
    """Whether the rows of a one-input model are objects `{"x": value}` and not bare values, such as `{"b64": …}`."""
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
    """Return the rows of columns of features, as an iterator since all rows at once take much memory, and their number."""
    _check_inputs(columns, spec.features, None)
    lengths: dict[str, int] = {}
    for name, column in columns.items():
        if not isinstance(column, list):
            raise WrongTypeError(f"Column {name!r}: expected a list of values, but got {described(column)}.", input=name)
        lengths[name] = len(column)
        _check_length(name, lengths)
    if not any(lengths.values()):
        raise NoRowsError("The columns are empty; give at least one row.")
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return rows, next(iter(lengths.values()))


def _check_length(name: str, lengths: Mapping[str, int]) -> None:
    """Raise WrongShapeError unless the column has as many rows as the first one."""
    first, rows = next(iter(lengths.items()))
    if lengths[name] != rows:
        raise WrongShapeError(
            f"Columns must be of one length, but {first!r} has {rows} rows and {name!r} has {lengths[name]}.", input=name
        )


def _flat(value: Any, where: str) -> list[Any]:
    try:
        return flatten(value)[0]
    except InvalidItemError as error:
        raise error.error(f"{where}: {error.reason}.") from None


def _check_inputs(given: dict[str, Any], inputs: Sequence[InputSpec], row: int | None) -> None:
    """Raise for a name that is not an input, or for a required input that is absent."""
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
