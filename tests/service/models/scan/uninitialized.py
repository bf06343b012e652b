"""A program that looks for operations with uninitialized memory in their outputs.

It runs each operation on the same inputs twice: the C library fills all memory that it hands out with one byte, and then with
another one. Outputs that differ contain memory that the operation has not written. Run it with the variables of `ENVIRONMENT`:
memory that the C library keeps for a thread is not filled.

`search TRIES OPERATION...` finds inputs: a change of an input that leads to another error, or to a result, is kept and changed
further. `replay FILE` runs the inputs in a file such as uninitialized.jsonl. Each line of the output is a JSON array: an
operation, `differs`, `same`, `fails`, `unsupported`, or the number of the signal that ended it, and inputs for which it holds.
"""

import ctypes
import json
import os
import random
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
FILLS = (0xAB, 0xCD)
M_PERTURB = -6
SECONDS = 5
KEPT = 3
"""Inputs of each operation that are written."""
HOPELESS = 40
"""Tries after which an operation that always fails with the same message is given up."""
SHAPES = (
    *((), (0,), (1,), (2,), (0, 0), (0, 2), (2, 0), (1, 1), (2, 2), (0, 2, 2), (2, 0, 2), (2, 2, 0), (2, 2, 2)),
    *((2, 2, 2, 0), (1, 0, 2, 2), (0, 2, 2, 2), (1, 2, 2, 1), (1, 2, 2, 2, 0), (1, 0, 2, 2, 2), (1, 2, 2, 2, 1)),
)
RANKS = (None, 4, 5, 2, 1, 3)
"""Dimensions of the inputs of an operation that is searched again because it has ended its process; None: any."""
VALUES = ("zero", "one", "two", "minus one", "count")
TYPES = ("float32", "int32", "string", "int64", "quint8", "complex64", "bool", "qint32", "float64", "uint8")
LISTS = ((1, 1, 1, 1), (1, 2, 2, 1), (1,), (), (1, 1), (1, 1, 1, 1, 1), (0,))
INTEGERS = {"qint8": "int8", "quint8": "uint8", "qint16": "int16", "quint16": "uint16", "qint32": "int32"}


class Case:
    """Attributes and inputs of one call."""

    def __init__(self, definition: Any, attributes: dict[str, Any], inputs: dict[str, list[tuple[Sequence[int], str]]]):
        self.definition, self.attributes, self.inputs = definition, attributes, inputs

    @classmethod
    def made_up(cls, definition: Any, chance: random.Random, rank: int | None = None) -> "Case":
        case = cls(definition, {attr.name: _attribute(attr, chance) for attr in definition.attr}, {})
        shape = chance.choice(_shapes(rank))
        for arg in definition.input_arg:
            size = shape if arg.type_attr else chance.choice(((), (), (), (1,), shape))
            case.inputs[arg.name] = [(size, "zero" if arg.type_attr else chance.choice(VALUES))] * len(case.types(arg))
        return case

    @classmethod
    def from_json(cls, definition: Any, attributes: dict[str, Any], inputs: dict[str, Any]) -> "Case":
        strings = {attr.name for attr in definition.attr if attr.type in {"string", "list(string)"}}
        known = {attr.name for attr in definition.attr}
        return cls(definition, {n: _bytes(v) if n in strings else v for n, v in attributes.items() if n in known}, inputs)

    def json(self) -> list[Any]:
        return json.loads(json.dumps([self.attributes, self.inputs], default=lambda value: value.decode()))

    def types(self, arg: Any) -> list[Any]:
        """Return the dtype of each tensor of an argument."""
        if arg.type_list_attr:
            return list(self.attributes[arg.type_list_attr])
        dtype = self.attributes[arg.type_attr] if arg.type_attr else arg.type
        return [dtype] * (self.attributes[arg.number_attr] if arg.number_attr else 1)

    def changed(self, chance: random.Random, rank: int | None) -> "Case":
        """Return a copy with an attribute, or one or two inputs changed."""
        new = Case.made_up(self.definition, chance).attributes
        change = chance.choice([*new, *(name for name in self.inputs for _ in range(3))] or [""])
        case = Case(self.definition, {name: new[name] if name == change else old for name, old in self.attributes.items()}, {})
        for arg in self.definition.input_arg:
            old, count = self.inputs[arg.name], len(case.types(arg))
            case.inputs[arg.name] = [old[i] if i < len(old) else _input(chance) for i in range(count)]
            if arg.name == change or (change in self.inputs and chance.random() < 0.2):
                case.inputs[arg.name] = [_input(chance, rank if arg.type_attr else None) for _ in range(count)]
        return case

    def tensors(self) -> list[Any]:
        """Return the inputs as TensorFlow takes them: a tensor, or a list of them, for each argument."""
        found = []
        for arg in self.definition.input_arg:
            made = [_tensor(dtype, tuple(shape), value)
                    for dtype, (shape, value) in zip(self.types(arg), self.inputs[arg.name], strict=True)]  # fmt: skip
            found.append(made if arg.number_attr or arg.type_list_attr else made[0])
        return [tensor for item in found for tensor in (item if isinstance(item, list) else [item])]

    def outputs(self) -> int:
        count = 0
        for arg in self.definition.output_arg:
            count += len(self.types(arg))
        return count

    @property
    def degenerate(self) -> bool:
        return any(0 in shape for inputs in self.inputs.values() for shape, _ in inputs)


