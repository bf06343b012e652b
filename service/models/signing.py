"""The files of a version, and their signature: the owner of a private key signs the list of all files.

`assets.extra/headserve.sig` is JSON: `manifest`, the signed text, and `signature`, of Ed25519, in base64. The manifest is
JSON too: the model's name, the version, and size and sha256 of every other file of the folder.
"""

import base64
import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from stat import S_ISLNK, S_ISREG
from typing import TYPE_CHECKING, Literal

import orjson

from service.errors import ConfigError, ModelLoadError
from service.models.card import JsonObject, ListedFile

if TYPE_CHECKING:  # imported only where signatures are used
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "assets.extra/headserve.sig"
CONTEXT = b"headserve signature of a model's version, 1\n"
"""Prefix of the signed bytes, so that the signature of another document is not valid for a version."""
_TEMPORARY = "assets.extra/.headserve.sig.new"
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\s*", re.DOTALL)


class VersionFiles:
    """All files in a folder at this moment. Raises ModelLoadError for an unreadable folder, or one that contains a link."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.names: tuple[str, ...] = tuple(sorted(_names(folder) - {SIGNATURE}))
        """Relative paths with slashes, without the signature's."""
        self._digests: dict[str, str] = {}

    def size(self, name: str, listed_by: str) -> int:
        """Return a file's size in bytes. Raises ModelLoadError if it cannot be read; the message names `listed_by`."""
        try:
            return (self.folder / name).stat().st_size
        except OSError as error:
            raise self._unreadable(name, listed_by, error) from error

    def sha256(self, name: str, listed_by: str) -> str:
        """Return a file's digest, in hexadecimal; computed once. Raises ModelLoadError as `size` does."""
        if name not in self._digests:
            try:
                with (self.folder / name).open("rb") as file:
                    self._digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise self._unreadable(name, listed_by, error) from error
        return self._digests[name]

    def _unreadable(self, name: str, listed_by: str, error: OSError) -> ModelLoadError:
        return ModelLoadError(f"{self.folder / name}, which {listed_by} lists, cannot be read: {error.strerror}.")


class Manifest(JsonObject):
    """The signed list of files."""

    model: str
    version: int
    files: dict[str, ListedFile]


class SignatureFile(JsonObject):
    """The contents of `assets.extra/headserve.sig`."""

    schema_version: Literal[1]
    algorithm: Literal["ed25519"]
    manifest: str
    signature: str


