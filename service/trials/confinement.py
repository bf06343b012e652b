"""Limits of a process that runs a model for the first time.

Each limit is applied where the system has it: resource limits everywhere, namespaces and Landlock on Linux.
"""

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path

MAX_FILE_BYTES = 64 * 2**20
"""Largest temporary file, for instance of a compiler."""
MAX_OPEN_FILES = 1024
SLACK_BYTES = 8 * 2**30
"""Address space beyond the limit of memory, for stacks and unused arenas. With less, TensorFlow would wait ten seconds for
memory, in each operation, before the supervisor sees that the limit is exceeded."""

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _SIGKILL = 1, 38, 9
# Landlock's system calls have the same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_WRITE_FILE, _REMOVE_AND_MAKE = 1 << 1, sum(1 << bit for bit in range(4, 13))
_WRITES = _WRITE_FILE | _REMOVE_AND_MAKE

_libc = ctypes.CDLL(None, use_errno=True)


def end_with_parent() -> None:
    """Let the system end this process as soon as its parent ends."""
    if hasattr(_libc, "prctl"):
        _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def confine(memory_bytes: int, cpu_s: int, writable: Path) -> None:
    """Apply the limits to this process, which must have one thread. They cannot be lifted again.

    Args:
        memory_bytes: memory that the process may allocate in addition to what it has.
        cpu_s: seconds of processor time after which the system ends the process.
        writable: the one folder in which the process may write, apart from devices.
    """
    with suppress(OSError):  # if the system runs out of memory, it ends this process first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _limit(resource.RLIMIT_CPU, cpu_s)
    # Writable private memory, where the system tells how much there is; the supervisor measures resident memory too.
    data_bytes = _status_bytes("VmData")
    if data_bytes is not None:
        _limit(resource.RLIMIT_DATA, data_bytes + memory_bytes + SLACK_BYTES)
    if hasattr(_libc, "unshare"):  # no network; refused in most containers
        _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    _forbid_writes(writable)


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _status_bytes(field: str) -> int | None:
    """Return a field of /proc/self/status that is in kB; None if there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _forbid_writes(writable: Path) -> None:
    """Forbid to create, change and remove files outside of `writable` and /dev, with Landlock (Linux 5.13)."""
    if not hasattr(_libc, "prctl"):
        return
    handled = ctypes.c_uint64(_WRITES)
    rules = _libc.syscall(_CREATE_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if rules < 0:
        return
    try:
        for folder, allowed in ((writable, _WRITES), (Path("/dev"), _WRITE_FILE)):
            parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            _libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, ctypes.byref(_Rule(allowed, parent)), 0)
            os.close(parent)
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _libc.syscall(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)
