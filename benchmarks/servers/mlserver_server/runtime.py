"""MLServer with adaptive batching, as https://docs.seldon.ai/mlserver/user-guide/adaptive-batching advises.

It ships no runtime for TensorFlow, so that this is a custom one; requests are those of the Open Inference Protocol. The model
runs in the server's own process (`parallel_workers` is 0), which is faster here than in a worker.
"""

import numpy as np
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from saved_model import SavedModel

DATATYPES = {"float32": "FP32", "int32": "INT32", "int64": "INT64", "object": "BYTES"}


class Predictor(MLModel):
    """All outputs of the model; MLServer joins the requests of a batch and splits the answer."""

    async def load(self) -> bool:
        """Loads the model."""
        self.model = SavedModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One run for all rows of the batch."""
        arrays = self.model.arrays({tensor.name: list(tensor.data) for tensor in payload.inputs})
        return InferenceResponse(model_name=self.name, outputs=[_output(name, array) for name, array in arrays.items()])


def _output(name: str, array: np.ndarray) -> ResponseOutput:
    """The array on the wire: flat, with its shape."""
    return ResponseOutput(name=name, shape=list(array.shape), datatype=DATATYPES[array.dtype.name], data=array.ravel().tolist())
