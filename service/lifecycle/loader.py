"""Verifies, loads and unloads versions in separate threads, so that nothing else waits for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import structlog

from service.errors import HeadserveError, ModelError, ModelLoadError, OutOfMemoryError, UnavailableError
from service.lifecycle.disk import stamp
from service.lifecycle.record import Outcome, Record
from service.lifecycle.served_models import Loaded, State
from service.models.card import Card, read_card
from service.models.options import ModelOptions
from service.models.signing import VersionFiles, check
from service.runtime.memory import give_back, load_tuning, resident_bytes
from service.runtime.saved_model import BINARY, TEXT

Load: TypeAlias = Callable[[str, int, Path, ModelOptions], Loaded]
"""Name, version, folder and options → the version in memory. Blocks; raises ModelLoadError or whatever TensorFlow raises."""

GUARDED_FOLDERS = ("assets", "variables")
"""Folders from which a graph may read files; a card that lists files must list all files in them."""
DECIDED_BY_FILES = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""Errors of the system that last until the version's files change."""
TRANSIENT_CODES = frozenset({1, 2, 4, 7, 8, 10, 13, 14})
"""Codes of transient TensorFlow errors: cancelled, unknown, deadline, permission, memory, aborted, internal, unavailable."""

log = structlog.get_logger("headserve.lifecycle")


class Loader:
    """Loads and unloads versions in a pool of threads, and calls `changed` after each step.

    With a file of `public_keys`, only versions that one of the keys has signed are loaded.
    """

    def __init__(self, load: Load, threads: int, changed: Callable[[], None], public_keys: Path | None = None):
        self.threads = threads
        self._public_keys = public_keys
        self._load = load
        self._changed = changed
        # One thread more than versions load at a time, so that memory is freed also while a large version loads.
        # They keep the normal priority: TensorFlow's own threads, which they start, would inherit a lower one.
        self._pool = ThreadPoolExecutor(threads + 1, thread_name_prefix="loader")

    def load(self, record: Record) -> None:
        """Verify, load and warm up a version in the background."""
        record.begin_load()
        self._pool.submit(self._run_load, record)

    def unload(self, record: Record) -> None:
        """Close a version and free its memory in the background."""
        self._pool.submit(self._run_unload, record)

    def stop(self) -> None:
        """Begin no further work; running work is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run_load(self, record: Record) -> None:
        before = resident_bytes()
        try:
            with load_tuning.active():
                self._load_and_warm_up(record)
        except Exception as failure:
            self._discard(record)
            record.outcome = _failed(record, failure)
        else:
            record.resident_bytes = max(resident_bytes() - before, 0)
            record.outcome = Outcome()
        self._changed()

    def _load_and_warm_up(self, record: Record) -> None:
        folder = record.disk.folder
        before = stamp(folder)
        verify(folder, self._public_keys)
        record.enter(State.LOADING)
        self._changed()
        record.loaded = self._load(record.disk.model, record.id.version, folder, record.options)
        record.enter(State.WARMING)
        self._changed()
        record.loaded.warm_up()
        if stamp(folder) != before:  # the files that were loaded may not be those that were verified
            raise ModelLoadError(
                f"{folder} was changed while it was loaded; it is loaded again once it has settled. "
                "Rename a version into place after it is written.",
                transient=True,
            )

    def _discard(self, record: Record) -> None:
        if record.loaded is not None:
            with suppress(Exception):  # the failed attempt is the error to report
                record.loaded.close()
            record.loaded = None
            give_back()

    def _run_unload(self, record: Record) -> None:
        name, version = record.disk.model, record.id.version
        try:
            if record.loaded is not None:
                record.loaded.close()
        except Exception:
            log.exception("model not closed", model=name, version=version)
        record.loaded = record.handle = None
        give_back()
        log.info("model unloaded", model=name, version=version)
        record.outcome = Outcome()
        self._changed()


def _failed(record: Record, failure: Exception) -> Outcome:
    """Log the failure of an attempt, and return it."""
    expected = isinstance(failure, HeadserveError)
    error = failure.message if isinstance(failure, HeadserveError) else f"{type(failure).__name__}: {failure}"
    retry = is_transient(failure)
    name, version = record.disk.model, record.id.version
    log.error("model failed", model=name, version=version, error=error, retry=retry, exc_info=not expected)
    return Outcome(error, retry)


def is_transient(failure: Exception) -> bool:
    """Return whether the next attempt may succeed with the same files.

    A failure of the model lasts until its files change, unless it is marked as transient or was caused by the system: an input
    or output error, a missing permission, too little memory. Any other exception is unexpected, and retried.
    """
    if not isinstance(failure, ModelError) or isinstance(failure, OutOfMemoryError):
        return True
    if isinstance(failure, ModelLoadError) and failure.transient:
        return True
    cause = failure.__cause__
    while cause is not None and not _of_the_system(cause):
        cause = cause.__cause__
    return cause is not None


def _of_the_system(cause: BaseException) -> bool:
    if isinstance(cause, OSError):
        return not isinstance(cause, DECIDED_BY_FILES)
    passing = isinstance(cause, MemoryError | OutOfMemoryError | UnavailableError)
    return passing or getattr(cause, "error_code", None) in TRANSIENT_CODES


def verify(folder: Path, public_keys: Path | None = None) -> None:
    """Check the files of a version. Raises ModelLoadError, which names the first wrong file.

    - The folder, `<models>/<model>/<version>`, may be a link into the models folder; its contents must be files, not links.
    - With `public_keys`, one of them has signed all files as those of this model and version.
    - With a card that lists files, they are as listed, and neither graph, variables nor assets have unlisted files.
    """
    models = folder.parent.parent.resolve()
    if not folder.resolve().is_relative_to(models):
        raise ModelLoadError(f"{folder} is a link that leads out of the models folder, to {folder.resolve()}. Copy it there.")
    files = VersionFiles(folder)
    if public_keys is not None:
        check(files, public_keys)
    card = read_card(folder)
    if card is not None and card.files:
        _compare_with_card(files, card)


def _compare_with_card(files: VersionFiles, card: Card) -> None:
    for name, expected in sorted(card.files.items()):
        path = files.folder / name
        if not path.resolve().is_relative_to(files.folder.resolve()):
            raise ModelLoadError(f"The model card lists {name!r}, which is not in the version's folder.")
        size = files.size(name, "the model card")
        if size != expected.bytes:
            raise ModelLoadError(f"{path} has {size} bytes; the model card says {expected.bytes}. Copy the version again.")
        if files.sha256(name, "the model card") != expected.sha256:
            raise ModelLoadError(
                f"{path} is not the file that was exported: its sha256 differs from the model card's. Copy the version again."
            )
    for name in files.names:
        if name not in card.files and (name in {BINARY, TEXT} or PurePosixPath(name).parts[0] in GUARDED_FOLDERS):
            raise ModelLoadError(
                f"{files.folder / name} is not listed in the model card; remove it, or copy the version again."
            )
