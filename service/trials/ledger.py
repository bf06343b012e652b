"""What the server remembers of versions over its restarts: which have come through a trial, and which have ended it.

    <cache>/versions/<digest>.json     a version that was tried or loaded, by the digest of its files and options
    <cache>/servers/<id>.slots         the versions that a running server loads and runs at this moment, in shared memory
    <cache>/servers/<id>.crash         the stacks of its threads, written when a signal such as SIGSEGV ends it

The files of a server are removed when it ends. Those of one that has died tell the next server which versions it was loading
or running. `fcntl.flock` tells whether a server still runs, also in another container that has the same cache.
"""

import faulthandler
import fcntl
import mmap
import struct
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO

import structlog
from pydantic import BaseModel, ValidationError

SLOTS = 4096
"""Versions that can be in memory at the same time; those beyond are not recorded."""
_SLOT = struct.Struct("=64sii")
"""Digest, whether it is being loaded, number of runs in progress."""
MAX_ENDS = 3
"""Ends of servers for which a version may have been the reason, before it is set aside."""
KEPT_S = 180 * 86400
"""How long a version is remembered that no server has loaded."""

log = structlog.get_logger("headserve.trials")


class Memory(BaseModel):
    """What is remembered of a version.

    Attributes:
        model: the model's name.
        version: the version's number.
        passed: whether it has come through a trial.
        ended_loading: how often a server has ended while it loaded the version, since it was last loaded.
        ended_running: how often a server has ended while it ran the version, among others.
        set_aside: why it is not loaded; None if it may be.
    """

    model: str
    version: int
    passed: bool = False
    ended_loading: int = 0
    ended_running: int = 0
    set_aside: str | None = None


class Mark:
    """Marks that the server loads and runs one version: `with mark:` around each run. For any thread."""

    def __init__(self, ledger: "Ledger", digest: str, number: int | None):
        self._ledger = ledger
        self._digest = digest
        self._number = number
        self._lock = threading.Lock()
        self._runs = 0
        self._write(0, 0)

    def __enter__(self) -> None:
        with self._lock:
            self._runs += 1
            self._write(0, self._runs)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._runs -= 1
            self._write(0, self._runs)

    def loading(self) -> None:
        """Mark that the version is being loaded."""
        self._write(1, 0)

    def loaded(self) -> None:
        """Mark that the version is in memory, and no longer being loaded."""
        self._write(0, 0)
        self._ledger.loaded(self._digest)

    def free(self) -> None:
        """Remove the mark of a version that is not in memory any more."""
        if self._number is not None:
            self._ledger.free(self._number)
            self._number = None

    def _write(self, loading: int, runs: int) -> None:
        if self._number is not None:
            self._ledger.write(self._number, self._digest, loading, runs)


