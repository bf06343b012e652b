import pytest

from service.errors import ModelLoadError
from service.models.card import Card
from service.models.discovery import layout
from service.models.options import HeadOptions
from service.types import SignatureSpec, TensorSpec

X = TensorSpec("x", "float32", (-1, 2))


def signature(*outputs: str, inputs: tuple[TensorSpec, ...] = (X,), width: int = 1) -> SignatureSpec:
    return SignatureSpec(inputs, tuple(TensorSpec(output, "float32", (-1, width)) for output in outputs))


def heads(signatures, tensor_names=None):
    found = layout("m", 1, signatures, None, tensor_names or {})
    return {head.name: list(head.key_names) for head in found.heads}, found


@pytest.mark.parametrize(
    ("signatures", "expected"),
    [
        pytest.param(
            {"predict": signature("b/p", "a/q", "a/p"), "b/predict": signature("p")},
            {"a": ["p", "q"], "b": ["p"]},
            id="outputs of predict",
        ),
        pytest.param({"predict": signature("a/b/p", "c/p")}, {"a/b": ["p"], "c": ["p"]}, id="nested heads"),
        pytest.param({"predict": signature("loss", "a/p")}, {"a": ["p"], "default": ["loss"]}, id="an output of no head"),
        pytest.param(
            {"a/predict": signature("p"), "b/predict": signature("q"), "a/classification": signature("scores")},
            {"a": ["p"], "b": ["q"]},
            id="signatures of heads",
        ),
        pytest.param(
            {"serving_default": signature("p"), "examples:a/predict": signature("q")}, {"default": ["p"]}, id="examples"
        ),
        pytest.param({"serving_default": signature("p"), "other": signature("q")}, {"default": ["p"]}, id="default"),
        pytest.param({"predict": signature("p"), "other": signature("q")}, {"default": ["p"]}, id="predict alone"),
        pytest.param({"only": signature("p")}, {"default": ["p"]}, id="the only signature"),
    ],
)
def test_heads_of_a_model_without_card(signatures, expected):
    assert heads(signatures)[0] == expected


@pytest.mark.parametrize(
    ("default", "tensor_names", "first"),
    [
        pytest.param(None, {}, "a", id="no default: alphabetical"),
        pytest.param(
            signature("scores"),
            {"serving_default": {"scores": "t3:0"}, "predict": {"a/p": "t1:0", "b/p": "t2:0", "c/p": "t3:0", "c/q": "t4:0"}},
            "c",
            id="same tensor",
        ),
        pytest.param(signature("p", "q"), {}, "c", id="only head with the same outputs"),
        pytest.param(signature("p"), {}, "a", id="several heads with the same outputs: alphabetical"),
        pytest.param(signature("p", "q", width=9), {}, "a", id="same names, other shapes: alphabetical"),
    ],
)
def test_the_first_head_is_the_one_that_serving_default_answers(default, tensor_names, first):
    signatures = {"predict": signature("a/p", "b/p", "c/p", "c/q")} | ({"serving_default": default} if default else {})
    assert next(iter(heads(signatures, tensor_names)[0])) == first


def test_inputs_are_those_of_all_heads():
    y = TensorSpec("y", "string", None)
    _, found = heads({"a/predict": signature("p"), "b/predict": signature("p", inputs=(y, X))})
    assert [(spec.name, spec.required) for spec in found.inputs] == [("x", True), ("y", True)]
    assert found.sources == {("a", "p"): ("a/predict", "p"), ("b", "p"): ("b/predict", "p")}


def test_an_example_is_generated():
    inputs = (X, TensorSpec("s", "string", (-1,)), TensorSpec("i", "int64", (-1, -1, 2)), TensorSpec("f", "bool", None))
    _, found = heads({"only": signature("p", inputs=inputs)})
    assert found.example == {"x": [0.0, 0.0], "s": "text", "i": [[0, 0]], "f": False}


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        pytest.param({}, "no signatures", id="none"),
        pytest.param({"a": signature("p"), "b": signature("p")}, "neither 'serving_default' nor 'predict'", id="no heads"),
        pytest.param(
            {"a/predict": signature("p"), "b/predict": signature("p", inputs=(TensorSpec("x", "int64", (-1,)),))},
            "'x' differs between heads",
            id="inputs disagree",
        ),
    ],
)
def test_models_without_usable_signatures(signatures, message):
    with pytest.raises(ModelLoadError, match=message):
        heads(signatures)


