"""Memory of several processes together: what they share, among themselves or with others, is counted once and in full."""

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)$")
SHARED_MEMORY = ("/dev/shm", "/memfd:", "/dev/zero", "/SYSV")


def memory_mb(pids: Iterable[int]) -> float:
    """Resident memory: their own pages, and of every mapped file as much as the process that has most of it."""
    own_kb = 0
    files_kb: dict[str, int] = defaultdict(int)
    for pid in pids:
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            own_kb += sum(map(int, re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+)", rollup, re.MULTILINE)))
            for file, resident_kb in _files_kb(Path(f"/proc/{pid}/smaps").read_text()).items():
                files_kb[file] = max(files_kb[file], resident_kb)
    return (own_kb + sum(files_kb.values())) / 1024


def _files_kb(smaps: str) -> dict[str, int]:
    """Of every mapped file, the resident pages that are still the file's."""
    found: dict[str, int] = defaultdict(int)
    file = ""
    for line in smaps.splitlines():
        if mapping := MAPPING.match(line):
            file = mapping[1]
        elif file.startswith("/") and not file.startswith(SHARED_MEMORY):
            name, value = line.split()[:2]
            if name in {"Rss:", "Anonymous:"}:
                found[file] += int(value) if name == "Rss:" else -int(value)
    return found
