"""Single nodes, in the main graph and in functions, also those that nothing reaches."""

import pytest
from google.protobuf import text_format
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from service.models.scan import refusal, scan
from service.models.scan.operations import FILES


def saved_model(text: str):
    """A SavedModel of one MetaGraph, from protobuf's text."""
    return text_format.Parse(f"meta_graphs {{ {text} }}", saved_model_pb2.SavedModel())


def graph(nodes: str, functions: str = ""):
    return saved_model(f"graph_def {{ {nodes} library {{ {functions} }} }}")


def found(model) -> list[str]:
    return list(map(str, scan(model)))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        pytest.param("name: 'n' op: 'ReadFile'", "'ReadFile' at node 'n' reads or writes files", id="ReadFile"),
        pytest.param("name: 'n' op: 'WholeFileReaderV2'", "'WholeFileReaderV2' at node 'n' reads or wr", id="WholeFileReader"),
        pytest.param("name: 'n' op: 'EagerPyFunc'", "'EagerPyFunc' at node 'n' runs Python", id="EagerPyFunc"),
        pytest.param("name: 'n' op: 'MyCustomOp'", "'MyCustomOp' at node 'n' is not an operation that", id="custom"),
        pytest.param("name: 'n' op: 'Vendor>Op'", "'Vendor>Op' at node 'n' is not an operation that", id="a vendor's"),
        pytest.param("name: 'n'", "'' at node 'n' is not an operation", id="none"),
        pytest.param("name: 'n' op: 'Print'", "'Print' at node 'n' prints lines that can look like the server's", id="Print"),
        pytest.param(
            "name: 'n' op: 'PrintV2'", "'PrintV2' at node 'n' prints lines that can look like the server's", id="PrintV2"
        ),
        pytest.param(
            "name: 'n' op: 'Empty' attr { key: 'init' value { placeholder: 'x' } }",
            "'Empty' at node 'n' returns memory with data that others left",
            id="an attribute that the caller gives",
        ),
        pytest.param("name: 'n' op: 'Empty'", "'Empty' at node 'n' returns memory with data that others left", id="Empty"),
        pytest.param(
            "name: 'n' op: 'Empty' attr { key: 'init' value { b: false } }",
            "'Empty' at node 'n' returns memory with data that others left",
            id="Empty as it is by default",
        ),
        pytest.param(
            "name: 'n' op: 'PartitionedCall' attr { key: 'f' value { placeholder: 'f' } }",
            "'PartitionedCall' at node 'n' has an attribute that callers of its function set",
            id="a function that the caller gives",
        ),
        pytest.param(
            "name: 'n' op: 'FixedUnigramCandidateSampler' attr { key: 'vocab_file' value { s: '/etc/passwd' } }",
            "'FixedUnigramCandidateSampler' at node 'n' reads a file",
            id="FixedUnigramCandidateSampler",
        ),
        pytest.param(
            "name: 'n' op: 'DecodeProtoV2' attr { key: 'descriptor_source' value { s: '/etc/passwd' } }",
            "'DecodeProtoV2' at node 'n' reads a file of descriptors",
            id="DecodeProtoV2",
        ),
        pytest.param(
            "name: 'n' op: 'FixedUnigramCandidateSampler' attr { key: 'vocab_file' value { placeholder: 'x' } }",
            "'FixedUnigramCandidateSampler' at node 'n' reads a file",
            id="a file name that the caller gives",
        ),
        pytest.param(
            "name: 'n' op: 'Const' attr { key: 'dtype' value { placeholder: 'x' } }",
            "'Const' at node 'n' makes handles of resources from data",
            id="a type that the caller gives",
        ),
    ],
)
def test_a_node_is_refused(node: str, message: str) -> None:
    assert found(graph(f"node {{ {node} }}"))[0].startswith(message)
    in_function, *_ = found(graph("", f"function {{ signature {{ name: 'f' }} node_def {{ {node} }} }}"))
    assert in_function.startswith(message.partition(" at node")[0])
    assert " at node 'n' of function 'f' " in in_function


HANDLES = {
    "Const": "key: 'dtype' value { type: %s }",
    "ParseTensor": "key: 'out_type' value { type: %s }",
    "DeserializeSparse": "key: 'dtype' value { type: %s }",
    "DeserializeManySparse": "key: 'dtype' value { type: %s }",
    "Restore": "key: 'dt' value { type: %s }",
    "RestoreSlice": "key: 'dt' value { type: %s }",
    "RestoreV2": "key: 'dtypes' value { list { type: DT_FLOAT type: %s } }",
}


