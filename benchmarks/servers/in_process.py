"""A bare process: loads the model, calls its `predict` signature, and prints JSON of times, memory and its answers.

    PYTHONPATH=benchmarks BENCH_MODEL=… BENCH_STARTED=… python benchmarks/servers/in_process.py ONE MANY

ONE and MANY are files with request bodies, BENCH_STARTED is `time.monotonic()` before the process was started.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from saved_model import SavedModel
from serving.memory import memory_mb

model = SavedModel()
ready_s = time.monotonic() - float(os.environ["BENCH_STARTED"])


def both_ways(body: bytes) -> bytes:
    """From JSON to JSON, with all outputs, as fast as Python can."""
    rows = orjson.loads(body)["instances"]
    arrays = model.arrays({name: [row[name] for row in rows] for name in rows[0]})
    plain = {name: array.tolist() if array.dtype == object else array for name, array in arrays.items()}
    return orjson.dumps({"predictions": plain}, option=orjson.OPT_SERIALIZE_NUMPY)


def p50_ms(work: Callable[[], object], times: int) -> float:
    """The median."""
    taken = []
    for _ in range(times):
        start_s = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start_s))
    return statistics.median(taken)


def main() -> None:
    """Measures and prints."""
    one, many = (Path(path).read_bytes() for path in sys.argv[1:])
    row = orjson.loads(one)["instances"][0]
    columns = {name: [value] for name, value in row.items()}
    answers = {"one": orjson.loads(both_ways(one))}
    resident_mb = memory_mb([os.getpid()])
    answers["many"] = orjson.loads(both_ways(many))
    found = {
        "ready_s": ready_s,
        "memory_mb": resident_mb,
        "one_ms": p50_ms(lambda: model.arrays(columns), 500),
        "many_ms": p50_ms(lambda: both_ways(many), 50),
        "answers": answers,
    }
    print(json.dumps(found))


main()
