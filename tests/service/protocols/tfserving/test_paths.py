import orjson
import pytest

from service.app import _v1_timeout_ms
from service.errors import (
    BodyTooLargeError,
    ModelError,
    OverloadedError,
    RequestError,
    UnknownHeadError,
    UnknownLabelError,
    UnknownModelError,
    UnknownVersionError,
    UnsupportedEncodingError,
)
from service.lifecycle.served_models import LabelStatus, ModelStatus, VersionStatus
from service.protocols.protocol import Match
from service.protocols.tfserving.codec import Classify, MultiInference, Predict, Regress
from service.protocols.tfserving.paths import V1
from service.protocols.tfserving.routes import models, version_statuses
from service.settings import Settings


def matched(path: str) -> Match | None:
    return V1.match({"path": "", "raw_path": path.encode()})


@pytest.mark.parametrize(
    ("path", "codec", "target"),
    [
        pytest.param("/v1/models/m:predict", Predict, ("m", None, None), id="predict"),
        pytest.param("/v1/models/m:classify", Classify, ("m", None, None), id="classify"),
        pytest.param("/v1/models/m:regress", Regress, ("m", None, None), id="regress"),
        pytest.param("/v1/models/m:multiInference", MultiInference, ("m", None, None), id="multiInference"),
        pytest.param("/V1/Models/M:PREDICT", Predict, ("M", None, None), id="case"),
        pytest.param("/v1/models/m/versions/0012:predict", Predict, ("m", "0012", None), id="a version"),
        pytest.param("/v1/models/m/labels/new:predict", Predict, ("m", None, "new"), id="a label"),
        pytest.param("/v1/models/a%2Fb%3Ac:predict", Predict, ("a/b:c", None, None), id="an encoded slash and colon"),
        pytest.param("/v1/models/m/labels/a%2fb:predict", Predict, ("m", None, "a/b"), id="a label with a slash"),
        pytest.param("/v1/models/%C3%BC:predict", Predict, ("ü", None, None), id="UTF-8"),
    ],
)
def test_paths(path, codec, target):
    match = matched(path)
    assert match is not None
    assert isinstance(match.path.codec({}), codec)
    assert (match.model, match.version, match.label) == target
    assert V1.timeout_ms == 30_000


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/m",
        "/v1/models/m:predict/",
        "/v1/models/:predict",
        "/v1/models/m/versions/x:predict",
        "/v1/models/m/versions/٣:predict",
        "/v1/models/m/labels/:predict",
        "/v1/models/m/more:predict",
        "/v1/models/m:explain",
        "/v1/models/m:predictX",
        "/v1/models/m/metadata:predict",
    ],
)
def test_paths_that_are_not_predictions(path):
    match = matched(path)
    assert match is None or match.path.method == "GET"


@pytest.mark.parametrize("version", ["9223372036854775808", "9" * 10_000])
def test_versions_beyond_int64(version):
    with pytest.raises(RequestError, match="at most 9223372036854775807"):
        V1.version_number(version)


def test_leading_zeros_of_a_version():
    assert (V1.version_number("0012"), V1.version_number("000")) == (12, 0)


def test_each_request_has_a_codec_of_its_own():
    path = V1.paths[0]
    assert path.codec({}) is not path.codec({})


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        pytest.param(RequestError("text"), 400, "text", id="request"),
        pytest.param(UnknownHeadError("text"), 400, "text", id="422"),
        pytest.param(UnknownModelError("", model="m"), 404, "Servable not found for request: Latest(m)", id="model"),
        pytest.param(
            UnknownModelError("", model="m", version=2), 404, "Servable not found for request: Specific(m, 2)", id="both"
        ),
        pytest.param(
            UnknownVersionError("", model="m", version=2), 404, "Servable not found for request: Specific(m, 2)", id="v"
        ),
        pytest.param(
            UnknownLabelError("", model="m", label="l", expected=["a"]),
            400,
            "Unrecognized servable version label: l; model 'm' has 'a'",
            id="label",
        ),
        pytest.param(BodyTooLargeError("text"), 413, "text", id="body"),
        pytest.param(UnsupportedEncodingError("text"), 415, "text", id="encoding"),
        pytest.param(OverloadedError("text"), 429, "text", id="overloaded"),
        pytest.param(ModelError("text"), 500, "text", id="model's fault"),
    ],
)
def test_problems(error, status, message):
    got, answer = V1.problem(error)
    assert got == status
    assert orjson.loads(b"".join(answer.chunks)) == {"error": message}
    assert dict(answer.headers) == {b"content-type": b"application/json"}


def test_the_time_of_a_request_is_tensorflow_serving_s_unless_it_is_set(monkeypatch):
    assert _v1_timeout_ms(Settings()) == 30_000
    assert _v1_timeout_ms(Settings(request_timeout_ms=90_000)) == 90_000
    monkeypatch.setenv("HEADSERVE_REQUEST_TIMEOUT_MS", "5")
    assert _v1_timeout_ms(Settings()) == 5


def status(version, state, wanted=True, error=None):
    return VersionStatus(version, state, wanted, error, 0, {}, None, 0, 0, 0)


def test_states_in_tensorflow_serving_s_words():
    versions = [
        status(1, "start", wanted=False),
        status(2, "end"),
        status(3, "failed", error="why"),
        status(4, "available"),
        status(4, "loading"),
        status(5, "warming"),
        status(6, "start"),
        status(7, "unloading"),
        status(8, "verifying"),
    ]
    model = ModelStatus("m", 4, "available", None, tuple(versions), {"old": LabelStatus(2, False)})
    states = {each["version"]: (each["state"], each["status"]["error_message"]) for each in version_statuses(model)}
    assert states == {
        "8": ("LOADING", ""),
        "7": ("UNLOADING", ""),
        "6": ("START", ""),
        "5": ("LOADING", ""),
        "4": ("AVAILABLE", ""),
        "3": ("END", "why"),
        "2": ("END", ""),
    }
    assert list(states) == sorted(states, reverse=True)
    assert [each["version"] for each in version_statuses(model, 2)] == ["2"]
    assert version_statuses(model, 1) == []
    (listed,) = models([model])["models"]
    assert listed["version_labels"] == {"old": "2"}
