import json

import pytest

from service.errors import ModelLoadError
from service.models.card import read_card
from service.types import InputSpec

CARD = {
    "schema_version": 1,
    "name": "m",
    "version": 3,
    "default_head": "a",
    "inputs": [
        {"name": "x", "dtype": "float32", "shape": [-1], "required": True},
        {"name": "y", "dtype": "float32", "shape": [-1, 2], "required": False, "missing": "NaN"},
    ],
    "heads": [
        {
            "name": "a",
            "kind": "regression",
            "logits_dimension": 1,
            "classes": None,
            "keys": [{"name": "predictions", "dtype": "float32", "shape": [-1, 1]}],
            "metrics": {"average_loss": 0.5, "auc": "NaN"},
            "unknown": 1,
        }
    ],
    "unknown": {"of": "a later revision"},
}


def write(folder, text):
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "heads.json").write_text(text)
    return folder


def test_members_of_a_card(tmp_path):
    card = read_card(write(tmp_path, json.dumps(CARD)))
    assert card is not None
    assert card.inputs[1] == InputSpec("y", "float32", (-1, 2), required=False, missing="NaN")
    (head,) = card.head_specs
    assert head.key_names == ("predictions",)
    assert head.metrics == {"average_loss": 0.5, "auc": "NaN"}
    assert head.classes is None


def test_a_version_without_card(tmp_path):
    assert read_card(tmp_path) is None


def changed(**members):
    return json.dumps(CARD | members)


X = {"name": "x", "dtype": "float32", "shape": [-1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "is not a model card", id="broken JSON"),
        pytest.param("[]", "is not a model card", id="no object"),
        pytest.param(changed(schema_version=2), "schema_version 2; this headserve reads 1.*newer headserve", id="newer"),
        pytest.param(changed(heads=[]), "heads: ", id="no heads"),
        pytest.param(changed(inputs=[]), "inputs: ", id="no inputs"),
        pytest.param(changed(default_head="b"), "'default_head' is 'b', but the first head is 'a'", id="other default"),
        pytest.param(changed(inputs=[X | {"required": False}]), "inputs.0: .*'missing'", id="no missing"),
        pytest.param(changed(inputs=[X | {"required": False, "missing": "?"}]), "'missing' is '\\?'", id="missing misfits"),
        pytest.param(
            changed(inputs=[X | {"required": False, "missing": 0, "shape": [-1, -1]}]), "fixed shape", id="size unknown"
        ),
    ],
)
def test_broken_cards(tmp_path, text, message):
    with pytest.raises(ModelLoadError, match=message):
        read_card(write(tmp_path, text))