def sign(folder: Path, key: Path) -> int:
    """Sign the version in `folder`, replacing an earlier signature. Returns the number of signed files.

    Raises ConfigError for a wrong key or a folder that is not a version's, and ModelLoadError as `VersionFiles` does.
    """
    private = _private_key(key)
    model, version = _identity(folder)
    (folder / "assets.extra").mkdir(exist_ok=True)
    temporary = folder / _TEMPORARY
    temporary.unlink(missing_ok=True)
    files, by = VersionFiles(folder), "the manifest"
    listed = {name: ListedFile(bytes=files.size(name, by), sha256=files.sha256(name, by)) for name in files.names}
    manifest = Manifest(model=model, version=version, files=listed)
    text = orjson.dumps(manifest.model_dump(), option=orjson.OPT_SORT_KEYS).decode()
    signature = base64.b64encode(private.sign(CONTEXT + text.encode())).decode()
    content = SignatureFile(schema_version=1, algorithm="ed25519", manifest=text, signature=signature)
    with temporary.open("wb") as file:
        file.write(orjson.dumps(content.model_dump(), option=orjson.OPT_INDENT_2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / SIGNATURE)
    return len(listed)


def check(files: VersionFiles, public_keys: Path) -> None:
    """Raise ModelLoadError unless one of the keys has signed these files as those of this model and version."""
    path = files.folder / SIGNATURE
    keys = read_public_keys(public_keys)
    if not path.is_file():
        raise ModelLoadError(f"{files.folder} is not signed, and require_signature is set. 'headserve sign' signs it.")
    try:
        content = SignatureFile.model_validate_json(path.read_bytes())
        signature = base64.b64decode(content.signature, validate=True)
    except (OSError, ValueError) as error:  # of pydantic and base64, too
        raise ModelLoadError(f"{path} is not a signature of a version. 'headserve sign' writes one.") from error
    if not any(_verifies(key, signature, content.manifest) for key in keys):
        raise ModelLoadError(
            f"{path} is not a signature by a key of {public_keys}: it was made with another key, or altered.",
            transient=True,  # the key may be added to the file of public keys
        )
    signed = Manifest.model_validate_json(content.manifest)
    model, version = _identity(files.folder)
    if (signed.model, signed.version) != (model, version):
        raise ModelLoadError(f"{path} is for version {signed.version} of {signed.model!r}, not for {version} of {model!r}.")
    _compare(files, signed)


def read_public_keys(path: Path) -> list["Ed25519PublicKey"]:
    """Read the public keys of a PEM file. Raises ConfigError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys: list[Ed25519PublicKey] = []
    try:
        for block in _PEM.finditer(path.read_bytes()):
            key = load_pem_public_key(block[0])
            if not isinstance(key, Ed25519PublicKey):
                raise ConfigError(f"{path}: expected Ed25519 public keys, but got another kind.")
            keys.append(key)
    except OSError as error:
        raise ConfigError(f"{path}: the public keys cannot be read: {error.strerror}.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: not a public key in PEM; 'openssl pkey -in PRIVATE -pubout' writes one.") from error
    if not keys:
        raise ConfigError(f"{path}: the file contains no public key; 'openssl pkey -in PRIVATE -pubout' writes one.")
    return keys


def new_key(path: Path) -> Path:
    """Write a private key that only its owner may read, and its public key, whose path is returned. Raises ConfigError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    private, public = Ed25519PrivateKey.generate(), path.with_name(f"{path.stem}.pub.pem")
    contents = {
        public: (private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644),
        path: (private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600),
    }
    for target, (content, mode) in contents.items():
        try:
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
        except OSError as error:
            raise ConfigError(f"{target}: the key cannot be written: {error.strerror}.") from error
    return public


def _private_key(path: Path) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ConfigError(f"--key: {path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"--key: {path} is not a private key in PEM without a password; 'headserve sign --new-key PATH' makes one."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"--key: {path} is a key of another kind than Ed25519; 'headserve sign --new-key PATH' makes one.")
    return key


def _identity(folder: Path) -> tuple[str, int]:
    """Return the model's name and the version, which are the names of the folders."""
    folder = folder.absolute()
    if not (folder.name.isascii() and folder.name.isdigit()):
        raise ConfigError(f"{folder}: expected the folder of a version, <models>/<name>/<version>.")
    return folder.parent.name, int(folder.name)


def _verifies(key: "Ed25519PublicKey", signature: bytes, manifest: str) -> bool:
    from cryptography.exceptions import InvalidSignature

    with suppress(InvalidSignature):
        key.verify(signature, CONTEXT + manifest.encode())
        return True
    return False


def _compare(files: VersionFiles, signed: Manifest) -> None:
    for name in sorted(set(files.names) ^ signed.files.keys()):
        what = "is missing" if name in signed.files else "was added"
        raise ModelLoadError(f"{files.folder / name} {what} since the version was signed. Copy it again, or sign it again.")
    for name, expected in sorted(signed.files.items()):
        if files.size(name, "the signature") != expected.bytes or files.sha256(name, "the signature") != expected.sha256:
            raise ModelLoadError(f"{files.folder / name} was altered since the version was signed. Copy it again.")


def _names(folder: Path) -> set[str]:
    found: set[str] = set()
    try:
        for directory, folders, files in os.walk(folder, onerror=_raise):
            for name in (*folders, *files):
                path = Path(directory, name)
                mode = path.lstat().st_mode
                if S_ISLNK(mode):
                    raise ModelLoadError(f"{path} is a symbolic link; a version holds its files itself. Copy the file there.")
                if name in files:
                    if not S_ISREG(mode):
                        raise ModelLoadError(f"{path} is neither a file nor a folder; remove it.")
                    found.add(path.relative_to(folder).as_posix())
    except OSError as error:
        raise ModelLoadError(f"{error.filename} cannot be read: {error.strerror}.") from error
    return found


def _raise(error: OSError) -> None:
    raise error
