"""Half an hour of mixed traffic on every API, with reloads: what grows, if anything does.

    python benchmarks/soak.py --model build/test-models/penguins/1

Starts a real server. Clients send at a steady rate, through the native API, /v1, /v2 in JSON and /v2 in binary, rows of their
own; every answer is compared with what the model answered at first. A new version takes the place of the old one every while,
and a broken one comes in between. Prints a line a minute: requests, errors, p50 and p99 in milliseconds, the reloads so far,
and the server's resident memory, file descriptors and threads. Ends with 1 when a request failed.
"""

import argparse
import asyncio
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from serving import answers, binary

REPOSITORY = Path(__file__).resolve().parents[1]
ROWS = 16
"""So many different requests each API has."""
COLUMNS = "| minute | requests | errors | p50 ms | p99 ms | reloads | resident MB | descriptors | threads |"


class Ask(NamedTuple):
    """A request as bytes, and what its answer is."""

    request: bytes
    expected: Any


class Tally:
    """What became of the requests of a minute."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.errors: list[str] = []


def main() -> None:
    """Parses the arguments and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of an exported version with a card")
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=float, default=200, help="requests a second, of all connections")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--reload-every", type=float, default=20, help="seconds between two versions")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(asyncio.run(Soak(Path(folder), arguments).run()))


