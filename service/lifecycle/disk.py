"""The models folder as it is now: `<models>/<name>/<version>/saved_model.pb`, or `.pbtxt`."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from errno import ELOOP, ENOENT, ENOTDIR
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from service.errors import ConfigError
from service.lifecycle.served_models import Problem
from service.messages import readable
from service.runtime.saved_model import BINARY, TEXT

IGNORED_PREFIXES = (".", "_", "temp-")
"""Names of folders that are hidden or temporary; TensorFlow's exporters write to `temp-<time>` before they rename."""
MAX_VERSION = 2**63 - 1
"""The largest int64, as in TensorFlow Serving."""


@dataclass(frozen=True, order=True)
class VersionOnDisk:
    """A version folder that holds a SavedModel; `marker` changes when another SavedModel replaces it."""

    model: str
    version: int
    folder: Path
    marker: tuple[int, int] = (0, 0)


class Scan(NamedTuple):
    """The contents of the models folder.

    Attributes:
        models: every model with its versions, oldest first; a model has at least one.
        unreadable: names of folders that may be models but cannot be read.
        misplaced: a problem for each folder that looks like a model or a version but cannot be served, by its path.
        identity: device and inode of the models folder, which differ once another disk is mounted there.
    """

    models: dict[str, tuple[VersionOnDisk, ...]]
    unreadable: frozenset[str]
    misplaced: dict[Path, Problem]
    identity: tuple[int, int]


def scan(models: Path) -> Scan:
    """List every model with its versions.

    A version is a folder named by a positive int64 without leading zeros, or a link to one. A link that leads out of the models
    folder is listed too, so that its version fails with a reason. Hidden and temporary folders are ignored.

    Raises:
        ConfigError: the folder cannot be read, or is one model's or version's folder rather than a folder of models.
    """
    try:
        folders = [Path(entry) for entry in _entries(models) if _is_dir(entry) and not entry.name.startswith((".", "_"))]
        nameless = [folder for folder in folders if readable(folder.name) != folder.name]
        contents = {folder.name: _model_contents(folder) for folder in folders if folder not in nameless}
        listed = {name: found for name, found in contents.items() if found is not None}
        found = {name: tuple(sorted(versions)) for name, (versions, _) in listed.items() if versions}
        one_model = not found and _model_contents(models)
        one_version = not found and _marker(models) is not None
        status = models.stat()  # raises if the folder was moved away meanwhile: its models have not been removed
    except OSError as error:
        raise ConfigError(f"The models folder {str(models)!r} cannot be read: {error.strerror}.") from error
    if one_version:
        raise ConfigError(f"{str(models)!r} is a SavedModel; put it into <models>/<name>/<version>/, and give <models>.")
    if one_model and one_model[0]:
        raise ConfigError(f"{str(models)!r} is one model's folder; give the folder above it, {str(models.parent)!r}.")
    misplaced = {path: problem for _, problems in listed.values() for path, problem in problems.items()}
    misplaced |= {folder: _nameless(readable(folder.name)) for folder in nameless}
    return Scan(found, frozenset(contents.keys() - listed.keys()), misplaced, (status.st_dev, status.st_ino))


class Fingerprint(NamedTuple):
    """Identifies the contents of a folder.

    Attributes:
        entries: path, inode, size and time of every file and folder in it.
        changed_at: time of the latest change, in seconds of `time.time` by the clock of the disk.
        bytes: size of all files.
    """

    entries: frozenset[tuple[str, int, int, int]]
    changed_at: float
    bytes: int


def fingerprint(folder: Path) -> Fingerprint:
    """Return the folder's fingerprint. Raises OSError.

    The folder itself is left out: it may be renamed into place long after it was written.
    """
    entries: set[tuple[str, int, int, int]] = set()
    changed_at, total = 0.0, 0
    for directory, names, files in os.walk(folder):
        for name in (*names, *files):
            path = os.path.join(directory, name)  # noqa: PTH118 - this runs for every file, twice a second
            status = os.lstat(path)  # a dangling link must be refused when the version is loaded, not waited for
            size = status.st_size if name in files else 0
            entries.add((path, status.st_ino, size, status.st_mtime_ns))
            changed_at = max(changed_at, status.st_ctime)
            total += size
    return Fingerprint(frozenset(entries), changed_at, total)


