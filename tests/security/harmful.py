"""SavedModels that only compute, and harm the process that loads or runs them. The scan finds one of them, `recursion`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.half_plus import save
from tests.security.hostile import edit, graph

Export = Callable[[Path], None]


def endless_init(folder: Path) -> None:
    """Loading never ends."""
    graph(folder, lambda x: _endless().op, main_op=True)


def endless_run(folder: Path) -> None:
    """A run never ends."""
    graph(folder, lambda x: _endless().op)


def waits_for_a_queue(folder: Path) -> None:
    """A run waits for an element of a queue into which nothing is put; it takes no processor time."""
    import tensorflow as tf

    graph(folder, lambda x: tf.queue.FIFOQueue(1, [tf.float32], shapes=[[]], name="empty").dequeue(name="waiting").op)


def memory_bomb(folder: Path) -> None:
    """A run fills 256 GB in steps of 1 GB, all of which stay in use until the last one."""
    import tensorflow as tf

    _added(folder, lambda x: tf.reduce_sum(tf.concat([tf.fill([256 * 2**20], x[0] + float(i)) for i in range(256)], 0)))


def one_large_tensor(folder: Path) -> None:
    """A run makes one tensor of 1 TB."""
    import tensorflow as tf

    _added(folder, lambda x: tf.reduce_sum(tf.fill([2**38], x[0])))


def recursion(folder: Path) -> None:
    """A function of the graph calls itself: the stack overflows while TensorFlow inlines it."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)], autograph=False)
    def step(x: Any) -> Any:
        return x + 1.0

    function = step.get_concrete_function()
    graph(folder, lambda x: tf.raw_ops.StatefulPartitionedCall(args=[x], Tout=[tf.float32], f=function)[0].op)

    def call_itself(model: Any) -> None:
        (meta_graph,) = model.meta_graphs
        (function,) = meta_graph.graph_def.library.function
        (caller,) = (node for node in meta_graph.graph_def.node if node.op == "StatefulPartitionedCall")
        again = function.node_def.add()
        again.CopyFrom(caller)
        again.name = "again"
        again.input[:] = [function.signature.input_arg[0].name]
        function.ret[function.signature.output_arg[0].name] = "again:output:0"

    edit(folder, call_itself)


def _added(folder: Path, value: Callable[[Any], Any]) -> None:
    """Export a model y = 2 x + `value(x)`: TensorFlow leaves out computations that no output needs."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        weight = v1.get_variable("weight", initializer=2.0)
        y = tf.add(x * weight, value(x), name="y")
        session.run(v1.global_variables_initializer())
        save(session, folder, {"serving_default": ("predict", {"x": x}, {"y": y})})


def _endless() -> Any:
    import tensorflow as tf

    (i,) = tf.while_loop(lambda i: i < 2**62, lambda i: (i + 1,), (tf.constant(0, tf.int64),), name="endless")
    return tf.identity(i)
