"""The table, the targets that it meets, and the versions and the machine that it is of."""

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from .servers import Server

IN_PROCESS = "in process"
START = "start, s"
MEMORY = "memory, MB"
MEMORY_AFTER = "memory after the load, MB"
CASES = {"1 × 1 row": (1, "one"), "64 × 1 row": (64, "one"), "8 × 512 rows": (8, "many")}
BINARY_CASE = "8 × 512 rows, binary"
FIGURES = {"per_s": "requests/s", "p50_ms": "p50, ms", "p99_ms": "p99, ms", "cpu_ms": "processor time a request, ms"}
NOT_PEERS = {"headserve", "empty", IN_PROCESS}
VERSIONS = """
import importlib.metadata, json, platform, sys
versions = {name: importlib.metadata.version(name) for name in sys.argv[1:]}
print(json.dumps(versions | {"Python": platform.python_version()}))
"""

Found = dict[str, dict[str, list[float]]]
Median = Callable[[str, str], float]


def row(case: str, figure: str) -> str:
    """The name of a figure of a case, with its unit."""
    return f"{case}: {FIGURES[figure]}"


def table(found: Found) -> Iterable[str]:
    """A row a figure, a column a server."""
    yield f"| | {' | '.join(found)} |"
    yield "| --- |" + " ---: |" * len(found)
    for what in [START, MEMORY, MEMORY_AFTER, *(row(case, figure) for case in (*CASES, BINARY_CASE) for figure in FIGURES)]:
        cells = [_cell(found, name, what) for name in found]
        yield f"| {what} | {' | '.join(cells)} |"


def legend(found: Found, seconds: int) -> str:
    """What the cells hold."""
    rounds = max(len(rows[START]) for name, rows in found.items() if name != IN_PROCESS)
    return f"Medians of {rounds} × {seconds} s (lowest–highest) [headserve's as a multiple of it]."


def _cell(found: Found, name: str, what: str) -> str:
    values = found[name].get(what)
    if not values:
        return ""
    median = statistics.median(values)
    text = _digits(median)
    if len(values) > 1:
        text += f" ({_digits(min(values))}–{_digits(max(values))})"
    own = found.get("headserve", {}).get(what)
    return text if name == "headserve" or not own else f"{text} [{statistics.median(own) / median:.2f}×]"


def _digits(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def targets(found: Found) -> Iterable[str]:
    """What is to be reached, what is, and whether that is enough."""
    yield "| | to reach | measured | met |"
    yield "| --- | ---: | ---: | --- |"
    for what, limit, least, measured in _targets(found):
        try:
            value = measured(lambda name, what: statistics.median(found[name][what]))
        except KeyError as error:
            yield f"| {what} | {'≥' if least else '≤'} {limit} | needs {error.args[0]} | |"
            continue
        met = value >= limit if least else value <= limit
        yield f"| {what} | {'≥' if least else '≤'} {limit} | {value:.2f} | {'yes' if met else '**no**'} |"


def _targets(found: Found) -> list[tuple[str, float, bool, Callable[[Median], float]]]:
    """Name, limit, whether that is the least, and how to compute the figure."""
    alone, many_clients, large = CASES
    throughput, p50 = row(many_clients, "per_s"), row(alone, "p50_ms")
    peers = {name: statistics.median(rows[throughput]) for name, rows in found.items() if name not in NOT_PEERS}
    best = max(peers, key=lambda name: peers[name], default="a peer")
    return [
        (
            f"{many_clients}: requests/s, headserve / empty route",
            0.6,
            True,
            lambda median: median("headserve", throughput) / median("empty", throughput),
        ),
        (
            f"{many_clients}: requests/s, headserve / best peer ({best})",
            5,
            True,
            lambda median: median("headserve", throughput) / median(best, throughput),
        ),
        (
            f"{many_clients}: p99 / p50",
            3,
            False,
            lambda median: median("headserve", row(many_clients, "p99_ms")) / median("headserve", row(many_clients, "p50_ms")),
        ),
        (
            f"{alone}: p50 − (call in process + empty route), ms",
            0.2,
            False,
            lambda median: median("headserve", p50) - median(IN_PROCESS, p50) - median("empty", p50),
        ),
        (
            f"{large}: requests/s, headserve / (call in process + orjson both ways)",
            0.75,
            True,
            lambda median: median("headserve", row(large, "per_s")) / median(IN_PROCESS, row(large, "per_s")),
        ),
        (
            "memory / bare process",
            1.15,
            False,
            lambda median: median("headserve", MEMORY) / median(IN_PROCESS, MEMORY),
        ),
        (
            "start to ready / bare process",
            1.3,
            False,
            lambda median: median("headserve", START) / median(IN_PROCESS, START),
        ),
    ]


def versions(measured: dict[str, Server]) -> Iterable[str]:
    """One line a server that has versions of its own."""
    for name, server in measured.items():
        if server.distributions:
            command = [server.python, "-c", VERSIONS, *server.distributions, "tensorflow"]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            yield f"{name}: " + ", ".join(f"{distribution} {version}" for distribution, version in found.items())


def machine() -> str:
    """Cores, processor, system, and the client."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    processor = found[1] if found else platform.machine()
    wrk = subprocess.run([shutil.which("wrk") or "wrk", "-v"], capture_output=True, text=True, check=False).stdout.split()
    client = " ".join(wrk[:2])
    return f"{len(os.sched_getaffinity(0))} cores of {processor}, {platform.system()}, client {client}"
