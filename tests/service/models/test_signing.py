"""Signed versions: what a signature covers, and what is refused."""

import json
import subprocess
from pathlib import Path

import pytest

from service.errors import ConfigError, ModelLoadError
from service.lifecycle.verification import verify
from service.models.signing import SIGNATURE, new_key, read_public_keys, sign
from tests.service.conftest import FILMS_CARD, write_card


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key(tmp_path / "team.pem")
    return tmp_path / "team.pem"


@pytest.fixture
def public(key: Path) -> Path:
    return key.with_name("team.pub.pem")


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "films" / "2"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


def test_a_signed_version(version, key, public):
    assert sign(version, key) == 2
    verify(version, public)


def test_a_signed_version_with_a_card(version, key, public):
    write_card(version, FILMS_CARD)
    assert sign(version, key) == 3
    verify(version, public)
    write_card(version, FILMS_CARD | {"name": "other"})
    with pytest.raises(ModelLoadError, match=r"heads\.json was altered since the version was signed"):
        verify(version, public)


def test_without_public_keys_no_signature_is_required(version, key):
    verify(version)
    sign(version, key)
    verify(version)


def test_signing_again_replaces_the_signature(version, key, public):
    sign(version, key)
    first = (version / SIGNATURE).read_bytes()
    sign(version, key)
    assert (version / SIGNATURE).read_bytes() == first, "the same files, the same signature"
    (version / "saved_model.pb").write_bytes(b"another graph")
    with pytest.raises(ModelLoadError, match="altered"):
        verify(version, public)
    sign(version, key)
    verify(version, public)


def test_a_file_that_a_killed_signing_left_is_not_signed(version, key, public):
    (version / "assets.extra").mkdir()
    (version / "assets.extra" / ".headserve.sig.new").write_bytes(b"half")
    assert sign(version, key) == 2
    assert [path.name for path in (version / "assets.extra").iterdir()] == ["headserve.sig"]
    verify(version, public)


def edited(change):
    def edit(version: Path) -> None:
        path = version / SIGNATURE
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        pytest.param(lambda v: (v / SIGNATURE).unlink(), r"is not signed, and require_signature is set", id="no signature"),
        pytest.param(lambda v: (v / "saved_model.pb").write_bytes(b"gr4ph"), r"saved_model\.pb was altered", id="graph"),
        pytest.param(
            lambda v: (v / "variables" / "variables.index").write_bytes(b"indeX"), r"variables\.index was alt", id="variables"
        ),
        pytest.param(lambda v: (v / "variables" / "variables.index").unlink(), r"variables\.index is missing", id="missing"),
        pytest.param(lambda v: (v / "saved_model.pbtxt").touch(), r"saved_model\.pbtxt was added", id="another graph"),
        pytest.param(
            lambda v: (v / "assets.extra" / "warmup_requests.jsonl").touch(), "requests.jsonl was added", id="warm-up requests"
        ),
        pytest.param(lambda v: write_card(v, FILMS_CARD), r"heads\.json was added", id="card"),
        pytest.param(lambda v: (v / ".hidden").touch(), r"\.hidden was added", id="hidden file"),
        pytest.param(lambda v: (v / SIGNATURE).write_text("{}"), "is not a signature of a version", id="empty object"),
        pytest.param(edited(lambda c: c.update(signature="")), "not a signature by a key", id="empty signature"),
        pytest.param(edited(lambda c: c.update(signature="é")), "is not a signature of a version", id="not base64"),
        pytest.param(
            edited(lambda c: c.update(manifest=c["manifest"].replace('"version":2', '"version":3'))),
            "not a signature by a key",
            id="altered manifest",
        ),
        pytest.param(edited(lambda c: c.update(algorithm="none")), "is not a signature of a version", id="another algorithm"),
    ],
)
def test_every_change_after_signing_is_found(version, key, public, tamper, message):
    sign(version, key)
    verify(version, public)
    tamper(version)
    with pytest.raises(ModelLoadError, match=message):
        verify(version, public)


def test_a_signature_holds_for_one_model_and_version(version, key, public):
    sign(version, key)
    newer = version.rename(version.with_name("3"))
    with pytest.raises(ModelLoadError, match=r"is for version 2 of 'films', not for 3 of 'films'"):
        verify(newer, public)
    (version.parents[1] / "songs").mkdir()
    other = newer.rename(version.parents[1] / "songs" / "2")
    with pytest.raises(ModelLoadError, match=r"is for version 2 of 'films', not for 2 of 'songs'"):
        verify(other, public)


def test_a_signature_by_another_key(version, key, tmp_path):
    sign(version, key)
    others = new_key(tmp_path / "other.pem")
    with pytest.raises(ModelLoadError, match=r"not a signature by a key of .*other\.pub\.pem") as refused:
        verify(version, others)
    assert refused.value.transient, "the key may be added to the file"


def test_a_file_of_several_keys(version, key, public, tmp_path):
    others = new_key(tmp_path / "other.pem")
    both = tmp_path / "both.pem"
    both.write_bytes(others.read_bytes() + public.read_bytes())
    assert len(read_public_keys(both)) == 2
    sign(version, key)
    verify(version, both)


def test_keys_of_openssl(version, tmp_path):
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True, capture_output=True)
    sign(version, private)
    verify(version, public)


def test_a_new_key_is_private_and_replaces_no_file(tmp_path):
    public = new_key(tmp_path / "a.pem")
    assert (tmp_path / "a.pem").stat().st_mode & 0o777 == 0o600
    assert public == tmp_path / "a.pub.pem"
    with pytest.raises(ConfigError, match="File exists"):
        new_key(tmp_path / "a.pem")


def rsa(path: Path) -> Path:
    subprocess.run(["openssl", "genrsa", "-out", str(path)], check=True, capture_output=True)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda path: path, "cannot be read: No such file", id="missing"),
        pytest.param(lambda path: path.write_text("key") and path, "is not a private key in PEM", id="not a key"),
        pytest.param(new_key, "is not a private key in PEM", id="the public one"),
        pytest.param(rsa, "of another kind than Ed25519", id="RSA"),
    ],
)
def test_files_that_are_not_private_keys(version, tmp_path, make, message):
    with pytest.raises(ConfigError, match=message):
        sign(version, make(tmp_path / "key.pem"))
    assert not (version / SIGNATURE).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read: No such file", id="missing"),
        pytest.param("", "the file contains no public key", id="empty"),
        pytest.param("-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n", "not a public key in PEM", id="broken"),
    ],
)
def test_files_that_are_not_public_keys(tmp_path, content, message):
    path = tmp_path / "keys.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_public_keys(path)


def test_a_private_key_in_place_of_the_public_one(key):
    with pytest.raises(ConfigError, match="not a public key"):
        read_public_keys(key)


def test_a_folder_that_is_not_a_version(version, key):
    with pytest.raises(ConfigError, match="expected the folder of a version"):
        sign(version.parent, key)


def test_a_link_is_not_signed(version, key):
    (version / "assets.txt").symlink_to("/etc/passwd")
    with pytest.raises(ModelLoadError, match="is a symbolic link"):
        sign(version, key)
