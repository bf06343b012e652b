"""Times our heads against tf.estimator's on the same network, weights and numbers, in one process, by turns.

    .venv/bin/python benchmarks/heads.py

The network is small, 16 → 32 → logits, so that the heads are most of the work. A batch lies in variables of the graph
(constants would be folded away), and a step reads them: there is no input pipeline. Before anything is timed both sides must
give the same losses, trained weights and metrics. A ratio is the median over rounds, in each of which both sides are measured
one after the other. All runs on one thread, and processor time is counted, so that other work on the machine changes little.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.pop(0)  # This folder, where `heads` would be this file.

import numpy as np
import tensorflow as tf

import heads

tf.get_logger().setLevel("ERROR")
v1 = tf.compat.v1

TRAIN, EVAL = tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.EVAL
LIBRARIES: tuple[ModuleType, ModuleType] = (heads, tf.estimator)
BATCH_SIZES = (128, 4096)
INPUTS, HIDDEN = 16, 32
EVALUATED_BATCHES = 100
ONE_THREAD = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
GENRES = ["drama", "comedy", "horror", "western", "musical"]


def make_heads(library: ModuleType) -> list[Any]:
    """The four heads, of ours or of tf.estimator."""
    return [
        library.MultiLabelHead(7, thresholds=[0.3, 0.5, 0.7], name="tags"),
        library.MultiClassHead(5, label_vocabulary=GENRES, name="genre"),
        library.RegressionHead(name="rating"),
        library.BinaryClassHead(name="seen"),
    ]


class Data(NamedTuple):
    """A random batch: inputs of the network, its logits for where there is none, and labels by head."""

    inputs: np.ndarray
    logits: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


def random_batch(size: int) -> Data:
    """`size` rows, the same whenever it is called."""
    rng = np.random.default_rng(size)
    widths = {"tags": 7, "genre": 5, "rating": 1, "seen": 1}
    labels = {
        "tags": rng.integers(0, 2, (size, 7)),
        "genre": np.array(GENRES)[rng.integers(0, 5, (size, 1))],
        "rating": rng.normal(size=(size, 1)).astype(np.float32),
        "seen": rng.integers(0, 2, (size, 1)),
    }
    logits = {name: rng.normal(size=(size, width)).astype(np.float32) for name, width in widths.items()}
    return Data(rng.normal(size=(size, INPUTS)).astype(np.float32), logits, labels)


def network(inputs: tf.Tensor, width: int) -> tuple[tf.Tensor, list[tf.Variable]]:
    """Logits and the variables that make them, which start from the same numbers whenever it is called."""

    def variable(seed: int, *shape: int) -> tf.Variable:
        return tf.Variable(np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 0.3)

    weights = [variable(1, INPUTS, HIDDEN), variable(2, HIDDEN), variable(3, HIDDEN, width), variable(4, width)]
    hidden = tf.nn.relu(inputs @ weights[0] + weights[1])
    return hidden @ weights[2] + weights[3], weights


def make_spec(library: ModuleType, mode: str, inputs: tf.Tensor, labels: Any) -> Any:
    """The `EstimatorSpec` of the heads on the network."""
    head = library.MultiHead(make_heads(library))
    logits, variables = network(inputs, head.logits_dimension)
    optimizer = tf.keras.optimizers.legacy.SGD(0.01) if mode == TRAIN else None
    if optimizer and library is not heads:
        optimizer.iterations = v1.train.get_or_create_global_step()  # Ours does it itself.
    return head.create_estimator_spec({"x": inputs}, mode, logits, labels, optimizer, variables)


class Graph:
    """The graph of a spec with its batch in it, and a session that runs a step of it."""

    def __init__(self, library: ModuleType, mode: str, data: Data) -> None:
        with tf.Graph().as_default() as self.graph:
            inputs, labels = tf.Variable(data.inputs).read_value(), {}
            for name, values in data.labels.items():
                labels[name] = tf.Variable(values).read_value()
            before = len(self.graph.as_graph_def().node)
            spec = make_spec(library, mode, inputs, labels)
            definition = self.graph.as_graph_def()
            self.nodes = len(definition.node) - before
            self.nodes += sum(len(function.node_def) for function in definition.library.function)
            self.values = {key: value for key, (value, _) in spec.eval_metric_ops.items()} | {"loss": spec.loss}
            update = spec.train_op if mode == TRAIN else tf.group(*(update for _, update in spec.eval_metric_ops.values()))
            self.session = v1.Session(config=ONE_THREAD)
            self.session.run([v1.global_variables_initializer(), v1.local_variables_initializer(), v1.tables_initializer()])
            self._step = self.session.make_callable([spec.loss, update])

    def step(self) -> Any:
        """The loss of a batch that trains the network or is added to the metrics."""
        return self._step()[0]

    def measured(self) -> dict[str, Any]:
        """The loss and the metrics so far."""
        return dict(self.session.run(self.values))


class Eager:
    """`loss` and `update_metrics` of heads, called eagerly; one `MultiHead`, or its heads one by one."""

    def __init__(self, library: ModuleType, data: Data, alone: bool) -> None:
        made = make_heads(library)
        logits = {name: tf.constant(values) for name, values in data.logits.items()}
        labels = {name: tf.constant(values) for name, values in data.labels.items()}
        parts = [(h, logits[h.name], labels[h.name]) for h in made] if alone else [(library.MultiHead(made), logits, labels)]
        self.parts = [(head, head.metrics(), own_logits, own_labels) for head, own_logits, own_labels in parts]

    def step(self) -> Any:
        """The loss of a batch that is added to the metrics."""
        total = 0.0
        for head, metrics, logits, labels in self.parts:
            total += head.loss(labels, logits, {})
            head.update_metrics(metrics, {}, logits, labels)
        return total

    def measured(self) -> dict[str, Any]:
        """The metrics so far."""
        if len(self.parts) == 1:
            # Upstream's eager MultiHead makes its heads' metrics anew in every call: only the losses are of all batches.
            metrics = {key: metric for key, metric in self.parts[0][1].items() if key.startswith("loss/")}
        else:
            metrics = {key: metric for _, metrics, _, _ in self.parts for key, metric in metrics.items()}
        return {key: metric.result().numpy() for key, metric in metrics.items()}


class Evaluation:
    """An Estimator's whole `evaluate`: it makes the graph, restores a checkpoint and goes over batches in memory."""

    def __init__(self, library: ModuleType, data: Data, folder: str) -> None:
        self.result: dict[str, Any] = {}
        labels = data.labels

        def model_fn(features: Any, labels: Any, mode: str) -> Any:
            return make_spec(library, mode, features["x"], labels)

        self.estimator = tf.estimator.Estimator(model_fn, folder, tf.estimator.RunConfig(session_config=ONE_THREAD))
        self.input_fn = lambda: tf.data.Dataset.from_tensors(({"x": data.inputs}, labels)).cache().repeat(EVALUATED_BATCHES)
        self.estimator.train(self.input_fn, steps=1)

    def step(self) -> Any:
        """The loss of an evaluation."""
        self.result = self.estimator.evaluate(self.input_fn)
        return self.result["loss"]

    def measured(self) -> dict[str, Any]:
        """The result of the last evaluation."""
        return self.result