class Soak:
    """One server, its models folder and its clients."""

    def __init__(self, folder: Path, arguments: argparse.Namespace):
        self.arguments = arguments
        self.card = json.loads((arguments.model / "assets.extra" / "heads.json").read_text())
        self.name: str = self.card["name"]
        self.models = folder / "models"
        self.log = folder / "log"
        self.version = 0
        self.tally = Tally()
        self.ended = False

    async def run(self) -> int:
        """The exit code."""
        (self.models / self.name).mkdir(parents=True)
        self.add()
        command = [sys.executable, "-m", "service", "serve", "--models", str(self.models), "--port", "0"]
        environment = os.environ | {"HEADSERVE_LOG_FORMAT": "json", "PYTHONPATH": str(REPOSITORY)}
        with self.log.open("wb") as log:
            self.server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            await self.until_ready()
            return await self.measure()
        finally:
            self.server.terminate()
            self.server.wait()

    async def until_ready(self) -> None:
        """Waits until the first version is served."""
        while '"model loaded"' not in self.log.read_text():
            if self.server.poll() is not None:
                raise SystemExit(self.log.read_text())
            await asyncio.sleep(0.1)
        self.port = int(re.search(r'"url": "http://[^"]*:(\d+)"', self.log.read_text())[1])

    async def measure(self) -> int:
        """Clients and reloads for so many minutes, and a line for each."""
        asks = await self.asks()
        began = time.monotonic()
        clients = [asyncio.create_task(self.client(index, asks, began)) for index in range(self.arguments.connections)]
        reloads = asyncio.create_task(self.reload())
        print(COLUMNS, "|" + " --- |" * COLUMNS.count(" | ") + " --- |", sep="\n", flush=True)
        failed = 0
        for minute in range(1, self.arguments.minutes + 1):
            await asyncio.sleep(max(0.0, began + 60 * minute - time.monotonic()))
            tally, self.tally = self.tally, Tally()
            failed += len(tally.errors)
            print(self.line(minute, tally), flush=True)
            for reason in tally.errors[:3]:
                print("   ", reason, file=sys.stderr, flush=True)
        self.ended = True
        reloads.cancel()
        await asyncio.gather(*clients)
        return 1 if failed else 0

    def line(self, minute: int, tally: Tally) -> str:
        """The minute's line of the table."""
        process = Path(f"/proc/{self.server.pid}")
        resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        descriptors, threads = (len(list((process / kind).iterdir())) for kind in ("fd", "task"))
        p50, p99 = (percentile(tally.latencies_ms, q) for q in (0.5, 0.99))
        cells = (minute, len(tally.latencies_ms), len(tally.errors), f"{p50:.1f}", f"{p99:.1f}", self.reloads)
        return "| " + " | ".join(map(str, (*cells, f"{resident:.0f}", descriptors, threads))) + " |"

    @property
    def reloads(self) -> int:
        """Versions that have taken another's place."""
        return (self.version - 1) // 2

    def add(self, broken: bool = False) -> None:
        """A copy of the model under the next version; a broken one lacks half of its graph. All but the last three go."""
        self.version += 1
        aside = self.models / self.name / f".{self.version}"
        shutil.copytree(self.arguments.model, aside)
        if broken:
            os.truncate(aside / "saved_model.pb", (aside / "saved_model.pb").stat().st_size // 2)
        aside.rename(aside.with_name(str(self.version)))
        if self.version > 3:
            shutil.rmtree(aside.with_name(str(self.version - 3)))

    async def reload(self) -> None:
        """Good and broken versions in turn."""
        for broken in itertools.cycle((True, False)):
            await asyncio.sleep(self.arguments.reload_every)
            await asyncio.to_thread(self.add, broken)

    async def asks(self) -> list[Ask]:
        """The requests of every API in turn, each with what the model answers now."""
        rows = answers.rows(self.card["example"], ROWS)
        found = [self.request(api, row) for row in rows for api in range(4)]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        asks = []
        for request in found:
            writer.write(request)
            asks.append(Ask(request, await read(reader)))
        writer.close()
        return asks

    def request(self, api: int, row: dict[str, Any]) -> bytes:
        """The row, asked of that API: every head and key."""
        headers: dict[str, str] = {}
        if api == 0:
            path, body = f"/models/{self.name}/predict", json.dumps({"instances": [row], "heads": "*"}).encode()
        elif api == 1:
            path, message = f"/v1/models/{self.name}:predict", {"signature_name": "predict", "inputs": _columns(row)}
            body = json.dumps(message).encode()
        else:
            path = f"/v2/models/{self.name}/infer"
            body, headers = binary.request([row])
            if api == 2:
                body, headers = json.dumps({"inputs": [_tensor(*cell) for cell in row.items()]}).encode(), {}
        lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def client(self, index: int, asks: list[Ask], began: float) -> None:
        """Sends at its share of the rate, as far as answers come in time for that. Now and then it reconnects."""
        interval = self.arguments.connections / self.arguments.rate
        due = began + interval * index / self.arguments.connections
        writer = None
        for number in itertools.count(index):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self.ended:
                break
            sent = time.monotonic()
            try:
                if writer is None or number % 50 == 0:
                    if writer is not None:
                        writer.close()
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                ask = asks[number * 7 % len(asks)]
                writer.write(ask.request)
                wrong = answers.difference(await read(reader), ask.expected)
            except (OSError, ValueError, asyncio.IncompleteReadError) as error:
                writer, wrong = None, repr(error)
            self.tally.latencies_ms.append((time.monotonic() - sent) * 1000)
            self.tally.errors += [wrong] if wrong else []
            due = max(due + interval, time.monotonic())
        if writer is not None:
            writer.close()


async def read(reader: asyncio.StreamReader) -> Any:
    """The answer's contents. Raises ValueError for any other than 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    fields = dict(re.findall(rb"([^:\r\n]+): ([^\r\n]*)", head))
    body = await reader.readexactly(int(fields[b"content-length"]))
    if not head.startswith(b"http/1.1 200"):
        raise ValueError(body.decode())
    length = fields.get(binary.HEADER.lower().encode())
    message = binary.answer(body, int(length)) if length else json.loads(body)
    return {"predictions": message["outputs"]} if isinstance(message.get("outputs"), dict) else message


def _columns(row: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: [value] for name, value in row.items()}


def _tensor(name: str, value: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP32", "data": [value]}


def percentile(values: list[float], q: float) -> float:
    """The value that a share `q` does not exceed."""
    return sorted(values)[min(math.ceil(q * len(values)), len(values)) - 1] if values else math.nan


if __name__ == "__main__":
    main()
