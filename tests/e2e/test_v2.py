"""Triton's client against the server as a process, on the films that our training exported."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tritonclient import http

from tests.e2e.conftest import REPOSITORY, Server
from tests.e2e.test_serve import FILMS, in_process

pytestmark = pytest.mark.e2e


@pytest.fixture
def address(server: Server) -> str:
    return f"{server.client.base_url.host}:{server.client.base_url.port}"


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_all_outputs_are_those_of_the_saved_model(address: str, models: Path, binary: bool) -> None:
    columns = {key: [film.get(key) for film in FILMS] for key in FILMS[0]}
    tensors = []
    for name, values in columns.items():
        kind, dtype = ("BYTES", object) if name == "title" else ("FP32", np.float32)
        tensor = http.InferInput(name, [len(FILMS)], kind)
        tensor.set_data_from_numpy(np.array(values, dtype), binary_data=binary)
        tensors.append(tensor)
    with http.InferenceServerClient(address) as client:
        names = [output["name"] for output in client.get_model_metadata("movies")["outputs"]]
        wanted = [http.InferRequestedOutput(name, binary_data=binary) for name in names]
        answer = client.infer("movies", tensors, outputs=wanted)
    expected = in_process(models, "movies")
    assert set(names) == set(expected)
    for name, value in expected.items():
        if value.dtype == object and not binary:
            value = np.array([[text.decode() for text in row] for row in value], object)  # noqa: PLW2901
        np.testing.assert_array_equal(answer.as_numpy(name), value, err_msg=name)


def test_the_example(address: str) -> None:
    run = [sys.executable, REPOSITORY / "examples/tritonclient_infer.py", address]
    shown = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("ready: True\noutputs: genres/logits")
    assert "heads and keys: {'mpaa/probabilities': [3, 5], 'popular/probabilities': [3, 2]}" in shown
