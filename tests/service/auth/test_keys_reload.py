"""Keys that come, go, are used up, and files of them that are of no use, over real sockets."""

from collections.abc import Iterator

import pytest

from service import Settings, create_app
from service.auth.keys import SCOPES
from service.errors import ConfigError
from tests.service.keyed import WRONG, Keyed, error_of, started
from tests.service.keyring import add_key, remove_key
from tests.waiting import until


@pytest.fixture(scope="module")
def keyed(tmp_path_factory, serving) -> Iterator[Keyed]:
    """A server without models."""
    folder = tmp_path_factory.mktemp("models")
    with started(folder, tmp_path_factory.mktemp("keys") / "keys.json", serving) as server:
        yield server


def test_a_rate_is_a_limit(tmp_path, serving):
    path = tmp_path / "keys.json"
    few, many = add_key(path, "few", *SCOPES, rate="3/hour"), add_key(path, "many", *SCOPES, rate="1000/second")
    with serving(create_app(Settings(models=tmp_path, keys_file=path))) as client:
        used = [client.post("/models/nix/predict", headers={"x-api-key": few}).status_code for _ in range(3)]
        assert used == [404] * 3
        for asking in ("/models/films/predict", "/v1/models/films:predict", "/v2/models/films/infer", "/models", "/nix"):
            answer = client.post(asking, headers={"x-api-key": few})
            assert answer.status_code == 429
            assert "may ask 3 times a hour" in error_of(answer, asking)
            assert 3590 <= int(answer.headers["retry-after"]) <= 3600
            assert answer.headers["ratelimit-limit"] == "3"
            assert answer.headers["ratelimit-remaining"] == "0"
            assert answer.headers["ratelimit-reset"] == answer.headers["retry-after"]
        assert client.get("/livez", headers={"x-api-key": few}).status_code == 200
        assert client.get("/models", headers={"x-api-key": many}).status_code == 200


def test_a_changed_file_is_in_force_at_once(keyed):
    new = add_key(keyed.path, "new", "read")
    until(lambda: keyed.ask("GET", "/models", new).status_code == 200)
    with keyed.client.stream("GET", "/models", headers={"x-api-key": new}) as answer:  # a connection does not keep its rights
        assert answer.status_code == 200
    remove_key(keyed.path, "new")
    until(lambda: keyed.ask("GET", "/models", new).status_code == 401)
    assert keyed.ask("GET", "/models", "read").status_code == 200


@pytest.mark.parametrize("text", ["", "{", '{"keys": [{"id": "x"}]}', None])
def test_a_broken_file_takes_no_key_away(keyed, text):
    good, before = keyed.path.read_bytes(), keyed.log.getvalue().count("of no use")
    if text is None:
        keyed.path.unlink()
    else:
        keyed.path.write_text(text)
    try:
        until(lambda: keyed.log.getvalue().count("of no use") > before)
        assert keyed.ask("GET", "/models", "read").status_code == 200
    finally:
        news = keyed.log.getvalue().count("keys are new")
        keyed.path.write_bytes(good)
        until(lambda: keyed.log.getvalue().count("keys are new") > news)


@pytest.mark.parametrize("text", [None, "", "[]", '{"keys": 1}', '{"keys": [], "more": 1}'])
def test_a_server_does_not_start_with_a_broken_file(tmp_path, text):
    path = tmp_path / "keys.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.json"):
        create_app(Settings(models=tmp_path, keys_file=path))


def test_a_file_without_keys_lets_nobody_in(tmp_path, serving):
    (tmp_path / "keys.json").write_text('{"keys": []}')
    with serving(create_app(Settings(models=tmp_path, keys_file=tmp_path / "keys.json"))) as client:
        assert client.get("/models", headers={"x-api-key": WRONG}).status_code == 401
