"""headserve against a plain FastAPI route and an empty one, on the same model, loaded from a second process by `wrk`.

    python benchmarks/serve.py MODELS/movies [--servers headserve,plain,empty] [--seconds 4] [--rounds 3]

The servers alternate, each started anew in every round, and their answers are compared before they are timed. The table
shows the median of the rounds and, in brackets, the lowest and the highest. Processor time per request is what a busy
machine disturbs least.
"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).parent
CASES = {"1 × 1 row": (1, "one"), "64 × 1 row": (64, "one"), "8 × 512 rows": (8, "many")}
READY_TIMEOUT_S = 180


@dataclass(frozen=True)
class Server:
    """How to start it on a port, and where it answers."""

    command: list[str]
    path: str
    ready: str


def servers(model: Path) -> dict[str, Server]:
    """Those that can be measured, by name."""
    route = [sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level", "warning", "--app-dir", str(HERE / "servers")]
    own = [sys.executable, "-m", "service.main", "serve", "--models", str(model.parent)]
    return {
        "headserve": Server(own, f"/models/{model.name}/predict", "/readyz"),
        "plain": Server([*route, "plain:app"], "/predict", "/docs"),
        "empty": Server([*route, "empty:app"], "/predict", "/docs"),
    }


def start(server: Server, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], str, float]:
    """The process, its address, and the seconds until it was ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start_s = time.perf_counter()
    process = subprocess.Popen(
        [*server.command, "--port", str(port)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    while time.perf_counter() - start_s < READY_TIMEOUT_S and process.poll() is None:
        try:
            if httpx.get(url + server.ready, timeout=5).status_code == 200:
                return process, url, time.perf_counter() - start_s
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    process.kill()
    raise SystemExit(f"{server.command} was not ready")


def load(url: str, connections: int, body: Path, seconds: int) -> dict[str, float]:
    """What wrk measures: requests per second, and p50 and p99 in milliseconds."""
    script = f'f = io.open("{body}", "rb"); wrk.method = "POST"; wrk.body = f:read("*a"); f:close()\n'
    script += 'wrk.headers["Content-Type"] = "application/json"\n'
    script += 'done = function(s, l) print(string.format("RESULT %d %d %d %d %d", s.requests, s.duration, '
    script += "l:percentile(50), l:percentile(99), s.errors.status + s.errors.read + s.errors.timeout)) end\n"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", file.name, url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", output)
    if found is None:
        raise SystemExit(output)
    requests, duration_us, p50_us, p99_us, failed = map(int, found.groups())
    if failed:
        raise SystemExit(f"{url}: {failed} requests failed")
    return {"requests": requests, "per_s": 1e6 * requests / duration_us, "p50_ms": p50_us / 1000, "p99_ms": p99_us / 1000}


def cpu_s(pid: int) -> float:
    """Processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Its resident memory."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def flat(answer: dict[str, Any]) -> dict[str, Any]:
    """Output → values, whichever server answered."""
    predictions = answer["predictions"]
    nested = {
        f"{head}/{key}": value for head, keys in predictions.items() if isinstance(keys, dict) for key, value in keys.items()
    }
    return nested or predictions


def check(name: str, url: str, body: Path, expected: dict[str, Any]) -> None:
    """Compares the answer with that of the first server; numbers to four digits."""
    answer = httpx.post(url, content=body.read_bytes(), headers={"Content-Type": "application/json"}, timeout=60)
    answer.raise_for_status()
    found = json.loads(json.dumps(flat(answer.json())), parse_float=lambda text: f"{float(text):.3e}")
    if not expected:
        expected.update(found)
    elif found != expected:
        raise SystemExit(f"{name} answers otherwise than the first server: {found} instead of {expected}")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model's folder, with a card that has an example")
    parser.add_argument("--servers", default="headserve,plain,empty")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    model = arguments.model.resolve()
    version = max((folder for folder in model.iterdir() if folder.name.isdigit()), key=lambda folder: int(folder.name))
    example = json.loads((version / "assets.extra" / "heads.json").read_text())["example"]
    environment = os.environ | {"BENCH_MODEL": str(version), "TF_CPP_MIN_LOG_LEVEL": "3"}
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        bodies = {name: Path(folder) / name for name in ("one", "many")}
        for name, rows in (("one", 1), ("many", 512)):
            bodies[name].write_text(json.dumps({"instances": [example] * rows, "heads": "*"}))
        for _ in range(arguments.rounds):
            bare = [sys.executable, str(HERE / "servers" / "in_process.py"), *map(str, bodies.values())]
            output = subprocess.run(bare, env=environment, capture_output=True, text=True, check=True).stdout
            for what, value in json.loads(output).items():
                found["in process", what].append(value)
            measure(arguments, servers(model), environment, bodies, found)
    print_table(found, arguments.servers.split(","))


def measure(
    arguments: argparse.Namespace,
    known: dict[str, Server],
    environment: dict[str, str],
    bodies: dict[str, Path],
    found: dict[tuple[str, str], list[float]],
) -> None:
    """One round: every server once."""
    expected: dict[str, Any] = {}
    for name in arguments.servers.split(","):
        server = known[name]
        process, url, ready_s = start(server, environment)
        try:
            if name != "empty":
                check(name, url + server.path, bodies["one"], expected)
            found[name, "ready_s"].append(ready_s)
            found[name, "memory_mb"].append(memory_mb(process.pid))
            for case, (connections, body) in CASES.items():
                load(url + server.path, connections, bodies[body], 1)
                before_s = cpu_s(process.pid)
                result = load(url + server.path, connections, bodies[body], arguments.seconds)
                result["cpu_ms"] = 1000 * (cpu_s(process.pid) - before_s) / max(result.pop("requests"), 1)
                for what, value in result.items():
                    found[name, f"{case}: {what}"].append(value)
        finally:
            process.terminate()
            process.wait(60)


def print_table(found: dict[tuple[str, str], list[float]], names: list[str]) -> None:
    """Medians with the range, and headserve's ratio to each."""
    columns = [*names, "in process"]
    print("| |", " | ".join(columns), "|\n| --- |" + " ---: |" * len(columns))
    for row in dict.fromkeys(what for _, what in found):
        cells = []
        for name in columns:
            values = found.get((name, row))
            text = f"{statistics.median(values):.4g} ({min(values):.4g}–{max(values):.4g})" if values else ""
            own = found.get(("headserve", row))
            if values and own and name != "headserve":
                text += f", headserve × {statistics.median(own) / statistics.median(values):.2f}"
            cells.append(text)
        print(f"| {row} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
