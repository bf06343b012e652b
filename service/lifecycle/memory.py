"""The process's memory: how much there is, and how to give it back."""

import ctypes
import gc
import os
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


@cache
def _malloc_trim() -> Any:
    """The C library's function, None where it has none (musl, macOS)."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
