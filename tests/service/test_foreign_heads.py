"""Over HTTP: a SavedModel of several outputs, without a model card, whose heads are in `models.toml`."""

import pytest
import tensorflow as tf

from service import Settings, create_app
from tests.waiting import until

OUTPUTS_ARE_HEADS = '[models.shop]\nheads = "outputs"\n'
TABLE = """
[models.shop.heads]
mpaa = { outputs = "output_1", kind = "multi_class", classes = ["G", "PG"] }
sold = { outputs = { logistic = "output_0" }, kind = "binary_class" }
"""


class Shop(tf.Module):
    """Names its outputs as Keras does."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], name="x")])
    def __call__(self, x):
        return {"output_0": tf.sigmoid(x[:, :1]), "output_1": tf.nn.softmax(x)}


@pytest.fixture
def shop(tmp_path):
    model = Shop()
    tf.saved_model.save(model, str(tmp_path / "shop" / "1"), {"serving_default": model.__call__})
    return tmp_path


def predictions(client, **body):
    answer = client.post("/models/shop/predict", json={"instances": [[0, 0]], **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def test_every_output_is_a_head(shop, serving):
    (shop / "models.toml").write_text(OUTPUTS_ARE_HEADS)
    with serving(create_app(Settings(models=shop))) as client:
        assert predictions(client) == {"output_0": {"predictions": [[0.5]]}}
        assert predictions(client, heads=["output_1"]) == {"output_1": {"predictions": [[0.5, 0.5]]}}


def test_a_table_of_heads(shop, serving):
    (shop / "models.toml").write_text(TABLE)
    with serving(create_app(Settings(models=shop))) as client:
        assert predictions(client) == {"mpaa": {"probabilities": [[0.5, 0.5]]}}
        assert predictions(client, heads="*") == {
            "mpaa": {"probabilities": [[0.5, 0.5]]},
            "sold": {"logistic": [[0.5]]},
        }
        heads = {head["name"]: head for head in client.get("/models/shop").json()["heads"]}
        assert (heads["mpaa"]["kind"], heads["mpaa"]["classes"]) == ("multi_class", ["G", "PG"])
        page = client.get("/metrics").text
        assert 'class="G"' in page
        v2 = client.get("/v2/models/shop").json()
        assert [output["name"] for output in v2["outputs"]] == ["mpaa/probabilities", "sold/logistic"]


def test_heads_that_change_while_the_model_is_served(shop, serving):
    with serving(create_app(Settings(models=shop, settle_ms=0, poll_interval_ms=20))) as client:
        assert list(predictions(client)) == ["default"]
        (shop / "models.toml").write_text(TABLE)
        until(lambda: list(predictions(client)) == ["mpaa"])
        (shop / "models.toml").write_text('[models.shop.heads]\nmpaa = { outputs = "nix" }\n')
        until(lambda: "models.toml names 'nix'" in client.get("/models").text)
        assert list(predictions(client)) == ["mpaa"], "the last heads that fit stay"
