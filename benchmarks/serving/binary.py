"""The Open Inference Protocol in binary: requests of rows, and answers as arrays, without any code of the servers."""

import json
import struct
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]
HEADER = "Inference-Header-Content-Length"
_LENGTH = struct.Struct("<I")
_DTYPES = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "INT32": "<i4", "BOOL": "?"}


def request(rows: Rows) -> tuple[bytes, dict[str, str]]:
    """The body that asks for all outputs, and its headers; texts are BYTES, numbers FP32."""
    entries, chunks = [], []
    for name, value in rows[0].items():
        column = [row[name] for row in rows]
        is_text = isinstance(value, str)
        chunk = b"".join(map(_element, column)) if is_text else np.array(column, "<f4").tobytes()
        datatype = "BYTES" if is_text else "FP32"
        parameters = {"binary_data_size": len(chunk)}
        entries.append({"name": name, "shape": [len(rows)], "datatype": datatype, "parameters": parameters})
        chunks.append(chunk)
    text = json.dumps({"inputs": entries, "parameters": {"binary_data_output": True}}).encode()
    return b"".join([text, *chunks]), {HEADER: str(len(text)), "Content-Type": "application/octet-stream"}


def answer(body: bytes, header_length: int) -> dict[str, Any]:
    """The answer as it would be in JSON."""
    message, position = json.loads(body[:header_length]), header_length
    for entry in message["outputs"]:
        size = entry["parameters"]["binary_data_size"]
        data = body[position : position + size]
        position += size
        entry["data"] = _texts(data) if entry["datatype"] == "BYTES" else np.frombuffer(data, _DTYPES[entry["datatype"]])
    return message


def _element(text: str) -> bytes:
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def _texts(data: bytes) -> list[str]:
    texts, position = [], 0
    while position < len(data):
        start = position + _LENGTH.size
        position = start + _LENGTH.unpack_from(data, position)[0]
        texts.append(data[start:position].decode())
    return texts
