"""The keys file: what `read` refuses and reports, how `change` writes it, and what `Keys` reloads."""

import json
import re
import resource
import tempfile
import threading
from pathlib import Path

import pytest

from service.auth.keys import KeyRing
from service.auth.keys_file import MAX_BYTES, Keys, KeysFile, change, read
from service.errors import ConfigError, UnauthorizedError
from tests.service.keyring import add_key, remove_key


def refused(path: Path) -> str:
    """Return the message with which `read` refuses the file."""
    with pytest.raises(ConfigError) as error:
        read(path)
    return error.value.message


def test_messages_about_files_that_cannot_be_read(tmp_path):
    folder, link, huge = tmp_path / "folder", tmp_path / "link", tmp_path / "huge"
    folder.mkdir()
    link.symlink_to(link)
    huge.write_bytes(b"{}" + b" " * (MAX_BYTES - 2))
    assert read(huge) == KeysFile()
    with huge.open("ab") as file:
        file.write(b" ")
    assert refused(huge) == f"The keys file {str(huge)!r} has {MAX_BYTES + 1} bytes; expected at most {MAX_BYTES}."
    assert refused(folder) == f"The keys file {str(folder)!r} cannot be read: it is not a regular file."
    assert refused(link) == f"The keys file {str(link)!r} cannot be read: Too many levels of symbolic links."
    nowhere = tmp_path / "nowhere"
    assert refused(nowhere) == f"There is no keys file {str(nowhere)!r}; 'headserve keys add NAME' makes one."


@pytest.mark.parametrize(("mistakes", "more"), [(1, ""), (5, ""), (6, " and 1 more"), (1000, " and 995 more")])
def test_a_message_lists_at_most_five_mistakes(tmp_path, mistakes, more):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(dict.fromkeys((f"x{number}" for number in range(mistakes)), 1)))
    listed = "; ".join(f"x{number}: Extra inputs are not permitted" for number in range(min(mistakes, 5)))
    assert refused(path) == f"The keys file {str(path)!r} has mistakes: {listed}{more}."


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"scopes": []}, "keys.0.scopes", id="no scope"),
        pytest.param({"scopes": ["root"]}, "keys.0.scopes.0", id="unknown scope"),
        pytest.param({"sha256": "ab"}, "keys.0.sha256", id="short hash"),
        pytest.param(
            {"name": "-" * 81},
            f"expected a name of letters, digits, '.', '_' and '-', at most 64, but got '{'-' * 80}'.",
            id="name",
        ),
        pytest.param({"admin": True}, "keys.0.admin", id="unknown member"),
        pytest.param({"expires": "2026-01-01T00:00:00"}, "keys.0.expires", id="a time without zone"),
        pytest.param(
            {"rate": "1/" + "x" * 40},
            f"expected a rate such as 100/second, 6000/minute, 1000/hour or 10000/day, but got '1/{'x' * 38}'.",
            id="rate",
        ),
        pytest.param({"rate": "0/second"}, "but got '0/second'.", id="a rate of nothing"),
    ],
)
def test_mistakes_in_the_file_are_reported(tmp_path, changed, message):
    path = tmp_path / "keys.json"
    add_key(path, "a", "read")
    content = json.loads(path.read_text())
    content["keys"][0] |= changed
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(path)


@pytest.mark.parametrize("what", ["id", "name"])
def test_ids_and_names_are_unique(tmp_path, what):
    path = tmp_path / "keys.json"
    for name in ("a", "b"):
        add_key(path, name, "read")
    content = json.loads(path.read_text())
    content["keys"][1][what] = content["keys"][0][what]
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=f"two keys have the {what} "):
        read(path)


def test_keys_that_are_added_at_the_same_time_are_all_kept(tmp_path):
    path = tmp_path / "keys.json"
    threads = [threading.Thread(target=add_key, args=(path, f"k{number}", "read")) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.name for key in read(path).keys) == sorted(f"k{number}" for number in range(16))
    assert [child.name for child in tmp_path.iterdir()] == ["keys.json"]


def test_a_change_that_fails_leaves_the_file(tmp_path):
    path = tmp_path / "keys.json"
    add_key(path, "a", "read")
    before = path.read_bytes()

    def fails(_: KeysFile) -> KeysFile:
        raise ConfigError("No.")

    with pytest.raises(ConfigError, match=r"No\."):
        change(path, fails)
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_leaves_no_copy(tmp_path):
    """The path becomes a folder while the file is edited."""
    path = tmp_path / "keys.json"

    def make_folder(before: KeysFile) -> KeysFile:
        path.mkdir()
        return before

    with pytest.raises(ConfigError) as error:
        change(path, make_folder)
    assert error.value.message == f"The keys file {str(path)!r} cannot be written: Is a directory."
    assert list(tmp_path.iterdir()) == [path]


def test_the_copy_is_written_beside_the_file_with_one_member_on_a_line(tmp_path, monkeypatch):
    """A file in another file system cannot replace it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    add_key(tmp_path / "keys.json", "a", "read")
    assert (tmp_path / "keys.json").read_text().startswith('{\n "keys": [\n  {\n   "id": "')


def test_a_broken_file_is_logged_once(tmp_path, caplog):
    """The file is read again with every poll."""
    caplog.set_level("INFO")
    path = tmp_path / "keys.json"
    add_key(path, "read", "read")
    keys, good = Keys(path), path.read_bytes()
    for _ in range(2):
        path.write_text("{")
        for _ in range(5):
            keys.polled.check()
        path.write_bytes(good)
        keys.polled.check()
    assert (caplog.text.count("keys not reloaded"), caplog.text.count("keys reloaded")) == (2, 2)


def test_a_message_about_many_mistakes_is_short(tmp_path):
    (tmp_path / "keys.json").write_text('{"keys": [' + ",".join(["{}"] * 1000) + "]}")
    with pytest.raises(ConfigError, match=r"keys\.0\.id: Field required.* and 4995 more\.$") as refused:
        Keys(tmp_path / "keys.json")
    assert len(refused.value.message) < 1000


def has(ring: KeyRing, key: str) -> bool:
    try:
        return bool(ring.authenticate({b"x-api-key": key.encode()}))
    except UnauthorizedError:
        return False


def test_a_removed_key_is_refused_although_the_first_read_failed(tmp_path):
    """Without a free descriptor, the file cannot be read; later it can, though it has not changed again."""
    path = tmp_path / "keys.json"
    stays, goes = (add_key(path, name, "read") for name in ("stays", "goes"))
    keys = Keys(path)
    remove_key(path, "goes")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            path.open()
        keys.polled.check()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert has(keys.ring, goes)
    keys.polled.check()
    assert (has(keys.ring, goes), has(keys.ring, stays)) == (False, True)
