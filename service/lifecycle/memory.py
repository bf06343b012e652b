"""The process's memory: how much there is, and how to give it back."""

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


def resident_bytes() -> int:
    """Memory of this process that is in RAM, in bytes; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def give_back() -> None:
    """Frees what a closed model leaves behind: reference cycles, and pages that the C library keeps for later."""
    gc.collect()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


class _Collecting:
    """Python's automatic search for reference cycles, short of the oldest objects while anybody is in a `brief()` block."""

    NEVER = 1_000_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._usual = gc.get_threshold()

    @contextmanager
    def brief(self) -> Iterator[None]:
        """No search through everything in this block. A model is so many objects that each would stop every thread for long."""
        with self._lock:
            if not self._blocks:
                self._usual = gc.get_threshold()
                gc.set_threshold(*self._usual[:2], self.NEVER)
            self._blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if not self._blocks:
                    gc.set_threshold(*self._usual)


collecting = _Collecting()


@cache
def _malloc_trim() -> Any:
    """The C library's function, None where it has none (musl, macOS)."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
