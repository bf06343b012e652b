"""headserve's own protocol: `instances` or `inputs` in, predictions by head and key out, problems as RFC 9457.

{"instances": [{"x": 1}, …], "heads": ["a"], "keys": ["probabilities"]}     rows
{"inputs": {"x": [1, …]}, "heads": "*"}                                     columns
{"model": "m", "version": 3, "predictions": {"a": {"probabilities": [[…], …]}}}
"""

from typing import Any

import orjson

from service.api import JSON_TYPE, Encoded
from service.codec import tensors
from service.codec.nested import described
from service.errors import (
    BrokenJsonError,
    HeadserveError,
    InvalidRequestError,
    MissingInputError,
    NoRowsError,
    RequestError,
    UnknownInputError,
    WrongShapeError,
    WrongTypeError,
)
from service.selection import ALL_HEADS, select
from service.types import Array, InferRequest, InferResponse, ModelSpec
from service.wording import did_you_mean, listed

ERROR_MEDIA_TYPE = "application/problem+json"
_ERROR_HEADERS = ((b"content-type", ERROR_MEDIA_TYPE.encode()),)
MEMBERS = ("instances", "inputs", "heads", "keys")


def decode(body: bytes, spec: ModelSpec) -> InferRequest:
    """The request that the body holds, checked against the model. Raises RequestError of the kind that fits."""
    message = parse(body)
    if not isinstance(message, dict):
        raise RequestError(f'Expected an object such as {{"instances": […]}}, but got {described(message)}.')
    for member in message:
        if member not in MEMBERS:
            raise RequestError(
                f"Unknown member {member!r}; a request has {listed(MEMBERS)}.{did_you_mean(member, MEMBERS)}",
                member=member,
                expected=MEMBERS,
            )
    if ("instances" in message) == ("inputs" in message):
        came = "both" if "inputs" in message else "neither"
        raise RequestError(f"Expected either 'instances' (rows) or 'inputs' (columns), but got {came}.")
    heads, keys = message.get("heads"), message.get("keys")
    if heads != ALL_HEADS:
        _check_names("heads", heads, ', "*" for all,')
    _check_names("keys", keys, "")
    outputs = select(spec, heads, keys)
    read = _rows if "instances" in message else _columns
    return InferRequest(read(message.get("instances", message.get("inputs")), spec), outputs)


def encode(response: InferResponse) -> Encoded:
    """The answer as JSON; NaN and infinities are null."""
    predictions: dict[str, dict[str, Any]] = {}
    for (head, key), array in response.outputs.items():
        predictions.setdefault(head, {})[key] = tensors.encode(array, head, key)
    answer = {"model": response.model, "version": response.version, "predictions": predictions}
    return Encoded((tensors.dumped(answer),), (JSON_TYPE,))


def encode_error(error: HeadserveError) -> Encoded:
    """The problem as JSON: RFC 9457's members, `code`, `error` for clients of other protocols, and the details."""
    problem = {
        "type": f"urn:headserve:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "error": error.message,
    }
    return Encoded((orjson.dumps(problem | error.details),), _ERROR_HEADERS)


