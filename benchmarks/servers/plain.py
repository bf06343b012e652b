"""What one writes without a model server: a FastAPI route that calls the signature of a SavedModel."""

import os
from typing import Any

import tensorflow as tf
from fastapi import FastAPI
from pydantic import BaseModel

loaded = tf.saved_model.load(os.environ["BENCH_MODEL"])
signature = loaded.signatures["predict"]
specs = signature.structured_input_signature[1]
app = FastAPI()


class Body(BaseModel):
    """Rows, each an object with every input."""

    instances: list[dict[str, Any]]


def _json(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else [_json(item) for item in value] if isinstance(value, list) else value


@app.post("/predict")
def predict(body: Body) -> dict[str, Any]:
    """All outputs, in FastAPI's thread pool."""
    inputs = {name: tf.constant([row[name] for row in body.instances], spec.dtype) for name, spec in specs.items()}
    return {"predictions": {name: _json(tensor.numpy().tolist()) for name, tensor in signature(**inputs).items()}}