class FolderWatch:
    """The latest fingerprint of a folder, and how long the folder has been unchanged."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic):
        self.fingerprint: Fingerprint | None = None
        """None before the first check, and while files are being removed."""
        self._folder = folder
        self._clock = clock
        self._since = 0.0

    def check(self) -> None:
        """Read the folder."""
        try:
            seen = fingerprint(self._folder)
        except OSError:  # something has just been removed
            self.fingerprint = None
            return
        if seen != self.fingerprint:
            self.fingerprint, self._since = seen, self._clock()

    @property
    def unchanged_s(self) -> float:
        """Seconds since the first check that returned the present fingerprint."""
        return 0.0 if self.fingerprint is None else self._clock() - self._since


def stamp(folder: Path) -> frozenset[tuple[str, int, int, int]] | None:
    """Return a value that differs after any write or move in the folder, or of the folder itself; None if it is gone.

    The last number is the change time, which no program can set: a file that is altered and restored differs, too.
    """
    found = set()
    try:
        for directory, _, files in os.walk(folder):
            for path in (directory, *(os.path.join(directory, name) for name in files)):  # noqa: PTH118
                status = os.lstat(path)
                found.add((path, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    except OSError:
        return None
    return frozenset(found)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:  # twice as fast as `Path.iterdir`: this runs for every model, twice a second
        return sorted(entries, key=lambda entry: entry.name)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; False if not permitted."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry))  # noqa: PTH112 - as above


def _model_contents(model: Path) -> tuple[list[VersionOnDisk], dict[Path, Problem]] | None:
    """Return a model's versions and its misplaced folders; None if it cannot be read, as `lost+found`."""
    try:
        entries = _entries(model)
    except PermissionError:
        return None
    except FileNotFoundError:  # removed since it was listed
        return [], {}
    versions, others = [], []
    for entry in entries:
        number = _number(entry.name)
        marker = _marker(entry.path) if number else None
        if number and marker:
            versions.append(VersionOnDisk(model.name, number, Path(entry), marker))
        else:
            others.append(entry)
    return versions, _misplaced(model, others) if others else {}


def _misplaced(model: Path, entries: list[os.DirEntry[str]]) -> dict[Path, Problem]:
    """Return a problem for each entry of a model's folder that looks like a version but cannot be served."""
    name = readable(model.name)
    file = next((entry.name for entry in entries if entry.name in {BINARY, TEXT}), None)
    if file is not None:  # the folders beside it belong to the SavedModel
        message = f"{file} lies in the model's folder; move it, with the files beside it, to {name}/1/."
        return {model: Problem("folder", name, message, folder=name)}
    found = {}
    for entry in entries:
        if not entry.name.startswith(IGNORED_PREFIXES) and _is_dir(entry):
            path = f"{name}/{readable(entry.name)}"
            if _number(entry.name):
                message = f"{path} has no {BINARY}; put a SavedModel there, or remove the folder."
            else:
                message = f"{readable(entry.name)} is not a version number; {_new_name(Path(entry))}."
            found[Path(entry)] = Problem("folder", name, message, folder=path)
    return found


def _nameless(name: str) -> Problem:
    message = f"The name {name} is not valid UTF-8, and no request can contain it; rename the folder."
    return Problem("folder", name, message, folder=name)


def _number(name: str) -> int | None:
    """Return the version of a folder's name; None unless the name is the only way to write that version."""
    number = int(name) if name.isascii() and name.isdigit() else 0
    return number if 0 < number <= MAX_VERSION and str(number) == name else None


def _new_name(folder: Path) -> str:
    """Return how to rename a folder so that it becomes a version."""
    try:
        number = int(folder.name)  # also of ' 7', '+7', '007' and digits of other scripts
    except ValueError:
        number = 0
    if number > MAX_VERSION:
        return f"the largest is {MAX_VERSION}"
    if number < 1:
        return "rename the folder to a positive integer"
    if os.path.lexists(folder.with_name(str(number))):
        return f"there is a folder {number} too: remove one, or rename this one to another positive integer"
    return f"rename the folder to {number}"


def _marker(version: str | Path) -> tuple[int, int] | None:
    """Return inode and time of the SavedModel's graph; None if there is none."""
    for name in (BINARY, TEXT):
        try:
            status = os.stat(f"{version}/{name}")  # noqa: PTH116 - as above
        except PermissionError:  # the version is listed, and fails to load with a reason
            return (0, 0)
        except OSError as error:
            if error.errno in {ENOENT, ENOTDIR, ELOOP}:  # missing, or a dangling link
                continue
            raise
        if S_ISREG(status.st_mode):
            return status.st_ino, status.st_mtime_ns
    return None
