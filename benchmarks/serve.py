"""headserve against other servers of the same model, loaded from a second process by `wrk`.

    make bench-peers                                     # the environments of LitServe, BentoML, Ray Serve and MLServer
    .venv-newest/bin/python benchmarks/serve.py MODELS/movies [--servers headserve,plain,empty] [--rounds 3] [--seconds 4]

`plain` is a FastAPI route that calls the SavedModel, `empty` one that calls nothing, `in process` a process without a server.
Every server is started anew in every round, every second round in reverse, and answers a request of one row and one of 512 as
the process without a server does, before anything is timed. A server's start ends with its first answer; its memory and
processor time are those of all its processes. Figures are medians of the rounds.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving import answers, binary, client, processes, report
from serving.memory import memory_mb
from serving.servers import REPOSITORY, SERVERS, Server, servers

BODIES = {"one": 1, "many": 512}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model's folder, with a card that has an example")
    parser.add_argument("--servers", help="which, by comma (default: all that are installed)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, help="JSON file to keep the figures in and to add them to")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    known = servers(arguments.model.resolve().name)
    names = chosen(known, arguments.servers)
    results = arguments.results
    found: report.Found = json.loads(results.read_text()) if results and results.exists() else {}
    with tempfile.TemporaryDirectory(prefix="bench", ignore_cleanup_errors=True) as folder:
        bench = Benchmark(arguments.model.resolve(), Path(folder), arguments.seconds)
        for index in range(arguments.rounds):
            for name in (report.IN_PROCESS, *names[:: -1 if index % 2 else 1]):
                say(f"round {index + 1} of {arguments.rounds}: {name}")
                bench.measure(name, known.get(name), found)
                if results:
                    results.write_text(json.dumps(found, indent=1))
    order = [name for name in (*known, report.IN_PROCESS) if name in found]
    found = {name: found[name] for name in order}
    print(*report.table(found), "", report.legend(found, arguments.seconds), "", *report.targets(found), "", sep="\n")
    print(*report.versions({name: known[name] for name in order if name in known}), report.machine(), sep="\n")


def chosen(known: dict[str, Server], text: str | None) -> list[str]:
    """The servers' names, without those that are not installed."""
    names = text.split(",") if text else list(known)
    if unknown := set(names) - known.keys():
        raise SystemExit(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in names:
        if not known[name].installed:
            say(f"{name} is skipped: it is not installed; make bench-peers")
    return [name for name in names if known[name].installed]


def say(text: str) -> None:
    """Tells of progress."""
    print(text, file=sys.stderr, flush=True)


class Benchmark:
    """One model and its requests."""

    def __init__(self, model: Path, folder: Path, seconds: int):
        version = max((each for each in model.iterdir() if each.name.isdigit()), key=lambda each: int(each.name))
        example = json.loads((version / "assets.extra" / "heads.json").read_text())["example"]
        self.rows = {name: answers.rows(example, count) for name, count in BODIES.items()}
        self.folder = folder
        (folder / "models").mkdir()
        shutil.copytree(model, folder / "models" / model.name)  # no other model beside it
        self.seconds = seconds
        self.environment = os.environ | {"BENCH_MODEL": str(version), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.expected: dict[str, Any] = {}

    def measure(self, name: str, server: Server | None, found: report.Found) -> None:
        """Adds a round's figures to those found; a peer that fails adds none."""
        try:
            figures = self.server(server) if server else self.in_process()
        except RuntimeError as error:
            if name in report.NOT_PEERS:
                raise SystemExit(f"{name}: {error}") from error
            say(f"  {name} failed: {error}")
            return
        for what, value in figures.items():
            found.setdefault(name, {}).setdefault(what, []).append(value)
        say("  " + ", ".join(f"{what} {value:.4g}" for what, value in figures.items() if "requests/s" in what))

    def in_process(self) -> dict[str, float]:
        """A process without a server, whose answers all others are compared with."""
        bodies = self.bodies(lambda rows: {"instances": rows})
        command = [sys.executable, str(SERVERS / "in_process.py"), *map(str, bodies.values())]
        environment = self.environment | {"PYTHONPATH": str(REPOSITORY / "benchmarks"), "BENCH_STARTED": str(time.monotonic())}
        process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if process.returncode:
            raise RuntimeError(process.stderr)
        result = json.loads(process.stdout)
        self.expected = result["answers"]
        alone, _, large = report.CASES
        return {
            report.START: result["ready_s"],
            report.MEMORY: result["memory_mb"],
            report.row(alone, "p50_ms"): result["one_ms"],
            report.row(large, "per_s"): 1000 / result["many_ms"],
        }

    def server(self, server: Server) -> dict[str, float]:
        """One server, from its start to its end."""
        bodies = self.bodies(server.body)
        figures = {}
        start_s = time.perf_counter()
        with processes.running(server, self.environment, self.folder) as (process, address):
            url = address + server.path
            client.until_answered(process, address + server.ready, url, bodies["one"].read_bytes())
            figures[report.START] = time.perf_counter() - start_s
            figures[report.MEMORY] = memory_mb(processes.descendants())
            self.check(server, url, bodies)
            for case, (connections, body) in report.CASES.items():
                figures |= self.loaded(case, url, connections, bodies[body], client.JSON)
            if server.binary_path:
                figures |= self.binary(address + server.binary_path)
            figures[report.MEMORY_AFTER] = memory_mb(processes.descendants())
        return figures

    def binary(self, url: str) -> dict[str, float]:
        """The same rows in binary, after the answer was found to be the same."""
        body, headers = binary.request(self.rows["many"])
        difference = answers.difference(client.ask(url, body, headers), self.expected["many"])
        if difference:
            raise RuntimeError(f"its answer in binary differs: {difference}")
        file = self.folder / "binary"
        file.write_bytes(body)
        connections, _ = report.CASES["8 × 512 rows"]
        return self.loaded(report.BINARY_CASE, url, connections, file, headers)

    def loaded(self, case: str, url: str, connections: int, body: Path, headers: Mapping[str, str]) -> dict[str, float]:
        """A case's figures, by their names in the table."""
        client.load(url, connections, body, 1, headers)
        before_s = processes.cpu_s()
        result = client.load(url, connections, body, self.seconds, headers)
        result["cpu_ms"] = 1000 * (processes.cpu_s() - before_s) / max(result.pop("requests"), 1)
        return {report.row(case, what): value for what, value in result.items()}

    def check(self, server: Server, url: str, bodies: dict[str, Path]) -> None:
        """Raises RuntimeError where the server answers otherwise than the process without one."""
        for name, body in bodies.items():
            answer = client.ask(url, body.read_bytes())
            difference = None if server.calls_nothing else answers.difference(answer, self.expected[name])
            if difference:
                raise RuntimeError(f"its answer to {BODIES[name]} rows differs: {difference}")

    def bodies(self, body: Any) -> dict[str, Path]:
        """Files with the requests."""
        files = {name: self.folder / name for name in self.rows}
        for name, file in files.items():
            file.write_text(json.dumps(body(self.rows[name])))
        return files


if __name__ == "__main__":
    main()
