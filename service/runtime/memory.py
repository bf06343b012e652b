"""The process's memory: how much is in use, how to release it, and when Python collects garbage."""

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

COLLECT_AFTER = 20_000
"""Number of new objects after which Python collects garbage among the young ones."""
NEVER = 1_000_000
"""Number of collections of younger objects before a collection of the oldest."""
TURN_S = 0.0005
"""How long a thread may keep Python's lock if another one waits; the default of 5 ms would show in every response."""


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM, in bytes; 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def available_bytes() -> int:
    """Return the memory that this process may still allocate: what its control group, else the system, has available."""
    found = [_meminfo_available_bytes(), _cgroup_available_bytes()]
    return min((available for available in found if available is not None), default=2**40)


def _meminfo_available_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _cgroup_available_bytes(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what the limit of the control group leaves (cgroup v2, as containers see their own); None without a limit."""
    try:
        limit = (root / "memory.max").read_text(encoding="ascii").strip()
        used = int((root / "memory.current").read_text(encoding="ascii"))
        counts = dict(line.split() for line in (root / "memory.stat").read_text(encoding="ascii").splitlines())
    except OSError:
        return None
    # The cache of files is counted as used, and freed when memory is needed.
    return None if limit == "max" else max(int(limit) - used + int(counts.get("inactive_file", 0)), 0)


def give_back() -> None:
    """Free what a closed model leaves behind: reference cycles, and pages that the C library keeps for later use."""
    gc.collect()
    with suppress(OSError, AttributeError):  # the C library has no such function: musl, macOS
        ctypes.CDLL(None).malloc_trim(0)


def tune_garbage_collection() -> None:
    """Make garbage collection, which stops every thread, rare and short; called once TensorFlow is imported."""
    # Half a million objects of TensorFlow's modules are never freed, and each collection would traverse them.
    gc.freeze()
    # A request creates some fifty objects and frees all of them: the default of 700 would collect every few requests.
    gc.set_threshold(COLLECT_AFTER)


class _LoadTuning:
    """Settings of the interpreter while versions are loaded: no collection of old objects, and short turns of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._usual_threshold = gc.get_threshold()[2]
        self._usual_turn_s = sys.getswitchinterval()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Apply the settings until the last of the blocks that overlap has ended."""
        with self._lock:
            if not self._blocks:
                self._usual_threshold, self._usual_turn_s = gc.get_threshold()[2], sys.getswitchinterval()
                gc.set_threshold(*gc.get_threshold()[:2], NEVER)
                sys.setswitchinterval(TURN_S)
            self._blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if not self._blocks:
                    # The other thresholds may have changed meanwhile: the first load calls `tune_garbage_collection`.
                    gc.set_threshold(*gc.get_threshold()[:2], self._usual_threshold)
                    sys.setswitchinterval(self._usual_turn_s)


load_tuning = _LoadTuning()