@pytest.mark.parametrize("dtype", ["DT_RESOURCE", "DT_VARIANT", "DT_RESOURCE_REF", "DT_VARIANT_REF"])
@pytest.mark.parametrize("op", HANDLES)
def test_no_operation_makes_a_handle_from_data(op: str, dtype: str) -> None:
    """A handle from a constant, a string, a sparse tensor or a checkpoint could be that of another model's resource."""
    message = f"'{op}' at node 'n' makes handles of resources from data"
    assert message in found(graph(f"node {{ name: 'n' op: '{op}' attr {{ {HANDLES[op] % dtype} }} }}"))
    assert message not in found(graph(f"node {{ name: 'n' op: '{op}' attr {{ {HANDLES[op] % 'DT_STRING'} }} }}"))


@pytest.mark.parametrize("op", sorted(FILES))
def test_a_file_operation_is_refused_where_it_is_the_only_node(op: str) -> None:
    assert len(scan(graph(f"node {{ name: 'n' op: '{op}' }}"))) == 1


@pytest.mark.parametrize(
    "node",
    [
        pytest.param("op: 'FixedUnigramCandidateSampler' attr { key: 'vocab_file' value { s: '' } }", id="sampler"),
        pytest.param("op: 'DecodeProtoV2' attr { key: 'descriptor_source' value { s: 'bytes://abc' } }", id="DecodeProtoV2"),
        pytest.param(
            "op: 'DecodeProtoV2' attr { key: 'descriptor_source' value { s: 'local://' } }", id="built-in descriptors"
        ),
        pytest.param("op: 'EncodeProto' attr { key: 'descriptor_source' value { s: '' } }", id="no descriptors"),
        pytest.param("op: 'Assert'", id="Assert"),
        pytest.param("op: 'Empty' attr { key: 'init' value { b: true } }", id="Empty with zeros"),
    ],
)
def test_a_node_is_allowed(node: str) -> None:
    assert found(graph(f"node {{ name: 'n' {node} }}")) == []


def test_a_function_may_be_called_by_its_name() -> None:
    function = "function { signature { name: 'f' } node_def { name: 'a' op: 'Add' } }"
    assert found(graph("node { name: 'n' op: 'f' }", function)) == []


def test_a_function_does_not_make_a_refused_operation_a_call() -> None:
    function = "function { signature { name: 'ReadFile' } }"
    assert found(graph("node { name: 'n' op: 'ReadFile' }", function)) == ["'ReadFile' at node 'n' reads or writes files"]


CALL = "attr { key: 'f' value { %s } }"


@pytest.mark.parametrize(
    ("op", "attr"),
    [
        pytest.param("If", "func { name: 'WriteFile' }", id="a branch"),
        pytest.param("Case", "list { func { name: 'f' } func { name: 'WriteFile' } }", id="one of several"),
        pytest.param("While", "func { name: 'f' attr { key: 'g' value { func { name: 'WriteFile' } } } }", id="passed on"),
        pytest.param("f", "func { name: 'WriteFile' }", id="handed to a function"),
    ],
)
def test_a_missing_function_may_be_an_operation(op: str, attr: str) -> None:
    function = "function { signature { name: 'f' } node_def { name: 'a' op: 'Add' } }"
    (message,) = found(graph(f"node {{ name: 'n' op: '{op}' {CALL % attr} }}", function))
    assert f"'{op}' at node 'n' calls 'WriteFile', which is not a function of the model" in message
    assert found(graph(f"node {{ name: 'n' op: '{op}' {CALL % attr.replace('WriteFile', 'f')} }}", function)) == []


def test_a_function_that_callers_set_is_refused() -> None:
    function = "function { signature { name: 'f' } }"
    passed = CALL % "func { name: 'f' attr { key: 'g' value { placeholder: 'h' } } }"
    (message,) = found(graph(f"node {{ name: 'n' op: 'MapDataset' {passed} }}", function))
    assert "has an attribute that callers of its function set" in message


