"""Names of a megabyte, wherever a request has names: the answer is short, and says what is wrong."""

from typing import Any

import httpx
import pytest

GIANT = "ab" * 500_000
ROW = {"title": "Heat", "year": 1995}
NATIVE, V1, V2 = "/models/films/predict", "/v1/models/films:predict", "/v2/models/films/infer"
TITLE = {"name": "title", "datatype": "BYTES", "shape": [1], "data": ["Heat"]}
YEAR = {"name": "year", "datatype": "INT64", "shape": [1], "data": [1995]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(NATIVE, {GIANT: 1}, id="native, a member"),
        pytest.param(NATIVE, {"instances": [ROW | {GIANT: 1}]}, id="native, an input of a row"),
        pytest.param(NATIVE, {"inputs": {GIANT: [1]}}, id="native, a column"),
        pytest.param(NATIVE, {"instances": [ROW], "heads": [GIANT]}, id="native, a head"),
        pytest.param(NATIVE, {"instances": [ROW], "heads": [GIANT] * 2}, id="native, a head twice"),
        pytest.param(NATIVE, {"instances": [ROW], "keys": [GIANT]}, id="native, a key"),
        pytest.param(NATIVE, {"instances": [ROW], "keys": ["logits", GIANT]}, id="native, a key among others"),
        pytest.param(NATIVE, {"instances": [ROW | {"year": GIANT}]}, id="native, a value"),
        pytest.param(NATIVE, {"instances": [ROW | {"year": {GIANT: 1}}]}, id="native, an object for a value"),
        pytest.param(NATIVE, {"instances": [ROW | {"title": {"b64": GIANT + "!"}}]}, id="native, broken base64"),
        pytest.param(V1, {"signature_name": GIANT, "instances": [ROW]}, id="v1, a signature"),
        pytest.param(V1, {"instances": [ROW | {GIANT: 1}]}, id="v1, an input of a row"),
        pytest.param(V1, {"inputs": {GIANT: [1]}}, id="v1, a column"),
        pytest.param(V1, {"instances": [ROW], "output_filter": [GIANT]}, id="v1, an output"),
        pytest.param(V1, {"instances": [ROW | {"year": GIANT}]}, id="v1, a value"),
        pytest.param(V1, {"instances": [ROW | {"year": {GIANT: 1}}]}, id="v1, an object for a value"),
        pytest.param(V2, {"inputs": [TITLE, YEAR | {"name": GIANT}]}, id="v2, an input"),
        pytest.param(V2, {"inputs": [TITLE, YEAR | {"datatype": GIANT}]}, id="v2, a datatype"),
        pytest.param(V2, {"inputs": [TITLE, YEAR | {"data": [GIANT]}]}, id="v2, a value"),
        pytest.param(
            V2, {"inputs": [TITLE, YEAR | {"parameters": {GIANT: [1]}}, YEAR]}, id="v2, a parameter, and an input twice"
        ),
        pytest.param(V2, {"inputs": [TITLE, YEAR], "outputs": [{"name": GIANT}]}, id="v2, an output"),
        pytest.param(V2, {"inputs": [TITLE, YEAR], "parameters": {"heads": [GIANT]}}, id="v2, a head"),
        pytest.param(V2, {"inputs": [TITLE, YEAR], "parameters": {"heads": {GIANT: 1}}}, id="v2, an object for a head"),
    ],
)
def test_the_answer_is_short(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = client.post(path, json=body)
    assert 400 <= answer.status_code < 500
    assert len(answer.content) < 2000
    assert GIANT[:300] not in answer.text