def check_same(what: str, ours: Any, theirs: Any) -> None:
    """The two sides give the same losses, for two steps, and the same metrics after them."""
    for _ in range(2):
        np.testing.assert_allclose(ours.step(), theirs.step(), rtol=1e-5, err_msg=what)
    mine, others = ours.measured(), theirs.measured()
    if mine.keys() != others.keys():
        raise AssertionError(f"{what}: {sorted(mine.keys() ^ others.keys())}")
    for key, value in others.items():
        np.testing.assert_allclose(mine[key], value, rtol=1e-4, atol=1e-6, err_msg=f"{what}: {key}")


def seconds(step: Callable[[], Any], times: int) -> float:
    """Processor seconds of a step: what else runs on the machine does not count."""
    start = time.process_time()
    for _ in range(times):
        step()
    return (time.process_time() - start) / times


def compare(what: str, ours: Any, theirs: Any, rounds: int, sample: float) -> str:
    """A row of the table: steps a second of both sides, and the ratio of ours to theirs."""
    check_same(what, ours, theirs)
    times = max(1, round(sample / seconds(theirs.step, 1)))
    pairs = []
    for turn in range(rounds):
        # Whoever is first in one round is second in the next: neither gains by a machine that warms up or slows down.
        order = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        measured = {side: seconds(side.step, times) for side in order}
        pairs.append((measured[ours], measured[theirs]))
    ratios = [their / our for our, their in pairs]
    rates = [1 / statistics.median(column) for column in zip(*pairs, strict=True)]
    return (
        f"{what:<48} {rates[0]:>9,.1f} {rates[1]:>9,.1f} {statistics.median(ratios):>6.2f}  {min(ratios):.2f}–{max(ratios):.2f}"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="pairs of measurements per row (15; 7 of whole evaluations)")
    parser.add_argument("--sample", type=float, default=0.1, help="seconds of a measurement (0.1)")
    arguments = parser.parse_args()

    def row(what: str, ours: Any, theirs: Any, rounds: int = arguments.rounds) -> None:
        print(compare(what, ours, theirs, rounds, arguments.sample), flush=True)

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print(f"TensorFlow {tf.__version__}; a MultiHead of 4 heads; {arguments.rounds} rounds by turns; one thread")
    print(f"{'a second of processor time':<48} {'ours':>9} {'theirs':>9} {'ratio':>6}  min–max")
    nodes = {}
    for size in BATCH_SIZES:
        data = random_batch(size)
        for mode, what in ((TRAIN, "training steps"), (EVAL, "evaluation batches")):
            ours, theirs = (Graph(library, mode, data) for library in LIBRARIES)
            nodes[mode] = (ours.nodes, theirs.nodes)
            row(f"{what}, batch {size}", ours, theirs)
        row(f"eager loss + update_metrics*, batch {size}", *(Eager(library, data, alone=False) for library in LIBRARIES))
        row(f"eager, the heads one by one, batch {size}", *(Eager(library, data, alone=True) for library in LIBRARIES))
    with tempfile.TemporaryDirectory() as folder:
        sides = (Evaluation(library, random_batch(128), f"{folder}/{library.__name__}") for library in LIBRARIES)
        row(f"whole Estimator.evaluate, {EVALUATED_BATCHES} batches of 128", *sides, rounds=min(7, arguments.rounds))
    for mode, (our_nodes, their_nodes) in nodes.items():
        what = f"graph nodes of the heads, {mode} (ratio: fewer)"
        print(f"{what:<48} {our_nodes:>9,} {their_nodes:>9,} {their_nodes / our_nodes:>6.2f}")
    print("* Upstream's eager MultiHead makes its heads' metrics anew in every call and forgets earlier batches, so that only")
    print("  its loss metrics can be checked there; the heads one by one remember.")


if __name__ == "__main__":
    main()
