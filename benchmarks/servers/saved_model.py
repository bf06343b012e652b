"""The SavedModel as every peer calls it: rows in, all outputs as plain lists out, several requests in one run."""

import os
from typing import Any

import numpy as np
import tensorflow as tf

_DECODE = np.frompyfunc(bytes.decode, 1, 1)

Row = dict[str, Any]
Outputs = dict[str, list[Any]]


class SavedModel:
    """The `predict` signature of the version folder that BENCH_MODEL names."""

    def __init__(self) -> None:
        self._loaded = tf.saved_model.load(os.environ["BENCH_MODEL"])
        self._signature = self._loaded.signatures["predict"]
        self._dtypes = {name: spec.dtype for name, spec in self._signature.structured_input_signature[1].items()}

    def arrays(self, columns: dict[str, Any]) -> dict[str, np.ndarray]:
        """Outputs, `[rows, …]` each, of inputs `[rows]` each; strings are str."""
        inputs = {name: tf.constant(columns[name], dtype) for name, dtype in self._dtypes.items()}
        arrays = {name: tensor.numpy() for name, tensor in self._signature(**inputs).items()}
        return {name: _DECODE(array) if array.dtype == object else array for name, array in arrays.items()}

    def batch(self, requests: list[list[Row]]) -> list[Outputs]:
        """Every request's outputs, from one run on the rows of all."""
        rows = [row for request in requests for row in request]
        arrays = self.arrays({name: [row[name] for row in rows] for name in self._dtypes})
        answers, start = [], 0
        for request in requests:
            end = start + len(request)
            answers.append({name: array[start:end].tolist() for name, array in arrays.items()})
            start = end
        return answers
