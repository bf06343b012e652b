"""The requests that a model is warmed up with: those recorded in the version's folder, else one with the model's example.

Requests can be recorded in `assets.extra/`, in two formats:

- `warmup_requests.jsonl`, headserve's format: one request body of the native protocol per line;
- `tf_serving_warmup_requests`, TensorFlow Serving's: a TFRecord of `PredictionLog`s. `Predict` requests are run; requests
  for the other APIs are skipped.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson

from service.errors import HeadserveError, ModelLoadError
from service.types import Array, InferRequest, ModelSpec

Decode: TypeAlias = Callable[[bytes, ModelSpec], InferRequest]
"""Decodes a request body of the native protocol."""

OWN_FILE = Path("assets.extra") / "warmup_requests.jsonl"
TF_SERVING_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_REQUESTS = 1000
"""Maximum number of recorded requests; TensorFlow Serving has the same limit."""

MAX_BYTES = 256 * 2**20
"""Maximum size of a file of recorded requests, and of the arrays of all recorded requests, which are in memory together."""
MAX_REQUEST_BYTES = 32 * 2**20
"""Maximum size of one recorded request; the default of `max_body_bytes`."""
MAX_DIMENSIONS = 254
"""Maximum number of dimensions of a tensor in TensorFlow."""

# Field numbers of tensorflow_serving/apis/{prediction_log,predict}.proto, which TensorFlow does not contain.
_PREDICT_LOG, _REQUEST, _INPUTS, _MAP_KEY, _MAP_VALUE = 6, 1, 2, 1, 2
_LENGTH_DELIMITED = 2
_HEADER = struct.Struct("<QI")
"""The beginning of a record of a TFRecord: its length, and the checksum of the length. Another checksum follows the data."""
_CHECKSUM_BYTES = 4


def recorded_requests(spec: ModelSpec, folder: Path, decode: Decode) -> list[InferRequest]:
    """Return the recorded requests in the folder, at most MAX_REQUESTS. Raises ModelLoadError for a broken or large file."""
    requests: list[InferRequest] = []
    native, tf_serving = folder / OWN_FILE, folder / TF_SERVING_FILE
    if native.is_file():
        requests += _native(native, spec, decode)
    if tf_serving.is_file():
        requests += _prediction_logs(tf_serving, spec)
    return requests[:MAX_REQUESTS]


def example_request(spec: ModelSpec, decode: Decode) -> InferRequest | None:
    """Return a request of one row for all heads, with the model's example; None if the example is not a valid row."""
    try:
        return decode(orjson.dumps({"instances": [spec.example], "heads": "*"}), spec)
    except (HeadserveError, TypeError):
        return None


def repeated(inputs: dict[str, Array], rows: int) -> dict[str, Array]:
    """Return `rows` rows that repeat the rows of the inputs."""
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}


def _native(path: Path, spec: ModelSpec, decode: Decode) -> Iterator[InferRequest]:
    _check_size(path)
    bytes_left = MAX_BYTES
    lines = filter(None, map(bytes.strip, path.read_bytes().splitlines()))
    for number, line in enumerate(islice(lines, MAX_REQUESTS), 1):
        if len(line) > MAX_REQUEST_BYTES:
            raise ModelLoadError(f"{path}, request {number}: expected at most {MAX_REQUEST_BYTES} bytes, but got {len(line)}.")
        try:
            request = decode(line, spec)
        except HeadserveError as error:
            raise ModelLoadError(f"{path}, request {number}: {error.message}") from error
        bytes_left -= sum(array.nbytes for array in request.inputs.values())
        if bytes_left < 0:
            raise _too_large(path, number)
        yield request


def _prediction_logs(path: Path, spec: ModelSpec) -> list[InferRequest]:
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    _check_size(path)
    names = {tensor.name for tensor in spec.inputs}
    requests = []
    bytes_left = MAX_BYTES
    try:
        _check_records(path)
        for number, record in enumerate(tf.data.TFRecordDataset(str(path)).take(MAX_REQUESTS).as_numpy_iterator(), 1):
            for log in _fields(record, _PREDICT_LOG):
                inputs = {}
                for request in _fields(log, _REQUEST):
                    for entry in _fields(request, _INPUTS):
                        (name,), (value,) = _fields(entry, _MAP_KEY), _fields(entry, _MAP_VALUE)
                        tensor = tensor_pb2.TensorProto.FromString(value)
                        bytes_left -= _array_bytes(tensor)
                        if bytes_left < 0:
                            raise _too_large(path, number)
                        inputs[name.decode()] = tf.make_ndarray(tensor)
                if inputs.keys() == names:
                    requests.append(InferRequest(inputs, spec.outputs))
    except ModelLoadError:
        raise
    except Exception as error:  # of TensorFlow, protobuf, or the unpacking above
        raise ModelLoadError(f"{path} is not a TFRecord of PredictionLog: {error}") from error
    return requests


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ModelLoadError(f"{path}: expected at most {MAX_BYTES} bytes, but got {size}; record fewer or smaller requests.")


def _too_large(path: Path, number: int) -> ModelLoadError:
    return ModelLoadError(
        f"{path}, request {number}: the arrays of the recorded requests take more than {MAX_BYTES} bytes together; "
        "record fewer or smaller requests."
    )


def _check_records(path: Path) -> None:
    """Check the lengths of the records. TensorFlow reserves memory for a record before it reads it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while header := file.read(_HEADER.size):
            length, _ = _HEADER.unpack(header.ljust(_HEADER.size, b"\xff"))
            end = file.tell() + length + _CHECKSUM_BYTES
            if end > size or length > MAX_REQUEST_BYTES:
                raise ValueError(
                    f"a record of {length} bytes; expected at most {MAX_REQUEST_BYTES}, and not more than the file has"
                )
            file.seek(end)


def _array_bytes(tensor: Any) -> int:
    """Return the size of the array that a TensorProto declares, without making it; one value may stand for all of them."""
    import tensorflow as tf

    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or len(sizes) > MAX_DIMENSIONS or any(size < 0 for size in sizes):
        raise ValueError(
            f"a tensor has the shape {sizes[:9] or 'unknown'}; expected at most {MAX_DIMENSIONS} sizes of 0 or more"
        )
    dtype: np.dtype[Any] = np.dtype(tf.dtypes.as_dtype(tensor.dtype).as_numpy_dtype)
    return int(prod(sizes) * dtype.itemsize)


def _fields(message: bytes, number: int) -> list[bytes]:
    """Return the values of a length-delimited field of a serialized protocol buffer, in order."""
    from google.protobuf import empty_pb2, unknown_fields

    fields = unknown_fields.UnknownFieldSet(empty_pb2.Empty.FromString(message))
    return [field.data for field in fields if (field.field_number, field.wire_type) == (number, _LENGTH_DELIMITED)]
