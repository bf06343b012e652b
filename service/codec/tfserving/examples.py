"""The `tf.Example`s of a request."""

from collections.abc import Collection
from typing import Any

import numpy as np

from service.codec.nested import described
from service.codec.tf_example import serialized
from service.errors import InvalidRequestError, NoRowsError
from service.types import Array


def read(message: dict[str, Any], floats: Collection[str] = ()) -> Array:
    """The examples of a request, serialized: bytes `[rows]`.

    Args:
        message: `examples`, a list of objects, and `context`, an object with the features that all of them share, if any.
        floats: features that the model reads as floats.

    Raises:
        InvalidRequestError: of the kind that fits.
    """
    examples = message.get("examples")
    if not isinstance(examples, list):
        came = described(examples) if "examples" in message else "none"
        raise InvalidRequestError(f"'examples': expected a list of objects, but got {came}.")
    if not examples:
        raise NoRowsError("'examples' is empty; give at least one.")
    context = message.get("context", {})
    # Messages behind each other are merged, and what comes last holds: an example overrides the context.
    shared = serialized(context, "'context'", floats) if context != {} else b""
    rows = np.empty(len(examples), np.object_)
    rows[:] = [shared + serialized(example, f"'examples', {i}", floats) for i, example in enumerate(examples)]
    return rows
