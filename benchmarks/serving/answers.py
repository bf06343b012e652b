"""What was asked and what came back, whichever server answered."""

from typing import Any

import numpy as np

Row = dict[str, Any]


def rows(example: Row, count: int) -> list[Row]:
    """The example, and others like it: that all are the same would flatter who caches, and hide who mixes them up."""
    return [{name: _another(value, index) for name, value in example.items()} for index in range(count)]


def _another(value: Any, index: int) -> Any:
    if isinstance(value, str):
        return f"{value} {index}" if index else value
    return value + index % 97 if isinstance(value, int | float) else value


def outputs(answer: Any) -> dict[str, np.ndarray]:
    """Output → array, of headserve's answer, of columns, of BentoML's list of one, or of the Open Inference Protocol."""
    if isinstance(answer, list):
        return outputs(answer[0])
    if "outputs" in answer:
        return {each["name"]: np.reshape(each["data"], each["shape"]) for each in answer["outputs"]}
    predictions = answer["predictions"]
    if not all(isinstance(keys, dict) for keys in predictions.values()):
        return {name: np.asarray(values) for name, values in predictions.items()}
    return {f"{head}/{key}": np.asarray(values) for head, keys in predictions.items() for key, values in keys.items()}


def difference(answer: Any, expected: Any) -> str | None:
    """How the answer differs from the expected one; numbers may in their last digits, which depend on the batch."""
    found, wanted = outputs(answer), outputs(expected)
    if found.keys() != wanted.keys():
        return f"outputs {sorted(found)} instead of {sorted(wanted)}"
    for name, array in wanted.items():
        if found[name].shape != array.shape:
            return f"{name} has shape {found[name].shape} instead of {array.shape}"
        same = np.isclose(found[name], array, 1e-3, 1e-4) if array.dtype.kind == "f" else found[name] == array
        if not np.all(same):
            return f"{name} is {found[name][~same][0]} instead of {array[~same][0]}"
    return None