def _input(chance: random.Random, rank: int | None = None) -> tuple[tuple[int, ...], str]:
    return chance.choice(_shapes(rank)), chance.choice(VALUES)


@cache
def _shapes(rank: int | None) -> list[tuple[int, ...]]:
    return [shape for shape in SHAPES if rank is None or len(shape) == rank]


def _attribute(attr: Any, chance: random.Random) -> Any:
    if attr.HasField("default_value") and chance.random() < 0.7:
        return _default(attr)
    allowed = attr.allowed_values.list
    low = attr.minimum if attr.has_minimum else 0
    types = [_dtype(name) for name in TYPES if not allowed.type or _dtype(name) in allowed.type] or [*allowed.type]
    make: dict[str, Callable[[], Any]] = {
        "type": lambda: chance.choice(types),
        "list(type)": lambda: [chance.choice(types[:4])] * max(low, 1),
        "string": lambda: chance.choice(list(allowed.s) or [b""]),
        "int": lambda: max(low, chance.choice((0, 1, 2))),
        "bool": lambda: chance.choice((False, True)),
        "float": lambda: chance.choice((0.0, 1.0)),
        "shape": lambda: chance.choice(SHAPES),
        "list(int)": lambda: chance.choice(LISTS),
        "list(float)": lambda: [1.0] * low,
        "list(shape)": lambda: [chance.choice(SHAPES)],
        "list(string)": lambda: [b"a"] * low,
        "list(bool)": lambda: [False],
    }
    return make[attr.type]()


def _dtype(name: str) -> int:
    import tensorflow as tf

    return int(tf.dtypes.as_dtype(name).as_datatype_enum)


def _default(attr: Any) -> Any:
    value = attr.default_value
    kind = value.WhichOneof("value")
    if kind == "list":
        items = next((list(items) for _, items in value.list.ListFields()), [])
        return [_shape(item) for item in items] if attr.type == "list(shape)" else items
    return _shape(value.shape) if kind == "shape" else getattr(value, kind)


def _shape(shape: Any) -> list[int] | None:
    return None if shape.unknown_rank else [dim.size for dim in shape.dim]


def _bytes(value: Any) -> Any:
    return [_bytes(item) for item in value] if isinstance(value, list) else value.encode()


@cache
def _tensor(dtype: int, shape: tuple[int, ...], value: str) -> Any:
    import numpy as np
    import tensorflow as tf

    kind = tf.dtypes.as_dtype(dtype)
    size = int(np.prod(shape))
    numbers = np.arange(size) % 3 if value == "count" else np.full(size, -1 if value == "minus one" else VALUES.index(value))
    if kind == tf.string:
        return tf.constant([b"", b"a", b"1 2", b"x"][numbers[0] if size else 0], shape=shape)
    integers = tf.constant(numbers.reshape(shape), tf.int32)
    return tf.bitcast(tf.cast(integers, INTEGERS[kind.name]), kind) if kind.is_quantized else tf.cast(integers, kind)


def _context() -> Any:
    from tensorflow.python.eager import context

    context.ensure_initialized()
    return context.context()


def _run(case: Case, inputs: Sequence[Any], fill: int) -> list[bytes]:
    """Return the bytes of each output, computed with memory that is full of one byte."""
    import tensorflow as tf
    from tensorflow.python.eager import execute

    attributes = [part for item in case.attributes.items() for part in item]
    _context().clear_kernel_cache()  # some kernels make their output when they are created
    ctypes.CDLL(None).mallopt(M_PERTURB, fill)
    try:
        results = execute.execute(case.definition.name, case.outputs(), inputs, tuple(attributes), _context())
    finally:
        ctypes.CDLL(None).mallopt(M_PERTURB, 0)
    dense = [result.numpy() for result in results or () if result.dtype not in {tf.resource, tf.variant}]
    return [
        (repr(array.tolist()).encode() if array.size else b"") if array.dtype == object else array.tobytes()
        for array in map(_array, dense)
    ]


def _array(value: Any) -> Any:
    import numpy as np

    return np.asarray(value, object) if isinstance(value, bytes) else np.asarray(value)


def _differs(case: Case, note: Callable[[Case], None]) -> tuple[bool, list[int]]:
    """Return whether the outputs depend on the memory, and their sizes in bytes. Raises whatever TensorFlow raises."""
    note(case)
    inputs = case.tensors()
    signal.alarm(SECONDS)
    first = _run(case, inputs, FILLS[0])
    return first != _run(case, inputs, FILLS[1]), list(map(len, first))