@pytest.mark.parametrize(
    ("function", "gradient", "messages"),
    [
        pytest.param("f", "g", [], id="a function"),
        pytest.param("f", "WriteFile", ["the gradient of 'f' names 'WriteFile', which is not a fu"], id="an operation"),
        pytest.param("f", "", ["the gradient of 'f' names '', which is not a function"], id="none"),
        pytest.param("Add", "g", ["the gradient of 'Add' names 'Add', which is not a function"], id="of an operation"),
    ],
)
def test_the_functions_of_a_gradient_exist(function: str, gradient: str, messages: list[str]) -> None:
    library = "function { signature { name: 'f' } } function { signature { name: 'g' } }"
    library += f"gradient {{ function_name: '{function}' gradient_func: '{gradient}' }}"
    assert [line[: len(message)] for line, message in zip(found(graph("", library)), messages, strict=True)] == messages


@pytest.mark.parametrize("name", ["Identity", "PartitionedCall", "SaveV2"])
def test_a_function_named_like_an_operation_is_refused(name: str) -> None:
    (message,) = found(graph("", f"function {{ signature {{ name: '{name}' }} }}"))
    assert message == f"a function named '{name}' has the name of an operation"


def test_every_meta_graph_is_scanned() -> None:
    model = graph("node { name: 'a' op: 'Add' }")
    model.meta_graphs.add().graph_def.node.add(name="b", op="PyFunc")
    assert found(model) == ["'PyFunc' at node 'b' runs Python"]


def test_repeated_names_are_refused() -> None:
    nodes = "node { name: 'a' op: 'Add' } node { name: 'a' op: 'Mul' }"
    functions = "function { signature { name: 'f' } } function { signature { name: 'f' } }"
    assert found(graph(nodes, functions)) == [
        "the function name 'f' is used 2 times",
        "the node name 'a' is used 2 times",
    ]


def test_ambiguous_names_in_functions_are_refused() -> None:
    argument = "signature { name: 'f' input_arg { name: 'p' type: DT_STRING } }"
    assert found(graph("", f"function {{ {argument} node_def {{ name: 'p' op: 'Const' }} }}")) == [
        "the node or argument name 'p' of function 'f' is used 2 times"
    ]
    assert found(graph("", f"function {{ {argument} node_def {{ name: 'p:fake:0' op: 'Const' }} }}")) == [
        "the name 'p:fake:0' of function 'f' is a tensor's name, and not a node's"
    ]


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        pytest.param("words.txt", False, id="file"),
        pytest.param("a/words..txt", False, id="folder"),
        pytest.param("../../../etc/passwd", True, id="up"),
        pytest.param("a/../../x", True, id="down and up"),
        pytest.param("/etc/passwd", True, id="absolute"),
        pytest.param("", True, id="empty"),
        pytest.param(".", True, id="the folder"),
        pytest.param("words\\0.txt", True, id="a null character"),
    ],
)
def test_assets_are_in_their_folder(name: str, leaves: bool) -> None:
    assert len(scan(saved_model(f"asset_file_def {{ filename: '{name}' tensor_info {{ name: 'a:0' }} }}"))) == leaves


def test_assets_of_the_first_years_are_in_their_folder() -> None:
    """TensorFlow reads the old collection only if the model has no list of today's format."""
    model = saved_model_pb2.SavedModel()
    packed = model.meta_graphs.add().collection_def["saved_model_assets"].any_list.value.add()
    packed.Pack(meta_graph_pb2.AssetFileDef(filename="../x"))
    assert found(model) == ["an asset has the name '../x', which leaves the folder assets"]
    model.meta_graphs[0].asset_file_def.add(filename="words.txt")
    assert found(model) == []


def test_the_scan_does_not_change_the_model() -> None:
    """Reading a missing entry of a protocol buffer's map would add the entry."""
    model = graph("node { name: 'n' op: 'DecodeProtoV2' }")
    before = model.SerializeToString(deterministic=True)
    scan(model)
    assert model.SerializeToString(deterministic=True) == before


def test_a_name_cannot_break_the_line() -> None:
    (finding,) = scan(graph(r"node { name: 'n\n\x1b[31mlevel=info' op: 'ReadFile' }"))
    assert "\n" not in str(finding)
    assert "\x1b" not in str(finding)
    model = graph("")
    model.meta_graphs[0].graph_def.node.add(name="n" * 10_000, op="Custom")
    assert len(str(scan(model)[0])) < 500


def test_the_refusal_names_three_and_counts_the_rest() -> None:
    nodes = "".join(f"node {{ name: 'n{i}' op: 'ReadFile' }}" for i in range(5))
    message = refusal(scan(graph(nodes)))
    assert [f"'n{i}'" in message for i in range(5)] == [True, True, True, False, False]
    assert "and 2 more" in message
