"""The native protocol: `instances` or `inputs` in, predictions by head and key out, errors as RFC 9457 problems.

{"instances": [{"x": 1}, …], "heads": ["a"], "keys": ["probabilities"]}     rows
{"inputs": {"x": [1, …]}, "heads": "*"}                                     columns
{"model": "m", "version": 3, "predictions": {"a": {"probabilities": [[…], …]}}}
"""

from typing import Any

import orjson

from service.errors import HeadserveError, InvalidRequestError, RequestError
from service.messages import cut, described, did_you_mean, listed
from service.protocols.json import tensors
from service.protocols.json.reader import Dialect, parse_object
from service.protocols.native import rows
from service.protocols.protocol import JSON_TYPE
from service.protocols.selection import ALL_HEADS, select
from service.types import Encoded, InferRequest, InferResponse, ModelSpec

ERROR_MEDIA_TYPE = "application/problem+json"
_ERROR_HEADERS = ((b"content-type", ERROR_MEDIA_TYPE.encode()),)
MEMBERS = ("instances", "inputs", "heads", "keys")
JSON = Dialect('{"instances": […]}', words=False)


def decode(body: bytes, spec: ModelSpec) -> InferRequest:
    """Decode a request and check it against the model. Raises a subclass of RequestError."""
    message = parse_object(body, JSON)
    for member in message:
        if member not in MEMBERS:
            reason = f"Unknown member {cut(member)!r}; a request has {listed(MEMBERS)}.{did_you_mean(member, MEMBERS)}"
            raise RequestError(reason, member=cut(member), expected=MEMBERS)
    if ("instances" in message) == ("inputs" in message):
        came = "both" if "inputs" in message else "neither"
        raise RequestError(f"Expected either 'instances' (rows) or 'inputs' (columns), but got {came}.")
    heads, keys = message.get("heads"), message.get("keys")
    if heads != ALL_HEADS:
        _check_names("heads", heads, ', "*" for all,')
    _check_names("keys", keys, "")
    outputs = select(spec, heads, keys)
    read = rows.read_rows if "instances" in message else rows.read_columns
    return InferRequest(read(message.get("instances", message.get("inputs")), spec), outputs)


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
    return Encoded((orjson.dumps(problem | error.details),), _ERROR_HEADERS)


def _check_names(member: str, names: Any, other: str) -> None:
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InvalidRequestError(
            f"{member!r}: expected a list of names{other} or nothing for the default, but got {described(names)}."
        )
