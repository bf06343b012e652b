import numpy as np
import pytest
import tensorflow as tf

from heads import losses


def test_sigmoid_cross_entropy() -> None:
    got = losses.sigmoid_cross_entropy(tf.constant([[0.0], [1.0], [0.25]]), tf.constant([[0.0], [2.0], [-100.0]]))
    # log 2; log(1 + exp -2); a quarter of 100
    np.testing.assert_allclose(got, [[0.693147], [0.126928], [25.0]], rtol=1e-5)


def test_multi_label_cross_entropy_is_a_mean_over_classes() -> None:
    zeros = tf.zeros([2, 3])
    np.testing.assert_allclose(losses.multi_label_cross_entropy(zeros, zeros, None), [[0.693147]] * 2, rtol=1e-5)
    # (3 + 0 + 1) / 3 times log 2: the divisor stays the number of classes.
    np.testing.assert_allclose(losses.multi_label_cross_entropy(zeros, zeros, [3, 0, 1]), [[0.924196]] * 2, rtol=1e-5)


def test_sequences_have_one_loss_for_each_step() -> None:
    """The classes are the last dimension of `[batch, steps, classes]`."""
    zeros = tf.zeros([2, 4, 3])
    np.testing.assert_allclose(losses.multi_label_cross_entropy(zeros, zeros, None), np.full([2, 4, 1], 0.693147), rtol=1e-5)
    got = losses.softmax_cross_entropy(tf.zeros([2, 4, 1], tf.int64), zeros)
    np.testing.assert_allclose(got, np.full([2, 4, 1], 1.098612), rtol=1e-5)


def test_softmax_cross_entropy() -> None:
    logits = tf.constant([[[0.0, 0, 0, 0]], [[1000.0, 0, 0, 0]]])
    got = losses.softmax_cross_entropy(tf.constant([[[3]], [[1]]]), logits)
    np.testing.assert_allclose(got, [[[1.386294]], [[1000.0]]], rtol=1e-5)


def test_squared_error() -> None:
    got = losses.squared_error(tf.constant([[1.0, -1.0]]), tf.constant([[3.0, 0.5]]))
    np.testing.assert_allclose(got, [[4.0, 2.25]])


def test_poisson() -> None:
    labels, logits = tf.constant([[0.0], [1.0], [3.0]]), tf.constant([[0.0], [1.0], [0.0]])
    # exp(x) - x·z: 1; e - 1; 1
    np.testing.assert_allclose(losses.poisson(labels, logits, full=False), [[1.0], [1.718282], [1.0]], rtol=1e-5)
    # Stirling's 3·log 3 - 3 + ½·log 6π = 1.764082 for the label above 1.
    np.testing.assert_allclose(losses.poisson(labels, logits, full=True), [[1.0], [1.718282], [2.764082]], rtol=1e-5)


class TestReduce:
    LOSSES = tf.constant([[1.0], [9.0]])

    @pytest.mark.parametrize(
        ("weights", "reduction", "expected"),
        [
            pytest.param(None, "sum", 10.0, id="sum"),
            pytest.param(None, "sum_over_batch_size", 5.0, id="mean"),
            pytest.param(None, "auto", 5.0, id="auto"),
            # The divisor is the number of losses, not the sum of the weights.
            pytest.param([[3.0], [1.0]], "sum_over_batch_size", 6.0, id="weighted-mean"),
            pytest.param([[3.0], [1.0]], "sum", 12.0, id="weighted-sum"),
            pytest.param([[0.0], [0.0]], "sum_over_batch_size", 0.0, id="weights-0"),
        ],
    )
    def test_reductions(self, weights: list[list[float]] | None, reduction: str, expected: float) -> None:
        given = None if weights is None else tf.constant(weights)
        assert float(losses.reduce(self.LOSSES, given, tf.constant(2.0), reduction)) == expected

    def test_weights_of_an_example_are_those_of_each_of_its_values(self) -> None:
        given = tf.constant([[1.0, 2.0], [3.0, 4.0]])
        assert float(losses.reduce(given, tf.constant([[1.0], [2.0]]), tf.constant(4.0), "sum")) == 3 + 14

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_loss_that_is_not_finite_adds_nothing_under_weight_0(self, value: float) -> None:
        given, weights = tf.constant([[1.0], [value]]), tf.constant([[3.0], [0.0]])
        assert float(losses.reduce(given, weights, tf.constant(2.0), "sum_over_batch_size")) == 1.5

    @pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size", "auto"])
    def test_an_empty_batch_has_loss_0(self, reduction: str) -> None:
        assert float(losses.reduce(tf.zeros([0, 1]), None, tf.constant(0.0), reduction)) == 0.0
