"""The file with the keys' hashes: written by `headserve keys`, read by the server at its start and after every change.

{"keys": [{"id": "1f…", "name": "shop", "sha256": "9a…", "scopes": ["predict"], "models": ["movies"],
           "rate": "100/second", "created": "2026-11-22T00:00:00Z", "expires": null}]}
"""

import fcntl
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.auth.keys import ALL_MODELS, Key, KeyRing, RateLimit, Scope
from service.errors import ConfigError
from service.file_watch import WatchedFiles

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Pattern of a key's name; it excludes characters that could break a line of the log."""

MAX_BYTES = 16 << 20
"""Largest file: about 60,000 keys."""
MAX_REPORTED = 5
"""Number of mistakes in the file that one message lists."""


def _valid_name(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise ValueError(f"expected a name of letters, digits, '.', '_' and '-', at most 64, but got {name[:80]!r}")
    return name


def _valid_rate(rate: str) -> str:
    RateLimit.parse(rate)
    return rate


class StoredKey(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern="^[0-9a-f]{8}$")
    name: Annotated[str, AfterValidator(_valid_name)]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(default=(ALL_MODELS,), min_length=1)
    rate: Annotated[str, AfterValidator(_valid_rate)] | None = None
    created: AwareDatetime
    expires: AwareDatetime | None = None

    @property
    def key(self) -> Key:
        """The entry in the form that the server checks requests with."""
        models = None if ALL_MODELS in self.models else frozenset(self.models)
        expires_at = inf if self.expires is None else self.expires.timestamp()
        limit = None if self.rate is None else RateLimit.parse(self.rate)
        return Key(self.id, self.name, bytes.fromhex(self.sha256), frozenset(self.scopes), models, expires_at, limit)

    @property
    def expired(self) -> bool:
        """Whether the key has expired."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


class KeysFile(BaseModel):
    """The content of the file; ids and names are unique."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[StoredKey, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> "KeysFile":
        for member in ("id", "name"):
            counts = Counter(getattr(key, member) for key in self.keys)
            if repeated := [value for value, count in counts.items() if count > 1]:
                raise ValueError(f"two keys have the {member} {min(repeated)!r}")
        return self


def read(path: Path) -> KeysFile:
    """Read the keys file. Raises ConfigError, whose message lists the mistakes and quotes no hash."""
    try:
        return KeysFile.model_validate_json(_content(path))
    except FileNotFoundError:
        raise ConfigError(f"There is no keys file {str(path)!r}; 'headserve keys add NAME' makes one.") from None
    except OSError as error:
        raise ConfigError(f"The keys file {str(path)!r} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        more = f" and {len(problems) - MAX_REPORTED} more" if len(problems) > MAX_REPORTED else ""
        raise ConfigError(f"The keys file {str(path)!r} has mistakes: {'; '.join(problems[:MAX_REPORTED])}{more}.") from None


def _content(path: Path) -> bytes:
    # A pipe or a device might never end, and a huge file would block the reader.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"The keys file {str(path)!r} cannot be read: it is not a regular file.")
    if status.st_size > MAX_BYTES:
        raise ConfigError(f"The keys file {str(path)!r} has {status.st_size} bytes; expected at most {MAX_BYTES}.")
    return path.read_bytes()


class Keys:
    """The key ring of a file, reloaded when the file changes. Raises ConfigError if the file is invalid at the start."""

    def __init__(self, path: Path):
        self._path = path
        self.ring = KeyRing()
        self.polled = WatchedFiles("keys", [path], self._read)
        self._read()

    def _read(self) -> None:
        self.ring.replace(stored.key for stored in read(self._path).keys)


def change(path: Path, edit: Callable[[KeysFile], KeysFile]) -> None:
    """Replace the file by an edited copy, atomically; a missing file counts as an empty one. Raises ConfigError."""
    path = Path(os.path.realpath(path))  # the lock is the same for everyone, also for those who use a link
    try:
        with _locked(path.parent):
            before = read(path) if os.path.lexists(path) else KeysFile()
            _replace(path, edit(before).model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise ConfigError(f"The keys file {str(path)!r} cannot be written: {error.strerror}.") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock, so that two processes that add a key at the same time lose none."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        with suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(descriptor)  # a removed key must not be back after a power failure
    finally:
        os.close(descriptor)


def _replace(path: Path, text: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            if path.exists():  # an administrator who edits the file must not take it away from the server's user
                with suppress(PermissionError):
                    os.fchown(file.fileno(), path.stat().st_uid, path.stat().st_gid)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
