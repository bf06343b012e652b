"""JSON objects → serialized `tf.Example`s.

The kind of a feature follows from its values, as in TensorFlow Serving: whole numbers and booleans are int64, numbers with a
point are float, strings and {"b64": …} are bytes. Whole numbers are float if the model is known to read the feature as floats.

Messages and field numbers, from tensorflow/core/example/{example,feature}.proto:

    Example { features = 1 }    Features { feature = 1: map }    entry { key = 1, value = 2 }
    Feature { bytes_list = 1 | float_list = 2 | int64_list = 3 }    lists { value = 1; numbers are packed }
"""

import sys
from array import array
from collections.abc import Collection, Iterable
from typing import Any

from service.errors import InvalidInputError, OutOfRangeError, WrongTypeError
from service.messages import cut, described
from service.protocols.json.lists import to_bytes

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


def serialized(features: Any, where: str, floats: Collection[str] = ()) -> bytes:
    """Serialize one `tf.Example` from an object with a value or a list of values for each feature.

    The model reads the features `floats` as floats. Raises InvalidRequestError with the place `where`.
    """
    if type(features) is not dict:
        raise WrongTypeError(f"{where}: expected an object of features, but got {described(features)}.")
    entries = []
    for name, value in features.items():
        feature = _feature(value if type(value) is list else [value], f"{where}, feature {cut(name)!r}", name in floats)
        entries.append(_field(1, _field(1, name.encode()) + _field(2, feature)))
    return _field(1, b"".join(entries))


def _feature(values: list[Any], where: str, as_floats: bool) -> bytes:
    types = set(map(type, values))
    if not types:
        return b""
    if types <= {str, dict}:
        return _field(_BYTES_LIST, b"".join([_field(1, _bytes(value, where)) for value in values]))
    if types == {float} or (as_floats and types <= {int, float}):
        return _field(_FLOAT_LIST, _field(1, _floats(values, where)))
    if types <= {int, bool}:
        return _field(_INT64_LIST, _field(1, _int64s(values, where)))
    wrong = next((value for value in values if type(value) not in (int, float, bool, str, dict)), None)
    if wrong is not None or None in values:
        raise WrongTypeError(f"{where}: expected a number, a string, true or false, or a list, but got {described(wrong)}.")
    first = next(value for value in values if type(value) is not type(values[0]))
    raise WrongTypeError(
        f"{where}: expected values of one kind, but got {described(values[0])} and {described(first)}; "
        "a number with a point and a whole number are of different kinds."
    )


def _bytes(value: Any, where: str) -> bytes:
    try:
        data = to_bytes(value)
    except ValueError as error:
        raise InvalidInputError(f'{where}: expected base64 in {{"b64": …}}, but it is broken: {error}.') from None
    if data is None:
        raise WrongTypeError(f'{where}: expected a string or {{"b64": "…"}}, but got {described(value)}.')
    return data


def _floats(values: list[Any], where: str) -> bytes:
    try:
        numbers = array("f", values)
    except OverflowError:
        raise OutOfRangeError(f"{where}: expected numbers in the range of float32.") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _int64s(values: Iterable[int], where: str) -> bytes:
    data = bytearray()
    for value in values:
        if not -(1 << 63) <= value < 1 << 63:
            raise OutOfRangeError(f"{where}: expected a number in the range of int64, but got {value}.")
        data += _varint(value & 0xFFFF_FFFF_FFFF_FFFF)  # a negative one as its two's complement
    return bytes(data)


def _field(number: int, data: bytes) -> bytes:
    """Return a length-delimited field."""
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)