def card(**changes) -> Card:
    tensor = {"name": "p", "dtype": "float32", "shape": [-1, 1]}
    head = {"kind": "regression", "logits_dimension": 1, "keys": [tensor]}
    members = {
        "schema_version": 1,
        "name": "m",
        "version": 1,
        "default_head": "b",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 2]}],
        "heads": [head | {"name": "b"}, head | {"name": "a"}],
    }
    return Card.model_validate(members | changes)


def test_the_card_defines_the_order_of_heads():
    found = layout("m", 1, {"predict": signature("a/p", "b/p", "a/more")}, card(), {})
    assert [head.name for head in found.heads] == ["b", "a"]
    assert found.sources == {("b", "p"): ("predict", "b/p"), ("a", "p"): ("predict", "a/p")}


def inputs(**changes):
    return {"inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 2]} | changes]}


@pytest.mark.parametrize(
    ("signatures", "changes", "message"),
    [
        pytest.param({"serving_default": signature("p")}, {}, "needs a signature 'predict'", id="no predict"),
        pytest.param({"predict": signature("b/p")}, {}, "outputs 'a/p' that", id="no such output"),
        pytest.param({"predict": signature("a/p", "b/p")}, inputs(name="z"), "inputs 'z' that", id="no such input"),
        pytest.param({"predict": signature("a/p", "b/p")}, inputs(dtype="int64"), "is int64.*float32", id="other dtype"),
        pytest.param({"predict": signature("a/p", "b/p")}, inputs(shape=[-1]), "float32 .-1,.;", id="other shape"),
        pytest.param(
            {"predict": signature("a/p", "b/p", inputs=(X, TensorSpec("y", "int8", (-1,))))},
            {},
            "has inputs 'y' that the model card does not have",
            id="input not in the card",
        ),
    ],
)
def test_a_card_that_contradicts_the_signatures(signatures, changes, message):
    with pytest.raises(ModelLoadError, match=message):
        layout("m", 1, signatures, card(**changes), {})


OUTPUTS = {"serving_default": signature("sold", "mpaa", width=3), "other": signature("p")}


def of_options(signatures=None, **options):
    heads = {name: HeadOptions(**given) for name, given in options.items()}
    return layout("m", 1, OUTPUTS if signatures is None else signatures, None, {}, heads)


def test_every_output_is_a_head():
    found = of_options()
    assert [(head.name, head.key_names, head.kind) for head in found.heads] == [
        ("mpaa", ("predictions",), "custom"),
        ("sold", ("predictions",), "custom"),
    ]
    assert found.sources["sold", "predictions"] == ("serving_default", "sold")
    assert found.input_names == ("x",)


def test_heads_of_models_toml_keep_their_order():
    classes = ("G", "PG", "R")
    found = of_options(sold={"outputs": "sold"}, mpaa={"outputs": "mpaa", "kind": "multi_class", "classes": classes})
    assert found.default_head == "sold"
    assert [(head.name, head.key_names, head.classes) for head in found.heads] == [
        ("sold", ("predictions",), None),
        ("mpaa", ("probabilities",), classes),
    ]


def test_a_head_of_several_outputs():
    found = of_options(both={"outputs": {"a": "sold", "b": "mpaa"}})
    assert found.sources == {("both", "a"): ("serving_default", "sold"), ("both", "b"): ("serving_default", "mpaa")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"a": {"outputs": "solt"}},
            r"'solt' as output of head 'a', but signature 'serving_default' has .*Did you mean 'sold'",
        ),
        (
            {"a": {"outputs": "mpaa", "kind": "multi_class", "classes": ("G", "PG")}},
            r"2 classes for head 'a', but its probabilities have 3",
        ),
    ],
)
def test_heads_of_models_toml_that_do_not_fit(options, message):
    with pytest.raises(ModelLoadError, match=message):
        of_options(**options)


def test_heads_of_models_toml_beside_a_card():
    with pytest.raises(ModelLoadError, match="remove one of them"):
        layout("m", 1, {"predict": signature("a/p", "b/p")}, card(), {}, {})
