"""Latency while versions are exchanged: a real server, loaded from a second process, with and without ten reloads.

    python benchmarks/reload.py --model build/test-models/penguins/1

Prints p50 and p99 of both and their ratio, the p99 of those requests alone that came while a version was on its way, the
failed requests (there must be none; every answer is checked), and the server's resident memory after 5 and after 50
reloads. The two kinds of run alternate, so that a noisy machine shows.
"""

import argparse
import asyncio
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RELOADS = 10


def main() -> None:
    """Parses the arguments and runs the benchmark, or, as the second process, the load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of an exported version")
    parser.add_argument("--seconds", type=float, default=60, help="length of a run; the reloads are spread over it")
    parser.add_argument("--rate", type=float, default=200, help="requests a second, of all connections")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2, help="runs of each kind")
    parser.add_argument("--reloads", type=int, default=50, help="reloads after which memory is measured last")
    parser.add_argument("--load", nargs=2, metavar=("PORT", "BODY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        port, body = arguments.load
        print(json.dumps(asyncio.run(load(int(port), body.encode(), arguments))))
        return
    with tempfile.TemporaryDirectory() as folder:
        Benchmark(Path(folder), arguments).run()


class Benchmark:
    """One server and its models folder."""

    def __init__(self, folder: Path, arguments: argparse.Namespace):
        self.arguments = arguments
        self.name = json.loads((arguments.model / "assets.extra" / "heads.json").read_text())["name"]
        self.models = folder / "models"
        self.version = 0
        self.resident: dict[int, float] = {}

    def run(self) -> None:
        """Measures and prints."""
        (self.models / self.name).mkdir(parents=True)
        self.add()
        command = [sys.executable, "-m", "service", "serve", "--models", str(self.models), "--port", "0"]
        environment = os.environ | {"HEADSERVE_LOG_FORMAT": "json", "PYTHONPATH": str(REPOSITORY)}
        self.server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            self.measure()
        finally:
            self.server.terminate()
            self.server.communicate()

    def measure(self) -> None:
        """Runs of both kinds in turn, then reloads without load."""
        assert self.server.stderr is not None
        line = next(line for line in self.server.stderr if '"listening"' in line)
        self.port = int(json.loads(line)["url"].rpartition(":")[2])
        drained = subprocess.Popen(["cat"], stdin=self.server.stderr, stdout=subprocess.DEVNULL)
        self.until_served()
        runs: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        for _ in range(self.arguments.rounds):
            for reloading in (False, True):
                runs[reloading].append(self.one_run(reloading))
                show(f"{RELOADS} reloads" if reloading else "no reload", runs[reloading][-1])
        while self.version - 1 < self.arguments.reloads:
            self.reload()
        drained.terminate()
        report(runs, self.resident, self.arguments.reloads)

    def one_run(self, reloading: bool) -> dict[str, Any]:
        """What the second process measured."""
        flags = [f"--{name}={getattr(self.arguments, name)}" for name in ("model", "seconds", "rate", "connections")]
        body = json.dumps({"instances": [self.get(f"/models/{self.name}")["example"]], "heads": "*"})
        process = subprocess.Popen(
            [sys.executable, __file__, *flags, "--load", str(self.port), body], stdout=subprocess.PIPE, text=True
        )
        time.sleep(1)
        windows = []
        for _ in range(RELOADS if reloading else 0):
            began = time.monotonic()
            self.reload()
            windows.append((began, time.monotonic()))
            time.sleep(max(0, (self.arguments.seconds - 2) / RELOADS - (time.monotonic() - began)))
        late = process.poll() is not None and reloading
        result: dict[str, Any] = json.loads(process.communicate()[0])
        within = [ms for due, ms in result.pop("requests_due") if any(began <= due <= ended for began, ended in windows)]
        return result | {"late": late, "within": percentile(within, 0.99) if within else math.nan}

    def reload(self) -> None:
        """The next version, and the last one out of memory."""
        self.add()
        self.until_served()
        self.resident[self.version - 1] = resident_mb(self.server.pid)
        if (self.version - 1) % 5 == 0:
            print(f"after {self.version - 1} reloads: {self.resident[self.version - 1]:.0f} MB resident", flush=True)

    def add(self) -> None:
        """A copy of the model under the next version, without the card's name and version in the way."""
        self.version += 1
        aside = self.models / self.name / f".{self.version}"
        shutil.copytree(self.arguments.model, aside)
        aside.rename(aside.with_name(str(self.version)))
        if self.version > 2:
            shutil.rmtree(aside.with_name(str(self.version - 2)))

    def until_served(self) -> None:
        """Waits until the newest version, and nothing else, is in memory."""
        for _ in range(3000):
            try:
                states = {version["version"]: version["state"] for version in self.get(f"/models/{self.name}")["versions"]}
            except OSError:
                states = {}
            if states.pop(self.version, None) == "available" and set(states.values()) <= {"end"}:
                return
            time.sleep(0.1)
        raise SystemExit(f"version {self.version} is not served: {states}")

    def get(self, path: str) -> Any:
        """The JSON at the path."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return json.load(answer)


async def load(port: int, body: bytes, arguments: argparse.Namespace) -> dict[str, Any]:
    """Latencies in ms of requests at a steady rate; a request that is late counts from when it was due."""
    name = json.loads((arguments.model / "assets.extra" / "heads.json").read_text())["name"].encode()
    request = b"POST /models/%s/predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (name, len(body), body)
    latencies: list[tuple[float, float]] = []
    failed: list[str] = []
    known: set[bytes] = set()
    expected: dict[str, Any] = {}
    began = time.monotonic()
    interval = arguments.connections / arguments.rate

    async def client(index: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = began + interval * index / arguments.connections
        while due < began + arguments.seconds:
            await asyncio.sleep(max(0, due - time.monotonic()))
            writer.write(request)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"content-length: (\d+)", head)[1])
                answer = await reader.readexactly(length)
            except (OSError, asyncio.IncompleteReadError) as error:
                failed.append(repr(error))
                return
            latencies.append((due, (time.monotonic() - due) * 1000))
            if answer not in known:
                known.add(answer)
                if not alike(
                    json.loads(answer)["predictions"], expected.setdefault("first", json.loads(answer)["predictions"])
                ):
                    failed.append(f"another answer: {answer.decode()}")
            if not head.startswith(b"HTTP/1.1 200"):
                failed.append(answer.decode())
            due += interval
        writer.close()

    await asyncio.gather(*(client(index) for index in range(arguments.connections)))
    p50, p99, worst = (percentile([ms for _, ms in latencies], q) for q in (0.5, 0.99, 1))
    return {"requests": len(latencies), "requests_due": latencies, "p50": p50, "p99": p99, "max": worst, "failed": failed}


def percentile(values: list[float], q: float) -> float:
    """The value that a share `q` does not exceed."""
    return sorted(values)[min(math.ceil(q * len(values)), len(values)) - 1]


def alike(value: Any, expected: Any) -> bool:
    """Whether they are the same up to the last digits, which depend on the size of the batch."""
    if isinstance(expected, dict):
        return value.keys() == expected.keys() and all(alike(value[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(alike, value, expected))
    if isinstance(expected, float):
        return math.isclose(value, expected, rel_tol=1e-4, abs_tol=1e-5)
    return bool(value == expected)


def show(kind: str, run: dict[str, Any]) -> None:
    """One line a run."""
    late = "  the run ended before the last reload" if run["late"] else ""
    print(
        f"{kind:>12}: {run['requests']} requests, p50 {run['p50']:.2f} ms, p99 {run['p99']:.2f} ms, "
        f"max {run['max']:.1f} ms, p99 while a version is on its way {run['within']:.2f} ms, failed {len(run['failed'])}{late}",
        flush=True,
    )
    for reason in run["failed"][:3]:
        print("   ", reason)


def report(runs: dict[bool, list[dict[str, Any]]], resident: dict[int, float], reloads: int) -> None:
    """The medians and their ratio; exits with 1 when a request failed."""
    still, reloading = (statistics.median(run["p99"] for run in runs[kind]) for kind in (False, True))
    failed = sum(len(run["failed"]) for kind in runs.values() for run in kind)
    print(f"p99 {still:.2f} ms without, {reloading:.2f} ms with {RELOADS} reloads: ratio {reloading / still:.2f}")
    growth = resident[reloads] / resident[5] - 1
    print(f"resident {resident[5]:.0f} MB after 5 reloads, {resident[reloads]:.0f} MB after {reloads}: {growth:+.1%}")
    print(f"failed requests: {failed}")
    sys.exit(1 if failed else 0)


def resident_mb(pid: int) -> float:
    """Memory of the process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
