"""Scans the models folder, keeps its last readable contents, and reports changes before the next poll."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog
import watchfiles

from service.errors import ConfigError
from service.lifecycle.disk import FolderWatch, VersionOnDisk, scan
from service.lifecycle.report import Reporter
from service.lifecycle.served_models import Problem

NETWORK = ("nfs", "cifs", "smb", "9p", "ceph", "gluster", "lustre", "afs", "fuse", "virtiofs", "vboxsf")
"""Prefixes of the types of file systems that do not announce changes made on other machines."""
DEBOUNCE_MS = 50

log = structlog.get_logger("headserve.lifecycle")


class ModelsFolder:
    """Scans the folder, and keeps the result of the last scan.

    Args:
        path: the folder.
        reporter: logs folders that cannot be read.
        settle_s: how long a misplaced folder must be unchanged before it is a problem: it may be a copy under way.
        clock: seconds.
    """

    def __init__(self, path: Path, reporter: Reporter, settle_s: float = 0.0, clock: Callable[[], float] = time.monotonic):
        self.problems: tuple[Problem, ...] = ()
        """Folders that look like a model or a version but cannot be served."""
        self.settled = True
        """Whether every misplaced folder has stopped changing."""
        self._path = path
        self._reporter = reporter
        self._settle_s = settle_s
        self._clock = clock
        self._found: dict[str, tuple[VersionOnDisk, ...]] = {}
        self._known: frozenset[str] = frozenset()
        self._identity: tuple[int, int] | None = None
        self._watches: dict[Path, FolderWatch | None] = {}
        """For each misplaced folder, a watch while it may still be changing; None once it has settled."""

    def scan(self) -> dict[str, tuple[VersionOnDisk, ...]]:
        """Return every model with its versions; a model that cannot be read keeps those of the last scan.

        Raises:
            ConfigError: the folder cannot be read, or was replaced by an empty one: its disk is not mounted.
        """
        found, unreadable, misplaced, identity = scan(self._path)
        self._reporter.unreadable(unreadable)
        found |= {name: self._found[name] for name in unreadable if name in self._found}
        if self._found and not found and identity != self._identity:
            raise ConfigError(f"The models folder {str(self._path)!r} was replaced by an empty one; is its disk mounted?")
        self._found, self._identity = dict(sorted(found.items())), identity
        self._known = unreadable | {problem.model for problem in misplaced.values()} | found.keys()
        self._check(misplaced)
        return self._found

    def has(self, model: str) -> bool:
        """Return whether there is a model of that name, or a folder of that name that cannot be read or is misplaced."""
        return model in self._known

    def _check(self, misplaced: dict[Path, Problem]) -> None:
        watches = {path: self._watches.get(path, FolderWatch(path, self._clock)) for path in misplaced}
        for path, watch in watches.items():
            if watch is not None:
                watch.check()
                if watch.fingerprint is not None and watch.unchanged_s >= self._settle_s:
                    watches[path] = None  # not read again: it may be a folder of many files
        self._watches = watches
        self.problems = tuple(problem for path, problem in misplaced.items() if watches[path] is None)
        self.settled = not any(watches.values())


class Watcher:
    """Watches a folder in a thread, and calls `changed` shortly after something in it has changed."""

    def __init__(self, folder: Path, changed: Callable[[], None]):
        self._folder = folder
        self._changed = changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Start the thread, unless the file system does not announce changes; polling suffices then."""
        kind = file_system(self._folder.resolve())
        if kind.startswith(NETWORK):
            log.info("polling for changes: the file system does not announce them", models=str(self._folder), file_system=kind)
        else:
            self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            for _ in watchfiles.watch(
                self._folder,
                watch_filter=None,
                debounce=DEBOUNCE_MS,
                rust_timeout=500,
                stop_event=self._stop,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                self._changed()
        except (OSError, RuntimeError) as error:  # a limit of the system, or a removed folder
            log.warning("polling for changes: watching failed", error=str(error))


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the type of the folder's file system, such as `ext4`; empty if it is not known."""
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    around = [(line[1].replace("\\040", " "), line[2]) for line in lines]
    inside = [(len(point), kind) for point, kind in around if folder.is_relative_to(point)]
    return max(inside, default=(0, ""), key=lambda mount: mount[0])[1]