def search(definition: Any, tries: int, note: Callable[[Case], None], crashes: int = 0) -> list[Any]:
    """Return the operation, how it behaves, and inputs with which it does."""
    if not _is_supported(definition):
        return [definition.name, "unsupported", []]
    chance = random.Random(f"{definition.name}{crashes}")
    outcomes: set[str] = set()
    kept: list[Case] = []
    good: list[Case] = []
    for number in range(tries):
        if number > HOPELESS and len(outcomes) == 1 and not good:
            break
        is_new = not kept or number % 5 == 0
        origin = None if is_new else kept[-1 - min(int(chance.expovariate(0.5)), len(kept) - 1)]
        case = Case.made_up(definition, chance, RANKS[crashes]) if origin is None else origin.changed(chance, RANKS[crashes])
        try:
            differs, sizes = _differs(case, note)
            if differs:
                return [definition.name, "differs", [case.json()]]
            outcome = f"{sizes} {case.degenerate}"
            if any(sizes) and outcome not in outcomes:
                good.append(case)
        except Exception as error:
            outcome = re.sub(r"\d+", "0", f"{type(error).__name__} {error}"[:300])
        if outcome not in outcomes:
            outcomes.add(outcome)
            kept.append(case)
    good = sorted(good, key=lambda case: not case.degenerate)[:KEPT]
    return [definition.name, "same" if good else "fails", [case.json() for case in good] or sorted(outcomes)[:1]]


def replay(definition: Any, cases: Iterable[Any], note: Callable[[Case], None]) -> list[Any]:
    """Return the operation, `differs` if it does for one of the inputs, and these inputs."""
    found = []
    for attributes, inputs in cases:
        case = Case.from_json(definition, attributes, inputs)
        try:
            if _differs(case, note)[0]:
                found.append(case.json())
        except Exception:  # of TensorFlow, which may refuse the inputs in another version
            continue
    return [definition.name, "differs" if found else "same", found]


def _is_supported(definition: Any) -> bool:
    """Return whether all inputs and attributes can be made: no functions, variables and other resources."""
    import tensorflow as tf

    handles = {tf.resource.as_datatype_enum, tf.variant.as_datatype_enum}
    args = [*definition.input_arg, *definition.output_arg]
    attributes = any(attr.type in {"func", "list(func)", "tensor", "list(attr)"} for attr in definition.attr)
    return (
        not attributes and not any(arg.is_ref for arg in args) and not any(arg.type in handles for arg in definition.input_arg)
    )


def _definition(name: str) -> Any:
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(name)


Job = Callable[[Callable[[Case], None], int], list[Any]]
"""Returns a line of the output. Arguments: called with each case before it is run; how often the job has ended its process."""


def run(jobs: dict[str, Job], attempts: int) -> Iterator[list[Any]]:
    """Run the job of each operation; one that ends its process is repeated in a new one, up to this number of attempts."""
    import tensorflow as tf

    noted = os.memfd_create("inputs")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    def note(case: Case) -> None:
        os.truncate(noted, 0)
        os.pwrite(noted, json.dumps(case.json()).encode(), 0)

    waiting, crashes = list(jobs), 0
    while waiting:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            for i, name in enumerate(waiting):
                os.write(writing, f"{json.dumps(jobs[name](note, 0 if i else crashes))}\n".encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as lines:
            for line in lines:
                yield json.loads(line)
                waiting, crashes = waiting[1:], 0
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            crashes += 1
            yield [waiting[0], status, [json.loads(os.pread(noted, 2**20, 0) or b"null")]]
            if crashes == attempts:
                waiting, crashes = waiting[1:], 0


def searches(names: Iterable[str], tries: int) -> dict[str, Job]:
    """Return the jobs that search inputs of the operations; those that this TensorFlow does not have are left out."""
    found = {name: _definition(name) for name in names}
    return {name: partial(_searched, it, tries) for name, it in found.items() if it is not None}


def replays(entries: Iterable[tuple[str, list[Any]]]) -> dict[str, Job]:
    """Return the jobs that run the inputs of the operations; those that this TensorFlow does not have are left out."""
    found = {name: (_definition(name), cases) for name, cases in entries}
    return {name: partial(_replayed, it, cases) for name, (it, cases) in found.items() if it is not None}


def _searched(definition: Any, tries: int, note: Callable[[Case], None], crashes: int) -> list[Any]:
    return search(definition, tries, note, crashes)


def _replayed(definition: Any, cases: list[Any], note: Callable[[Case], None], _: int) -> list[Any]:
    return replay(definition, cases, note)


def main(command: str, *arguments: str) -> None:
    if command == "search":
        results = run(searches(arguments[1:], int(arguments[0])), len(RANKS))
    else:
        results = run(replays(map(json.loads, Path(arguments[0]).read_text().splitlines())), 1)
    for result in results:
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
