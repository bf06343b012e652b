"""Rows and megabytes a second of every format, read and written, beside `orjson` and NumPy alone.

    python benchmarks/codec.py [MODELS/movies] [--rounds 11] [--sample 0.02]

A model's folder adds the server: 512 rows over /v2 in binary through a server's process, one connection that stays open, and
a call of the same model in this process. Before anything is timed, all sides must give the same values. They are measured by
turns; a figure is the median of the rounds, a ratio that of each round's ratios, with the least and the greatest.

What ours is compared with:
    JSON in     `orjson.loads`, and `np.array` of every column with its dtype
    JSON out    `orjson.dumps` of the arrays; of a dict for each row where the format is by row and has several outputs
    binary      `np.frombuffer` at the tensor's place in the body, which is known, and no look at the JSON. In and out, both
                sides copy the tensor once in, as who feeds a model does, and once into the bytes of the answer, as who
                sends it does; the codec itself copies none, so that it costs the same for every size.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import orjson

from benchmarks.codecs import formats, server
from benchmarks.codecs.timing import Pair, Work, by_turns, microseconds

JSON_TARGET, BINARY_TARGET, SERVER_TARGET = 0.5, 0.9, 0.9
CONNECTIONS = 8
SIZES = ((1, 1), (512, 32), (4096, 256))
Targets = list[tuple[str, float, float]]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="a model's folder, with a card that has an example")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--sample", type=float, default=0.02, help="seconds of a measurement")
    arguments = parser.parse_args()
    bench = Benchmark(arguments.rounds, arguments.sample)
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, orjson {orjson.__version__}; {os.cpu_count()} cores")
    bench.each_format()
    bench.binary_copies()
    if arguments.model:
        bench.through_a_server(arguments.model.resolve())
    print("\nTargets")
    for what, least, found in bench.targets:
        print(f"{'met   ' if found >= least else 'MISSED'} {what}: {found:.0%}, to reach {least:.0%}")


class Benchmark:
    """The measurements, and what became of the targets."""

    def __init__(self, rounds: int, sample_s: float):
        self.rounds = rounds
        self.sample_s = sample_s
        self.targets: Targets = []

    def each_format(self) -> None:
        """Every format, both ways, of one tensor and of three columns."""
        for what, arrays in ((f"{formats.ROWS}×32 floats", formats.floats()), ("text, whole number, float", formats.mixed())):
            header(f"{what}, {formats.ROWS} rows", "alone")
            for kind in formats.FORMATS:
                case = formats.case(kind, arrays)
                case.check()
                read = self._pair(lambda case=case: case.codec.decode(case.body, case.spec), case.decode)
                line(f"{kind}, decode", read, len(case.body))
                written = self._pair(lambda case=case: case.codec.encode(case.response), case.encode)
                line(f"{kind}, encode", written, len(case.answer))
                if kind != formats.V2_BINARY and "x" in arrays:
                    self.targets.append((f"{kind}, decode of {what}", JSON_TARGET, read.speed))

    def binary_copies(self) -> None:
        """Binary in and out against a bare copy, at several sizes."""
        header("/v2 binary in and out", "copy")
        for rows, columns in SIZES:
            case = formats.case(formats.V2_BINARY, formats.floats(rows, columns))
            case.check()

            def ours(case: formats.Case = case) -> None:
                for array in case.codec.decode(case.body, case.spec).inputs.values():
                    array.copy()
                b"".join(case.codec.encode(case.response).chunks)

            def copy(case: formats.Case = case) -> None:
                case.decode()
                case.encode()

            pair = self._pair(ours, copy)
            line(f"{rows}×{columns} floats", pair, len(case.body) + len(case.answer), rows)
            if rows == 1:
                print(f"  a request's fixed cost is {pair.ours:.1f} µs, of which a copy's {pair.reference:.1f}")
            else:
                self.targets.append((f"binary in and out of {rows}×{columns} floats", BINARY_TARGET, pair.speed))

    def through_a_server(self, model: Path) -> None:
        """The whole way through a server."""
        version = max((each for each in model.iterdir() if each.name.isdigit()), key=lambda each: int(each.name))
        card = orjson.loads((version / "assets.extra" / "heads.json").read_bytes())
        call = server.InProcess(version)
        arrays = call.inputs(card["example"], formats.ROWS)
        request = server.request(model.name, arrays)
        with server.running(model) as port:
            connection = server.Connection(port)
            head, body = connection.ask(request)
            server.check(server.outputs(head, body), call(arrays))
            microseconds(lambda: connection.ask(request), 50)
            pair = by_turns(lambda: connection.ask(request), lambda: call(arrays), self.rounds, 10 * self.sample_s)
            connection.close()
            header(f"{model.name}, all outputs, 512 rows", "call")
            line("one connection", pair, len(request) + len(head) + len(body))
            rates, alone = [], []
            for _ in range(5):
                rates.append(server.rows_per_second(port, request, formats.ROWS, CONNECTIONS, 1))
                alone.append(1e6 * formats.ROWS / microseconds(lambda: call(arrays), 50))
            shared = Pair([1e6 * formats.ROWS / rate for rate in rates], [1e6 * formats.ROWS / rate for rate in alone])
            line(f"{CONNECTIONS} connections, a call at a time", shared, len(request) + len(head) + len(body))
        self.targets.append(("512 rows over /v2 binary against the call in this process", SERVER_TARGET, pair.speed))
        self.targets.append((f"the same, {CONNECTIONS} connections", SERVER_TARGET, shared.speed))

    def _pair(self, ours: Work, reference: Work) -> Pair:
        return by_turns(ours, reference, self.rounds, self.sample_s)


def header(what: str, reference: str) -> None:
    """The head of a table."""
    print(f"\n{what:<38} {'rows/s':>10} {'MB/s':>7} {'µs':>7} {reference:>7} {'ratio':>6}  range")


def line(what: str, pair: Pair, size: int, rows: int = formats.ROWS) -> None:
    """A line of a table; the size is that of a request, an answer or both, in bytes."""
    speed = f"{rows * 1e6 / pair.ours:>10,.0f} {size / pair.ours:>7,.0f}"
    print(f"{what:<38} {speed} {pair.ours:>7,.0f} {pair.reference:>7,.0f} {pair}", flush=True)


if __name__ == "__main__":
    main()
