"""The lists of operations cover all that TensorFlow registers."""

from pathlib import Path

import pytest

from service.models.scan.operations import FILES, UNKNOWN, allowed, refused


def registered() -> set[str]:
    import tensorflow as tf
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    assert tf.__version__
    listed = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return {operation.name for operation in listed.op}


def test_every_operation_is_in_one_list() -> None:
    new = registered() - allowed() - refused().keys() - FILES
    # For another version of TensorFlow: find out what each does, and add it to allowed.txt or refused.txt of the scan.
    assert sorted(new) == []


def test_no_operation_is_in_two_lists() -> None:
    assert allowed() & refused().keys() == set()
    assert (allowed() | refused().keys()) & FILES == set()


def test_the_lists_are_sorted() -> None:
    from importlib.resources import files

    lines = [
        line for line in (files("service.models.scan") / "allowed.txt").read_text().splitlines() if not line.startswith("#")
    ]
    assert lines == sorted(set(lines))


def test_the_documentation_has_the_right_counts() -> None:
    page = (Path(__file__).parents[4] / "docs" / "model-security.md").read_text()
    assert f"{len(allowed()):,} operations" in page
    assert f"{len(refused()):,} operations" in page


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("ReadFile", "reads or writes files", id="files"),
        pytest.param("PyFunc", "runs Python", id="python"),
        pytest.param("RpcCall", "communicates with other processes, hosts or devices", id="network"),
        pytest.param("Abort", "ends or changes the process", id="process"),
        pytest.param("XlaCustomCallV2", "runs a program that no scan can read", id="native code"),
        pytest.param("DatasetFromGraph", "runs a program that no scan can read", id="a graph in a tensor"),
    ],
)
def test_a_refused_operation_has_its_reason(name: str, reason: str) -> None:
    assert refused()[name] == reason
    assert UNKNOWN not in refused().values()


@pytest.mark.parametrize("name", ["MatMul", "LookupTableFindV2", "ParseExampleV2", "StringSplitV2", "While", "Assert"])
def test_common_operations_are_allowed(name: str) -> None:
    assert name in allowed()
