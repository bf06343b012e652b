"""A bare process: loads the model, calls its `predict` signature, and prints JSON of times in ms and memory in MB."""

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

START_S = time.perf_counter()

import orjson  # noqa: E402
import tensorflow as tf  # noqa: E402

signature = tf.saved_model.load(os.environ["BENCH_MODEL"]).signatures["predict"]
specs = signature.structured_input_signature[1]
ready_s = time.perf_counter() - START_S


def call(rows: list[dict[str, object]]) -> dict[str, object]:
    """All outputs as arrays."""
    inputs = {name: tf.constant([row[name] for row in rows], spec.dtype) for name, spec in specs.items()}
    return {name: tensor.numpy() for name, tensor in signature(**inputs).items()}


def both_ways(body: bytes) -> bytes:
    """The same from JSON to JSON, names of classes among it."""
    outputs = {
        name: array.astype(str) if array.dtype == object else array
        for name, array in call(orjson.loads(body)["instances"]).items()
    }
    lists = {name: array.tolist() if array.dtype.kind == "U" else array for name, array in outputs.items()}
    return orjson.dumps(lists, option=orjson.OPT_SERIALIZE_NUMPY)


def p50_ms(work: Callable[[], object], times: int) -> float:
    """The median."""
    taken = []
    for _ in range(times):
        start_s = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start_s))
    return statistics.median(taken)


bodies = {rows: Path(path).read_bytes() for rows, path in (("one", sys.argv[1]), ("many", sys.argv[2]))}
one, many = (orjson.loads(body)["instances"] for body in bodies.values())
call(one)
memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(
    json.dumps(
        {
            "ready_s": ready_s,
            "memory_mb": memory_mb,
            "one_ms": p50_ms(lambda: call(one), 500),
            "many_ms": p50_ms(lambda: both_ways(bodies["many"]), 50),
        }
    )
)
