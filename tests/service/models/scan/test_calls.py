"""Calls of functions: refused if they lead back to the caller, or are too deep or too many for TensorFlow."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.models.scan.calls import MAX_DEPTH
from tests.service.models.scan.test_rules import found, graph

SIGNATURE = "signature { name: '%s' input_arg { name: 'x' type: DT_FLOAT } output_arg { name: 'y' type: DT_FLOAT } }"
TYPES = "".join(f"attr {{ key: '{key}' value {{ list {{ type: DT_FLOAT }} }} }}" for key in ("Tin", "Tout"))
LOAD = """
import sys
from google.protobuf import text_format
import tensorflow as tf
graph = text_format.Parse(sys.stdin.read(), tf.compat.v1.GraphDef())
with tf.Graph().as_default():
    tf.graph_util.import_graph_def(graph, name="")
"""


def node(name: str, op: str, function: str = "", key: str = "f") -> str:
    named = f"attr {{ key: '{key}' value {{ func {{ name: '{function}' }} }} }} {TYPES}" if function else ""
    return f"name: '{name}' op: '{op}' input: 'x' {named}"


def call(function: str, name: str = "call") -> str:
    return node(name, "PartitionedCall", function)


def function(name: str, *nodes: str, interface: str = "") -> str:
    body = " ".join(f"node_def {{ {node} }}" for node in nodes)
    attribute = f"attr {{ key: 'api_implements' value {{ s: '{interface}' }} }}" if interface else ""
    return f"function {{ {SIGNATURE % name} {body} ret {{ key: 'y' value: 'call:output:0' }} {attribute} }}"


def gradient(function: str, by: str) -> str:
    return f"gradient {{ function_name: '{function}' gradient_func: '{by}' }}"


LEAF = node("a", "Identity")


@pytest.mark.parametrize(
    ("library", "message"),
    [
        pytest.param(
            [function("f", call("f"))], "the function 'f' calls itself: 'f' calls 'f'", id="PartitionedCall"
        ),
        pytest.param([function("f", node("n", "StatefulPartitionedCall", "f"))], "'f' calls 'f'", id="StatefulPartitionedCall"),
        pytest.param([function("f", node("n", "f"))], "'f' calls 'f'", id="the operation"),
        pytest.param([function("f", node("n", "If", "f", "else_branch"))], "'f' calls 'f'", id="If"),
        pytest.param([function("f", node("n", "While", "f", "cond"))], "'f' calls 'f'", id="While"),
        pytest.param([function("f", node("n", "MapDataset", "f", "any"))], "'f' calls 'f'", id="any attribute"),
        pytest.param(
            [function("f", "name: 'n' op: 'Case' attr { key: 'b' value { list { func { name: 'g' } func { name: 'f' } } } }"),
             function("g", LEAF)],
            "'f' calls 'f'", id="a list",
        ),
        pytest.param(
            [function("f", "name: 'n' op: 'g' attr { key: 'a' value { func { name: 'g' "
                           "attr { key: 'b' value { func { name: 'f' } } } } } }"), function("g", LEAF)],
            "'f' calls 'f'", id="passed to another function",
        ),
        pytest.param(
            [function("f", call("g")), function("g", call("h")), function("h", LEAF, call("g"))],
            "the function 'g' calls itself: 'g' calls 'h' calls 'g'", id="by way of another",
        ),
        pytest.param(
            [function(f"f{i}", call(f"f{(i + 1) % 9}")) for i in range(9)],
            "the function 'f0' calls itself: 'f0' calls 'f1' calls 'f2', 6 more functions calls 'f0'", id="many",
        ),
        pytest.param(
            [function("f", call("g"), interface="i"), function("g", LEAF, interface="i")], "calls itself",
            id="by way of the interface",
        ),
        pytest.param(
            [function("f", LEAF), function("g", node("n", "SymbolicGradient", "f")), gradient("f", "g")],
            "calls itself", id="a gradient that needs itself",
        ),
        pytest.param(
            [function("f", LEAF), function("g", call("g")), gradient("f", "g")], "'g' calls 'g'", id="in a gradient",
        ),
        pytest.param(
            [function("h", LEAF), function("f", call("h")), function("g", node("n", "SymbolicGradient", "f")),
             gradient("h", "g")],
            "calls itself", id="a gradient that needs itself within another",
        ),
    ],
)  # fmt: skip
def test_a_function_that_calls_itself_is_refused(library: list[str], message: str) -> None:
    (refused,) = found(graph("", " ".join(library)))
    assert message in refused


@pytest.mark.parametrize(
    "library",
    [
        pytest.param([function("f", call("g", "a"), call("g", "b")), function("g", LEAF)], id="called twice"),
        pytest.param([function(name, LEAF, interface="i") for name in "fgh"], id="the same interface"),
        pytest.param([function("f", LEAF), function("g", call("f")), gradient("f", "g")], id="a gradient calls its function"),
        pytest.param(
            [function("f", LEAF, interface="i"), function("g", LEAF, interface="i"), function("h", call("f"), call("g", "b"))],
            id="calls of the same interface",
        ),
        pytest.param(
            [
                function("f", LEAF),
                function("g", call("f")),
                gradient("f", "g"),
                function("h", node("n", "SymbolicGradient", "f")),
            ],
            id="a gradient is computed",
        ),
    ],
)
def test_other_calls_are_allowed(library: list[str]) -> None:
    assert found(graph("node { name: 'x' op: 'Placeholder' }", " ".join(library))) == []


def chain(length: int, calls: int = 1) -> str:
    steps = (function(f"f{i}", *(call(f"f{i + 1}", f"call{j}") for j in range(calls))) for i in range(length))
    return " ".join([*steps, function(f"f{length}", LEAF)])


def test_a_long_chain_of_calls_is_refused() -> None:
    """A chain is not followed by recursion: a Python function would end here with a RecursionError."""
    assert found(graph("", chain(MAX_DEPTH - 2))) == []
    (refused,) = found(graph("", chain(10_000)))
    assert refused == f"a chain of calls of functions is longer than {MAX_DEPTH}"


def test_calls_that_multiply_are_refused() -> None:
    """Each function calls the next one twice, so that TensorFlow would visit the last one 2**60 times."""
    assert found(graph("", chain(15, calls=2))) == []
    (refused,) = found(graph("", chain(60, calls=2)))
    assert refused == "the graph has more than 1,000,000 nodes if every call is replaced by the function's nodes"


@pytest.mark.parametrize(
    "library",
    [
        pytest.param([function("f", call("f"))], id="itself"),
        pytest.param([function("f", call("g")), function("g", node("call", "StatefulPartitionedCall", "f"))], id="another"),
    ],
)
def test_tensorflow_crashes_on_a_function_that_calls_itself(library: list[str], tmp_path: Path) -> None:
    model = graph("node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }"
                  f"node {{ {call('f')} }}", " ".join(library))  # fmt: skip
    text = str(model.meta_graphs[0].graph_def)
    child = subprocess.run([sys.executable, "-c", LOAD], input=text, text=True, capture_output=True, cwd=tmp_path, check=False)
    assert child.returncode == -signal.SIGSEGV, child.stderr[-2000:]
    assert "calls itself" in found(model)[0]
