"""The table of paths: which requests are predictions, and of which protocol."""

import pytest

from service.protocols.native.paths import NATIVE
from service.protocols.oip.paths import V2
from service.protocols.protocol import OPEN, PathTable
from service.protocols.tfserving.paths import V1

TABLE = PathTable(V1, V2, NATIVE)


def scope(method: str, path: str) -> dict[str, object]:
    return {"type": "http", "method": method, "path": path, "raw_path": path.encode()}


@pytest.mark.parametrize(
    ("path", "protocol", "template"),
    [
        pytest.param("/models/a/predict", NATIVE, "/models/{model}/predict", id="native"),
        pytest.param("/models/a/labels/b/predict", NATIVE, "/models/{model}/labels/{label}/predict", id="native, a label"),
        pytest.param("/v1/models/a/labels/b:regress", V1, "/v1/models/{model}/labels/{label}:regress", id="v1, a label"),
        pytest.param("/V1/models/a:CLASSIFY", V1, "/v1/models/{model}:classify", id="v1, in another case"),
        pytest.param("/v2/models/a/versions/1/infer", V2, "/v2/models/{model}/versions/{version}/infer", id="v2, a version"),
    ],
)
def test_predictions(path, protocol, template):
    found, match = TABLE.find(scope("POST", path))
    assert found is protocol
    assert match is not None
    assert match.path.template == template
    assert TABLE.find(scope("GET", path)) == (protocol, None)
    assert TABLE.method(scope("GET", path)) == "POST"


@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        pytest.param("/v1/models/a", V1, id="a GET path of v1"),
        pytest.param("/V2/models/a/infer", V2, id="v2 in another case"),
        pytest.param("/MODELS/a/predict", NATIVE, id="native in another case"),
        pytest.param("/foobar/a/predict", NATIVE, id="an unknown prefix"),
        pytest.param("/v3/foo/a/predict", NATIVE, id="an unknown prefix of two segments"),
        pytest.param("/a/b/cd/a/predict", NATIVE, id="a long unknown prefix"),
        pytest.param("//models/a/predict", NATIVE, id="an empty segment"),
        pytest.param("/", NATIVE, id="the root"),
    ],
)
def test_other_paths(path, protocol):
    assert TABLE.find(scope("POST", path)) == (protocol, None)


def test_every_row_matches_its_own_template():
    """No row hides a later one."""
    for protocol in (V1, V2, NATIVE):
        for row in protocol.paths:
            path = row.template.format(model="m", version="1", label="l")
            match = protocol.match(scope(row.method, path))
            assert match is not None
            assert match.path is row


def test_open_paths_are_not_predictions():
    assert [path for path in OPEN if TABLE.method(scope("GET", path))] == []
