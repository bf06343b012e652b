"""Allowed operations write all of their outputs, on empty and degenerate inputs, too.

uninitialized.jsonl has inputs for operations that run on the CPU and need no functions or resources; a search has found most of
them. To search for more, or for an operation of a later TensorFlow, see uninitialized.py.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from service.models.scan import scan
from service.models.scan.operations import allowed, refused
from tests.service.models.scan.test_rules import graph
from tests.service.models.scan.uninitialized import ENVIRONMENT

INPUTS = Path(__file__).with_name("uninitialized.jsonl")
NOT_COMPARED = {
    "AddSparseToTensorsMap": "returns a new number each time",
    "Batch": "returns a new number each time",
    "InplaceAdd": "changes its input",
    "InplaceSub": "changes its input",
    "LearnedUnigramCandidateSampler": "random",
    "LogUniformCandidateSampler": "random",
    "Multinomial": "random",
    "NonDeterministicInts": "random",
    "RandomGamma": "random",
    "RandomPoisson": "random",
    "RandomPoissonV2": "random",
    "RandomShuffle": "random",
    "RandomStandardNormal": "random",
    "RandomUniform": "random",
    "RandomUniformInt": "random",
    "ThreadUnsafeUnigramCandidateSampler": "random",
    "Timestamp": "the time",
    "TruncatedNormal": "random",
    "UniformCandidateSampler": "random",
}
"""Operations whose results differ for another reason."""
KNOWN = {
    "DynamicStitch": "TensorFlow 2.15 only; embeddings of several parts need it",
    "FakeParam": "TensorFlow writes it into branches of If",
    "IRFFT": "audio models need it",
    "IRFFT2D": "audio and image models need it",
    "IRFFT3D": "as IRFFT2D",
    "MaxPool": "only on an input that has not four dimensions, which TensorFlow refuses if it is known before the run",
    "ParallelDynamicStitch": "TensorFlow 2.15 only; embeddings of several parts need it",
    "RFFT": "audio models need it",
    "RFFT2D": "audio and image models need it",
    "RFFT3D": "as RFFT2D",
}
"""Operations that are allowed although they return uninitialized memory; docs/model-security.md names them."""


@cache
def results() -> dict[str, tuple[str | int, list]]:
    """Return for each operation whether its outputs differ, or the signal that it ended with, and the inputs."""
    command = [sys.executable, "-m", "tests.service.models.scan.uninitialized", "replay", str(INPUTS)]
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(Path(__file__).parents[4])}
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return {name: (status, cases) for name, status, cases in map(json.loads, child.stdout.splitlines())}


def is_allowed(name: str, attributes: dict) -> bool:
    """Return whether the scan allows an operation with the attributes of a case that are switches."""
    switches = {key: value for key, value in attributes.items() if isinstance(value, bool)}
    text = " ".join(f"attr {{ key: '{key}' value {{ b: {str(value).lower()} }} }}" for key, value in switches.items())
    return scan(graph(f"node {{ name: 'n' op: '{name}' {text} }}")) == []


def test_the_search_finds_uninitialized_memory() -> None:
    """These operations return it in every version of TensorFlow; without them, the other test would prove nothing."""
    found = {name for name, (status, _) in results().items() if status == "differs"}
    assert {"Empty", "Cholesky", "MatrixSolveLs", "QuantizedMatMul", "SparseSegmentSqrtNGrad", "Svd"} <= found


def test_no_allowed_operation_returns_uninitialized_memory() -> None:
    differing = {name: cases for name, (status, cases) in results().items() if status == "differs"}
    found = {name for name, cases in differing.items() if any(is_allowed(name, attributes) for attributes, _ in cases)}
    # For a new one: refuse it (refused.txt), allow it with some attributes only (rules.py), or add it to a table above.
    assert sorted(found - NOT_COMPARED.keys() - KNOWN.keys()) == []


def test_no_input_ends_the_process() -> None:
    assert {name: status for name, (status, _) in results().items() if isinstance(status, int)} == {}


def test_the_documentation_names_the_exceptions() -> None:
    page = (Path(__file__).parents[4] / "docs" / "model-security.md").read_text()
    assert [name for name in KNOWN if f"`{name}`" not in page] == []
    assert allowed() >= KNOWN.keys() | NOT_COMPARED.keys()
    assert not refused().keys() & KNOWN.keys()