def parse(body: bytes) -> Any:
    """The JSON value. Raises BrokenJsonError with line and column, both from 1."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        line, column, message = error.lineno, error.colno, error.msg
        hint = ""
        try:
            text = body.decode()
        except UnicodeDecodeError as wrong:
            before = body[: wrong.start]
            line, column = before.count(b"\n") + 1, wrong.start - before.rfind(b"\n")
            message = "this is no UTF-8"
        else:
            if not text.strip():
                hint = ' The body is empty; send {"instances": […]}.'
            elif text[error.pos : error.pos + 9].startswith(("NaN", "Infinity", "-Infinity", "nan", "inf")):
                hint = " JSON has no NaN or Infinity; for an optional input, give null."
        raise BrokenJsonError(
            f"The body is no JSON: {message}, at line {line}, column {column}.{hint}", line=line, column=column
        ) from None


def _check_names(member: str, names: Any, other: str) -> None:
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InvalidRequestError(
            f"{member!r}: expected a list of names{other} or nothing for the default, but got {described(names)}."
        )


def _rows(rows: Any, spec: ModelSpec) -> dict[str, Array]:
    """The inputs' arrays from a list of rows."""
    if not isinstance(rows, list):
        raise WrongTypeError(f"'instances': expected a list of rows, but got {described(rows)}.")
    if not rows:
        raise NoRowsError("'instances' is empty; give at least one row.")
    for tensor in spec.inputs:
        if tensor.shape == ():
            raise WrongShapeError(f"Input {tensor.name!r} has no rows; use 'inputs'.", input=tensor.name)
    if len(spec.inputs) == 1 and not _are_objects(rows, spec):
        return {spec.inputs[0].name: tensors.decode(rows, spec.inputs[0])}
    names = spec.input_names
    expected = dict.fromkeys(names).keys()
    for i, row in enumerate(rows):
        if type(row) is not dict:
            raise WrongTypeError(f"Row {i}: expected an object with {listed(names)}, but got {described(row)}.", row=i)
        if row.keys() != expected:
            _check_inputs(row, spec, i)
    return {tensor.name: tensors.decode([row.get(tensor.name) for row in rows], tensor) for tensor in spec.inputs}


def _are_objects(rows: list[Any], spec: ModelSpec) -> bool:
    """Whether a one-input model got `{"x": value}` rather than bare values; `{"b64": …}` is a bare string."""
    only = spec.inputs[0]
    bare_bytes = only.dtype == "string" and only.name != "b64"
    return any(type(row) is dict and not (bare_bytes and row.keys() == {"b64"}) for row in rows)


def _columns(columns: Any, spec: ModelSpec) -> dict[str, Array]:
    """The inputs' arrays from an object of columns, all of the same length."""
    if not isinstance(columns, dict):
        raise WrongTypeError(f"'inputs': expected an object of columns, but got {described(columns)}.")
    _check_inputs(columns, spec, None)
    arrays: dict[str, Array] = {}
    longest = ""
    for tensor in spec.inputs:
        if columns.get(tensor.name) is None and not tensor.required:
            continue
        array = arrays[tensor.name] = tensors.decode(columns.get(tensor.name), tensor)
        if not array.ndim:
            continue
        if not len(array):
            raise NoRowsError(f"Input {tensor.name!r} is empty; give at least one row.", input=tensor.name)
        longest = longest or tensor.name
        if len(array) != len(arrays[longest]):
            raise WrongShapeError(
                f"Columns must be of one length, but {longest!r} has {len(arrays[longest])} rows "
                f"and {tensor.name!r} has {len(array)}.",
                input=tensor.name,
            )
    if not longest and len(arrays) < len(spec.inputs):
        raise NoRowsError("Every column is absent or null, so there are no rows; give at least one column of nulls.")
    rows = len(arrays[longest]) if longest else 0
    return {
        tensor.name: arrays[tensor.name] if tensor.name in arrays else tensors.missing_rows(tensor, rows)
        for tensor in spec.inputs
    }


def _check_inputs(given: dict[str, Any], spec: ModelSpec, row: int | None) -> None:
    """Raises for a name that is no input, or for a required input that is absent."""
    names = [tensor.name for tensor in spec.inputs]
    where = "" if row is None else f"Row {row}: "
    for name in given:
        if name not in names:
            raise UnknownInputError(
                f"{where}There is no input {name!r}; the model takes {listed(names)}.{did_you_mean(name, names)}",
                input=name,
                row=row,
                expected=names,
            )
    for tensor in spec.inputs:
        if tensor.required and tensor.name not in given:
            raise MissingInputError(
                f"{where}Input {tensor.name!r} is missing; it is required and has dtype {tensor.dtype}.",
                input=tensor.name,
                row=row,
                expected=names,
            )
