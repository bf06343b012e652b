"""What a change costs: the servers of two or more checkouts, loaded in turn with `wrk`.

    python benchmarks/checkouts.py --models build/test-models --model movies ../main .

Prints for each checkout the medians of requests a second, p50, p99 and the processor time that the server took for a request,
which is the steadiest on a noisy machine; and how each compares with the first, round by round. Naming a checkout by two paths
shows what noise alone does. Every request asks every head for the model's example.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = 120
TICKS = os.sysconf("SC_CLK_TCK")
UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


class Result(NamedTuple):
    """One run of the load."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


class Server:
    """The server of a checkout, until the end of the block."""

    def __init__(self, checkout: Path, models: Path):
        self.name = str(checkout)
        command = [sys.executable, "-m", "service", "serve", "--models", str(models.resolve()), "--port", "0"]
        environment = os.environ | {"HEADSERVE_LOG_FORMAT": "json", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the server
        self._process = subprocess.Popen(command, cwd=checkout, env=environment, stderr=self._log, stdout=subprocess.DEVNULL)
        self.results: list[Result] = []

    def __enter__(self) -> "Server":
        until_s = time.monotonic() + PATIENCE_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > until_s:
                self.__exit__()
                raise SystemExit(f"{self.name}: the server does not start.")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def _ready(self) -> bool:
        self._log.seek(0)
        found = re.search(r'"url": *"([^"]+)"', self._log.read())
        if found is None:
            return False
        self.url = found[1]
        try:
            with urllib.request.urlopen(f"{self.url}/readyz") as answer:
                return not json.load(answer)["loading"]
        except urllib.error.HTTPError:
            return False

    @property
    def cpu_s(self) -> float:
        """Processor time that it has taken."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def loaded(self, script: Path, model: str, connections: int, seconds: int) -> Result:
        """What it does under load."""
        before_s = self.cpu_s
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            f"-s{script}",
            f"{self.url}/models/{model}/predict",
        ]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in told:
            raise SystemExit(f"{self.name}: not every answer is 200.\n{told}")
        cpu_s = self.cpu_s - before_s
        requests = float(_found(r"(\d+) requests in", told))
        rate = float(_found(r"Requests/sec:\s+(\S+)", told))
        return Result(rate, _ms(_found(r"\s50%\s+(\S+)", told)), _ms(_found(r"\s99%\s+(\S+)", told)), cpu_s / requests * 1e6)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"wrk does not say {pattern!r}:\n{text}")
    return found[1]


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()
    return float(number) * UNITS_MS[unit]


def main() -> None:
    """Parses the arguments, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="the models folder")
    parser.add_argument("--model", required=True, help="a model in it, with a card")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=4, help="length of a run")
    parser.add_argument("--connections", type=int, default=64)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed: apt-get install wrk")
    with ExitStack() as stack, tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        servers = [stack.enter_context(Server(checkout, arguments.models)) for checkout in arguments.checkouts]
        with urllib.request.urlopen(f"{servers[0].url}/models/{arguments.model}") as answer:
            body = json.dumps({"instances": [json.load(answer)["example"]], "heads": "*"})
        script.write(f"wrk.method = 'POST'\nwrk.body = [==[{body}]==]\nwrk.headers['content-type'] = 'application/json'\n")
        script.flush()
        measure(servers, arguments, Path(script.name))
    report(servers)


def measure(servers: list[Server], arguments: argparse.Namespace, script: Path) -> None:
    """Every round loads each server once, and begins with another one."""
    load = (script, arguments.model, arguments.connections, arguments.seconds)
    for server in servers:
        server.loaded(*load)  # warm
    for number in range(arguments.rounds):
        first = number % len(servers)
        for server in servers[first:] + servers[:first]:
            server.results.append(server.loaded(*load))


def report(servers: list[Server]) -> None:
    """Prints the medians, and the median ratios to the first server of the same round."""
    width = max(len(server.name) for server in servers)
    print(f"{'':{width}} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'CPU µs/request':>15}   to the first: requests/s, CPU")
    for server in servers:
        rate, p50, p99, cpu = (statistics.median(column) for column in zip(*server.results, strict=True))
        pairs = list(zip(server.results, servers[0].results, strict=True))
        rates = statistics.median(own.requests_per_s / first.requests_per_s for own, first in pairs)
        cpus = statistics.median(own.cpu_us / first.cpu_us for own, first in pairs)
        print(f"{server.name:{width}} {rate:>11,.0f} {p50:>8.2f} {p99:>8.2f} {cpu:>15.1f}   {rates:.2f}, {cpus:.2f}")


if __name__ == "__main__":
    main()
