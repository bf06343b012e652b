import numpy as np
import pytest

from service.errors import ModelLoadError
from service.protocols.native.codec import decode
from service.runtime.warmup import (
    MAX_BYTES,
    MAX_REQUEST_BYTES,
    OWN_FILE,
    TF_SERVING_FILE,
    example_request,
    recorded_requests,
    repeated,
)
from service.types import HeadSpec, InputSpec, ModelSpec, TensorSpec

SPEC = ModelSpec(
    "m", 1, (InputSpec("x", "float32", (-1, 2)),), (HeadSpec("a", (TensorSpec("y", "float32", (-1, 1)),)),), {}, {"x": [1, 2]}
)


def field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protocol buffer, of less than 128 bytes."""
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


def write_logs(folder, *logs):
    import tensorflow as tf

    path = folder / TF_SERVING_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log)


def predict_log(name: bytes, values) -> bytes:
    """`PredictionLog{predict_log{request{model_spec{name: "m"} inputs{key: name value: tensor}}}}`."""
    import tensorflow as tf

    tensor = tf.make_tensor_proto(values, tf.float32).SerializeToString()
    request = field(1, field(1, b"m")) + field(2, field(1, name) + field(2, tensor))
    return field(6, field(1, request))


def test_requests_of_tensorflow_serving(tmp_path):
    skipped = (field(2, b""), predict_log(b"examples", [1.0]))
    write_logs(tmp_path, predict_log(b"x", [[1.0, 2.0]]), *skipped, predict_log(b"x", [[3.0, 4.0]]))
    requests = recorded_requests(SPEC, tmp_path, decode)
    assert [request.inputs["x"].tolist() for request in requests] == [[[1, 2]], [[3, 4]]]
    assert requests[0].outputs == (("a", "y"),)


def test_a_broken_file_is_refused(tmp_path):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / TF_SERVING_FILE).write_bytes(b"not a TFRecord")
    with pytest.raises(ModelLoadError, match="is not a TFRecord of PredictionLog"):
        recorded_requests(SPEC, tmp_path, decode)


def tensor_log(tensor: bytes) -> bytes:
    return field(6, field(1, field(1, field(1, b"m")) + field(2, field(1, b"x") + field(2, tensor))))


def declared(*sizes: int, dtype: int = 1, value: bytes = b"\x2d\0\0\0\0") -> bytes:
    """A TensorProto with a shape and one float, which stands for all elements."""
    from tensorflow.core.framework import tensor_pb2

    tensor = tensor_pb2.TensorProto(dtype=dtype)
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor.SerializeToString() + value


LARGE = "the arrays of the recorded requests take more than 268435456 bytes"


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        pytest.param(declared(750_000_000), LARGE, id="one value for 750,000,000"),
        pytest.param(declared(2**32, 2**32), LARGE, id="a product beyond 64 bits"),
        pytest.param(declared(2**62, dtype=7, value=b"\x42\1a"), LARGE, id="strings"),
        pytest.param(declared(-1), "a tensor has the shape", id="a negative size"),
        pytest.param(declared(-(2**31), -(2**31)), "a tensor has the shape", id="a product of negative sizes"),
        pytest.param(declared(value=b"\x12\2\x18\1"), "a tensor has the shape unknown", id="no shape"),
        pytest.param(declared(1, dtype=99), "is not a TFRecord of PredictionLog", id="no type"),
    ],
)
def test_a_tensor_is_checked_before_it_is_made(tmp_path, monkeypatch, tensor, message):
    import tensorflow as tf

    monkeypatch.setattr(tf, "make_ndarray", lambda _: pytest.fail("the array was made"))
    write_logs(tmp_path, tensor_log(tensor))
    with pytest.raises(ModelLoadError, match=message):
        recorded_requests(SPEC, tmp_path, decode)


def test_a_tensor_with_too_many_dimensions_is_refused(tmp_path):
    from tensorflow.core.framework import tensor_pb2

    from service.runtime.warmup import _array_bytes

    tensor = tensor_pb2.TensorProto(dtype=1)
    for _ in range(255):
        tensor.tensor_shape.dim.add(size=1)
    with pytest.raises(ValueError, match="at most 254 sizes"):
        _array_bytes(tensor)


def test_the_arrays_of_all_requests_are_counted(tmp_path):
    tensor = declared(20_000_000, 2)
    write_logs(tmp_path, tensor_log(tensor), tensor_log(tensor))
    with pytest.raises(ModelLoadError, match=f"request 2: {LARGE}"):
        recorded_requests(SPEC, tmp_path, decode)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("length", [100, 2**28, 2**40, 2**63, 2**64 - 1])
def test_a_record_longer_than_the_file_is_refused(tmp_path, length):
    """The checksum of the length is right, so that TensorFlow would reserve memory for the record."""
    header = length.to_bytes(8, "little")
    crc = crc32c(header)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / TF_SERVING_FILE).write_bytes(header + masked.to_bytes(4, "little") + b"abc")
    with pytest.raises(ModelLoadError, match=f"a record of {length} bytes"):
        recorded_requests(SPEC, tmp_path, decode)


@pytest.mark.parametrize("file", [OWN_FILE, TF_SERVING_FILE], ids=["native", "TensorFlow Serving's"])
def test_a_file_that_is_too_large_is_not_read(tmp_path, file):
    (tmp_path / "assets.extra").mkdir()
    with (tmp_path / file).open("wb") as sparse:
        sparse.truncate(MAX_BYTES + 1)
    with pytest.raises(ModelLoadError, match=f"expected at most {MAX_BYTES} bytes, but got {MAX_BYTES + 1}"):
        recorded_requests(SPEC, tmp_path, decode)


def test_a_recorded_line_that_is_too_large_is_refused(tmp_path):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / OWN_FILE).write_bytes(b"[" * (MAX_REQUEST_BYTES + 1))
    with pytest.raises(ModelLoadError, match=f"request 1: expected at most {MAX_REQUEST_BYTES} bytes"):
        recorded_requests(SPEC, tmp_path, decode)


def test_the_example_is_a_request():
    request = example_request(SPEC, decode)
    assert request is not None
    assert repeated(dict(request.inputs), 3)["x"].tolist() == [[1, 2]] * 3


def test_an_example_that_is_not_a_row(tmp_path):
    spec = ModelSpec("m", 1, SPEC.inputs, SPEC.heads, {}, {"x": np.nan})
    assert example_request(spec, decode) is None
    assert recorded_requests(spec, tmp_path, decode) == []
