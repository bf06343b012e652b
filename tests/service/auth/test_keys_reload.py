"""Added, removed and used-up keys, and invalid key files, over real sockets."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service import Settings, create_app
from service.auth.keys import SCOPES
from service.auth.keys_file import MAX_BYTES
from service.errors import ConfigError
from tests.service.keyed import WRONG, Keyed, error_of, started
from tests.service.keyring import add_key, remove_key
from tests.waiting import GENEROUS_S, until


@pytest.fixture(scope="module")
def keyed(tmp_path_factory, serving) -> Iterator[Keyed]:
    """A server without models."""
    folder = tmp_path_factory.mktemp("models")
    with started(folder, tmp_path_factory.mktemp("keys") / "keys.json", serving) as server:
        yield server


def test_a_key_with_a_rate_gets_429_beyond_it_on_every_path(tmp_path, serving):
    path = tmp_path / "keys.json"
    few, many = add_key(path, "few", *SCOPES, rate="3/hour"), add_key(path, "many", *SCOPES, rate="1000/second")
    with serving(create_app(Settings(models=tmp_path, keys_file=path))) as client:
        began_s = time.monotonic()
        used = [client.post("/models/nix/predict", headers={"x-api-key": few}).status_code for _ in range(3)]
        assert used == [404] * 3
        for asking in ("/models/films/predict", "/v1/models/films:predict", "/v2/models/films/infer", "/models", "/nix"):
            answer = client.post(asking, headers={"x-api-key": few})
            assert answer.status_code == 429
            assert "at most 3 requests per hour" in error_of(answer, asking)
            passed_s = time.monotonic() - began_s
            assert 3590 - passed_s <= int(answer.headers["retry-after"]) <= 3600
            assert answer.headers["ratelimit-limit"] == "3"
            assert answer.headers["ratelimit-remaining"] == "0"
            assert answer.headers["ratelimit-reset"] == answer.headers["retry-after"]
        assert client.get("/livez", headers={"x-api-key": few}).status_code == 200
        assert client.get("/models", headers={"x-api-key": many}).status_code == 200


def test_a_changed_file_takes_effect_at_once(keyed):
    new = add_key(keyed.path, "new", "read")
    until(lambda: keyed.ask("GET", "/models", new).status_code == 200)
    with keyed.client.stream(
        "GET", "/models", headers={"x-api-key": new}
    ) as answer:  # an open connection does not keep its permission
        assert answer.status_code == 200
    remove_key(keyed.path, "new")
    until(lambda: keyed.ask("GET", "/models", new).status_code == 401)
    assert keyed.ask("GET", "/models", "read").status_code == 200


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


BROKEN: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: None,
    "empty": lambda path: path.write_text(""),
    "half": lambda path: path.write_text("{"),
    "no keys": lambda path: path.write_text('{"keys": [{"id": "x"}]}'),
    "nested": lambda path: path.write_text('{"keys": ' + "[" * 100_000),
    "huge": huge,
    "a folder": Path.mkdir,
    "a pipe that nobody writes to": os.mkfifo,
    "a device that never ends": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("nix"),
}


@pytest.mark.parametrize("breaking", [pytest.param(breaking, id=name) for name, breaking in BROKEN.items()])
def test_a_broken_file_leaves_the_keys_in_force(keyed, breaking):
    aside, before = keyed.path.with_name("aside"), keyed.log.getvalue().count("keys not reloaded")
    keyed.path.rename(aside)
    breaking(keyed.path)
    try:
        until(lambda: keyed.log.getvalue().count("keys not reloaded") > before)
        assert keyed.ask("GET", "/models", "read").status_code == 200
    finally:
        news = keyed.log.getvalue().count("keys reloaded")
        if keyed.path.is_dir():
            keyed.path.rmdir()
        aside.replace(keyed.path)
        until(lambda: keyed.log.getvalue().count("keys reloaded") > news)


@pytest.mark.parametrize("breaking", [pytest.param(breaking, id=name) for name, breaking in BROKEN.items()])
def test_a_server_does_not_start_with_a_broken_file(tmp_path, breaking):
    breaking(tmp_path / "keys.json")
    with pytest.raises(ConfigError, match=r"keys\.json"):
        create_app(Settings(models=tmp_path, keys_file=tmp_path / "keys.json"))


def test_a_link_to_the_file(keyed, tmp_path):
    """As Kubernetes mounts a secret: it is turned to another file, and a file that it leads to changes."""
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    for path in (one, other):
        shutil.copy(keyed.path, path)
    new = add_key(other, "linked", "read")
    aside, link = keyed.path.with_name("aside"), keyed.path.with_name("link")
    shutil.copy2(keyed.path, aside)
    for target, status in ((one, 401), (other, 200), (one, 401)):
        link.symlink_to(target)
        link.replace(keyed.path)
        until(lambda status=status: keyed.ask("GET", "/models", new).status_code == status)
    newer = add_key(keyed.path, "newer", "read")
    assert keyed.path.is_symlink()
    until(lambda: keyed.ask("GET", "/models", newer).status_code == 200)
    aside.replace(keyed.path)
    until(lambda: keyed.ask("GET", "/models", newer).status_code == 401)
    assert keyed.ask("GET", "/models", "read").status_code == 200


def test_while_the_file_changes_kept_keys_are_accepted_and_removed_ones_refused(keyed):
    """The file changes a hundred times per second. Once a newer key is accepted, a key removed before it must be refused."""
    ended, refused = threading.Event(), []

    def change() -> None:
        number = 0
        while not ended.wait(0.01):
            number += 1
            add_key(keyed.path, f"noise{number}", "read")
            remove_key(keyed.path, f"noise{number}")

    def ask() -> None:
        with httpx.Client(
            base_url=keyed.client.base_url, headers={"x-api-key": keyed.keys["read"]}, timeout=GENEROUS_S
        ) as client:
            while not ended.is_set():
                refused.extend(status for status in [client.get("/models").status_code] if status != 200)

    threads = [threading.Thread(target=work) for work in (change, ask, ask)]
    for thread in threads:
        thread.start()
    try:
        before = add_key(keyed.path, "turn0", "read")
        until(lambda: keyed.ask("GET", "/models", before).status_code == 200)
        for turn in range(1, 8):
            remove_key(keyed.path, f"turn{turn - 1}")
            after = add_key(keyed.path, f"turn{turn}", "read")
            until(lambda after=after: keyed.ask("GET", "/models", after).status_code == 200)
            assert [keyed.ask("GET", "/models", before).status_code for _ in range(5)] == [401] * 5
            before = after
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert refused == []


@pytest.mark.parametrize("text", ["[]", '{"keys": 1}', '{"keys": [], "more": 1}'])
def test_a_server_does_not_start_with_a_file_of_another_form(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.json"):
        create_app(Settings(models=tmp_path, keys_file=path))


def test_a_file_without_keys_admits_nobody(tmp_path, serving):
    (tmp_path / "keys.json").write_text('{"keys": []}')
    with serving(create_app(Settings(models=tmp_path, keys_file=tmp_path / "keys.json"))) as client:
        assert client.get("/models", headers={"x-api-key": WRONG}).status_code == 401
