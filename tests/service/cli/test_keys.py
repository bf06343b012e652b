"""`headserve keys` in this process, on a real file."""

import os
import re
import stat

import pytest

from service.auth.keys import KeyRing, digest_of
from service.auth.keys_file import read
from service.cli import main


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs `headserve keys` with the arguments; returns exit status, standard output and standard error."""
    monkeypatch.setenv("HEADSERVE_KEYS_FILE", str(tmp_path / "keys.json"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main.main(["keys", *arguments])
        return (ended.value.code, *capsys.readouterr())

    return run


def test_a_key_is_printed_once_and_only_its_hash_is_stored(run, tmp_path):
    status, out, err = run("add", "shop", "--scope", "predict", "--scope", "read", "--models", "a, b", "--rate", "100/second")
    key = out.strip()
    assert status == 0
    assert re.fullmatch(r"hs_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", key)
    assert "never again" in err
    path = tmp_path / "keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in path.read_text()
    assert key.split("_", 2)[2] not in path.read_text()
    (stored,) = read(path).keys
    assert (stored.name, stored.scopes, stored.models, stored.rate) == ("shop", ("predict", "read"), ("a", "b"), "100/second")
    assert stored.sha256 == digest_of(key.encode()).hex()
    known = KeyRing([stored.key]).authenticate({b"x-api-key": key.encode()})
    assert known.name == "shop"
    assert [known.sees(model) for model in ("a", "b", "c")] == [True, True, False]
    _, out, _ = run("list")
    assert [part for part in ("shop", "predict, read", "a, b", "100/second") if part not in out] == []
    assert stored.sha256 not in out


def test_no_two_keys_are_alike(run):
    assert len({run("add", f"k{number}")[1] for number in range(20)}) == 20


def test_a_key_predicts_with_all_models_by_default(run, tmp_path):
    run("add", "me")
    (stored,) = read(tmp_path / "keys.json").keys
    assert (stored.scopes, stored.models, stored.rate, stored.expires) == (("predict",), ("*",), None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["a b"], "name: expected a name of letters", id="space"),
        pytest.param(["a\n2026-11-22 forged"], "name: expected a name of letters", id="line break"),
        pytest.param(["\x1b[2J"], "name: expected a name of letters", id="escape"),
        pytest.param(["a" * 65], "at most 64", id="long"),
        pytest.param(["x", "--scope", "root"], "'predict', 'read' or 'admin'", id="scope"),
        pytest.param(["x", "--rate", "fast"], "expected a rate such as 100/second", id="rate"),
        pytest.param(["x", "--rate", "0/second"], "expected a rate such as 100/second", id="rate of nothing"),
        pytest.param(["x", "--models", ","], "models:", id="no models"),
        pytest.param(["x", "--expires", "soon"], "--expires: expected a date", id="date"),
        pytest.param(["x", "--expires", "99999999999d"], "--expires: expected a date", id="far"),
        pytest.param(["x", "--expires", "2020-01-01"], "expected a time in the future", id="past"),
        pytest.param(["there"], "There is already a key 'there'", id="twice"),
    ],
)
def test_invalid_arguments_of_add_are_refused(run, tmp_path, arguments, message):
    run("add", "there")
    before = (tmp_path / "keys.json").read_bytes()
    status, out, err = run("add", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert (tmp_path / "keys.json").read_bytes() == before


@pytest.mark.parametrize("expires", ["90d", "12w", "1y", "2999-01-31", "2999-01-31T12:00:00+02:00"])
def test_expiry(run, tmp_path, expires):
    assert run("add", "me", "--expires", expires)[0] == 0
    assert not read(tmp_path / "keys.json").keys[0].expired


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_key_is_removed_by_name_or_id(run, tmp_path, by):
    run("add", "a")
    run("add", "b")
    assert run("remove", getattr(read(tmp_path / "keys.json").keys[0], by))[0] == 0
    assert [key.name for key in read(tmp_path / "keys.json").keys] == ["b"]
    status, _, err = run("remove", "c")
    assert status == 2
    assert "There is no key 'c'; there are 'b'" in err


def test_a_missing_file_is_refused_except_by_add(run, tmp_path):
    for arguments in (["list"], ["remove", "x"]):
        status, _, err = run(*arguments)
        assert status == 2
        assert "There is no keys file" in err
    status, _, err = run("add", "x", "--keys-file", str(tmp_path / "nix" / "keys.json"))
    assert status == 2
    assert "cannot be written: No such file" in err


@pytest.mark.parametrize("arguments", [["list"], ["add", "x"], ["remove", "x"]], ids=" ".join)
@pytest.mark.parametrize(
    ("making", "message"),
    [
        pytest.param(lambda path: path.symlink_to(path), "Too many levels of symbolic links", id="a link to itself"),
        pytest.param(lambda path: path.mkdir(), "it is not a regular file", id="a folder"),
        pytest.param(os.mkfifo, "it is not a regular file", id="a pipe"),
    ],
)
def test_a_path_that_is_not_a_file_is_refused(run, tmp_path, arguments, making, message):
    making(tmp_path / "keys.json")
    status, _, err = run(*arguments)
    assert status == 2
    assert message in err
    assert [child.name for child in tmp_path.iterdir()] == ["keys.json"]