class Ledger:
    """The memory of one server, in a folder. If that cannot be written, nothing is remembered, and the log says so."""

    def __init__(self, folder: Path):
        self._versions, self._servers = folder / "versions", folder / "servers"
        self._lock = threading.Lock()
        self._used: set[int] = set()
        self._shared: mmap.mmap | None = None
        self._watches_signals = False
        self._files: dict[Path, IO[bytes]] = {}

    def open(self) -> None:
        """Read the files of servers that have died, and create those of this one."""
        try:
            for child in (self._versions, self._servers):
                child.mkdir(parents=True, exist_ok=True)
            self._read_ended_servers()
            self._begin()
        except OSError as error:
            log.warning("nothing is remembered of versions", cache=str(self._servers.parent), error=error.strerror)

    def of(self, digest: str, model: str, version: int) -> Memory:
        """Return what is remembered of the version."""
        path = self._path(digest)
        with suppress(OSError, ValidationError):
            found = Memory.model_validate_json(path.read_bytes())
            path.touch()
            return found
        return Memory(model=model, version=version)

    def remember(self, digest: str, memory: Memory) -> None:
        """Replace what is remembered of the version."""
        path = self._path(digest)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with suppress(OSError):
            temporary.write_bytes(memory.model_dump_json().encode())
            temporary.replace(path)

    def mark(self, digest: str) -> Mark:
        """Return the mark of a version that is about to be loaded."""
        with self._lock:
            free = None if self._shared is None else next((n for n in range(SLOTS) if n not in self._used), None)
            if free is not None:
                self._used.add(free)
        return Mark(self, digest, free)

    def write(self, number: int, digest: str, loading: int, runs: int) -> None:
        """Write a slot. It is plain memory, which other processes see even if this one ends at the next instruction."""
        if self._shared is not None:
            _SLOT.pack_into(self._shared, number * _SLOT.size, digest.encode(), loading, runs)

    def free(self, number: int) -> None:
        """Make a slot free."""
        with self._lock:
            self.write(number, "", 0, 0)
            self._used.discard(number)

    def loaded(self, digest: str) -> None:
        """Remember that the version was loaded: it is no longer suspected for earlier ends of servers."""
        memory = self.of(digest, "", 0)
        if memory.ended_loading:
            self.remember(digest, memory.model_copy(update={"ended_loading": 0}))

    def watch_signals(self) -> None:
        """Let `open` write the stacks of all threads to a file when a signal such as SIGSEGV ends the process."""
        self._watches_signals = True

    def close(self) -> None:
        """Remove the files of this server: its end is not attributed to a version any more."""
        with self._lock:
            self._shared = None
        for path, file in self._files.items():
            with suppress(OSError):
                path.unlink()
            if not self._watches_signals:  # otherwise the handler has the file, until the process ends
                file.close()

    def _begin(self) -> None:
        name = self._servers / uuid.uuid4().hex
        paths = name.with_suffix(".slots"), name.with_suffix(".crash")
        new = name.with_suffix(".new")
        slots, crash = new.open("x+b"), paths[1].open("x+b")
        fcntl.flock(slots, fcntl.LOCK_EX)
        slots.truncate(SLOTS * _SLOT.size)
        new.rename(paths[0])  # locked already: no other server can take it for the file of one that has died
        self._files = dict(zip(paths, (slots, crash), strict=True))
        if self._watches_signals:
            faulthandler.enable(crash)
        self._shared = mmap.mmap(slots.fileno(), SLOTS * _SLOT.size)

    def _read_ended_servers(self) -> None:
        """Remember of each version that a server has died while it loaded or ran it."""
        for path in self._servers.glob("*.slots"):
            crash = path.with_suffix(".crash")
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:  # another server reads it, or runs
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._remember_suspects(file.read(), crash.read_text(errors="replace") if crash.exists() else "")
                crash.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
        now_s = time.time()
        for path in self._versions.iterdir():
            if now_s - path.stat().st_mtime > KEPT_S:
                path.unlink(missing_ok=True)

    def _remember_suspects(self, slots: bytes, stacks: str) -> None:
        used = [slot for slot in _SLOT.iter_unpack(slots[: len(slots) // _SLOT.size * _SLOT.size]) if slot[0].strip(b"\0")]
        loading = [digest.decode() for digest, is_loading, _ in used if is_loading]
        running = [digest.decode() for digest, _, runs in used if runs > 0]
        # Without stacks, the server was killed, for instance by an operator: no version that was running is suspect.
        suspects = loading or (running if stacks else [])
        doing = "loading" if loading else "running"
        how = stacks.splitlines()[0] if stacks else "it left no trace, as when it is killed"
        for digest in suspects:
            memory = self.of(digest, "?", 0)
            memory.passed = False
            memory.ended_loading += doing == "loading"
            memory.ended_running += doing == "running"
            if (stacks and len(suspects) == 1) or max(memory.ended_loading, memory.ended_running) >= MAX_ENDS:
                memory.set_aside = f"The server ended while it was {doing} this version ({how})."
            self.remember(digest, memory)
            fields = {"model": memory.model, "version": memory.version, "set_aside": memory.set_aside is not None}
            log.error("a server has ended before", doing=doing, how=how, **fields)

    def _path(self, digest: str) -> Path:
        return self._versions / f"{digest}.json"
