"""Features that are found in graphs made by TensorFlow, compared with the specs that these were made from."""

from collections.abc import Callable
from typing import Any

import pytest

from service.runtime.saved_model import features_by_tensor
from service.types import InputSpec

FEATURES = (
    InputSpec("count", "int64", (2,), required=False),
    InputSpec("pixels", "float32", (2, 3), required=True),
    InputSpec("tags", "string", (-1,), required=False),
    InputSpec("title", "string", (), required=True),
    InputSpec("walk", "float32", (-1, 2), required=False),
)


def spec() -> dict[str, Any]:
    """The features, as TensorFlow's users write them."""
    import tensorflow as tf

    return {
        "count": tf.io.FixedLenFeature([2], tf.int64, default_value=[7, 8]),
        "pixels": tf.io.FixedLenFeature([2, 3], tf.float32),
        "tags": tf.io.VarLenFeature(tf.string),
        "title": tf.io.FixedLenFeature([], tf.string),
        "walk": tf.io.FixedLenSequenceFeature([2], tf.float32, allow_missing=True),
    }


def meta_graph(build: Callable[[Any], Any]) -> Any:
    """The MetaGraph that `build` makes from a placeholder of examples."""
    import tensorflow as tf

    with tf.Graph().as_default():
        build(tf.compat.v1.placeholder(tf.string, [None], "examples"))
        return tf.compat.v1.train.export_meta_graph()


def at_once(serialized: Any) -> Any:
    import tensorflow as tf

    return tf.io.parse_example(serialized, spec())


def behind_identities(serialized: Any) -> Any:
    import tensorflow as tf

    return at_once(tf.identity(tf.identity(serialized)))


def one_by_one(serialized: Any) -> Any:
    """The operation of TensorFlow 1."""
    import tensorflow as tf

    return tf.raw_ops.ParseExample(
        serialized=serialized,
        names=[],
        sparse_keys=["tags"],
        dense_keys=["count", "pixels", "title", "walk"],
        dense_defaults=[
            tf.constant([7, 8], tf.int64),
            tf.constant([], tf.float32),
            tf.constant([], tf.string),
            tf.constant([], tf.float32),
        ],
        sparse_types=[tf.string],
        dense_shapes=[[2], [2, 3], [], [None, 2]],
    )


def in_a_function(serialized: Any) -> Any:
    """An export of TensorFlow 2: one function calls another."""
    import tensorflow as tf

    inner = tf.function(lambda examples: at_once(examples)["title"])
    return tf.function(lambda examples: tf.identity(inner(examples)))(serialized)


def with_keys_made_of_it(serialized: Any) -> Any:
    import tensorflow as tf

    return tf.raw_ops.ParseExampleV2(
        serialized=serialized,
        names=[],
        sparse_keys=tf.reshape(serialized[0], [1]),
        dense_keys=["x"],
        ragged_keys=tf.constant([], tf.string),
        dense_defaults=[tf.constant([], tf.float32)],
        num_sparse=1,
        sparse_types=[tf.string],
        ragged_value_types=[],
        ragged_split_types=[],
        dense_shapes=[[]],
    )


def in_two_steps(serialized: Any) -> Any:
    import tensorflow as tf

    features = spec()
    tf.io.parse_example(serialized, {name: features.pop(name) for name in ("tags", "title")})
    tf.io.parse_example(serialized, features)


@pytest.mark.parametrize("build", [at_once, behind_identities, one_by_one, in_a_function, in_two_steps])
def test_features(build):
    found = features_by_tensor(meta_graph(build))
    assert found.keys() == {"examples"}
    assert sorted(found["examples"], key=lambda feature: feature.name) == sorted(FEATURES, key=lambda feature: feature.name)


def test_ragged_features():
    import tensorflow as tf

    ragged = {"words": tf.io.RaggedFeature(tf.string), "ids": tf.io.VarLenFeature(tf.int64)}
    found = features_by_tensor(meta_graph(lambda serialized: tf.io.parse_example(serialized, ragged)))
    assert set(found["examples"]) == {
        InputSpec("words", "string", (-1,), required=False),
        InputSpec("ids", "int64", (-1,), required=False),
    }


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda serialized: serialized + "x", id="nothing is parsed"),
        pytest.param(lambda serialized: at_once(serialized + "x"), id="what is parsed is made of the input"),
        pytest.param(with_keys_made_of_it, id="keys that are not constant"),
    ],
)
def test_graphs_without_known_features(build):
    assert not features_by_tensor(meta_graph(build)).get("examples")


def test_a_graph_that_takes_too_long_to_search_has_no_features():
    """Each of 1,500 calls passes its examples to each of 1,500 parsers. The model is loaded all the same."""
    from tensorflow.core.protobuf import meta_graph_pb2

    graph = meta_graph_pb2.MetaGraphDef()
    function = graph.graph_def.library.function.add()
    function.signature.name = "parse"
    function.signature.input_arg.add(name="examples")
    for i in range(1500):
        function.node_def.add(name=f"p{i}", op="ParseExampleV2", input=["examples", "names", "sparse", "dense", "ragged"])
        graph.graph_def.node.add(name=f"x{i}", op="Placeholder")
        graph.graph_def.node.add(name=f"c{i}", op="parse", input=[f"x{i}"])
    assert features_by_tensor(graph) == {}


def test_a_graph_of_very_many_features_has_no_features():
    """2,000 calls of 1,000 features each, in a file of some kilobytes."""
    from google.protobuf import text_format
    from tensorflow.core.protobuf import meta_graph_pb2

    keys = " ".join(f"string_val: 'k{i}'" for i in range(1000))
    function = f"""function {{ signature {{ name: 'parse' input_arg {{ name: 'examples' }} }}
        node_def {{ name: 'keys' op: 'Const' attr {{ key: 'value' value {{ tensor {{ {keys} }} }} }} }}
        node_def {{ name: 'p' op: 'ParseExampleV2' input: ['examples', 'n', 'keys:output:0', 'keys:output:0', 'keys:output:0']
            attr {{ key: 'sparse_types' value {{ list {{ {"type: DT_INT64 " * 1000} }} }} }}
            attr {{ key: 'dense_shapes' value {{ list {{ }} }} }} }} }}"""

    def features(calls: int) -> dict[str, tuple[InputSpec, ...]]:
        nodes = " ".join(
            f"node {{ name: 'x{i}' op: 'Placeholder' }} node {{ name: 'c{i}' op: 'parse' input: 'x{i}' }}" for i in range(calls)
        )
        text = f"graph_def {{ {nodes} library {{ {function} }} }}"
        return features_by_tensor(text_format.Parse(text, meta_graph_pb2.MetaGraphDef()))

    assert [len(found) for found in features(2).values()] == [1000, 1000]
    assert features(2000) == {}
