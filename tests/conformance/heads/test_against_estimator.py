"""Our heads and tf.estimator's side by side on the same numbers: every head, label form, rank, weights, reduction, mode."""

import inspect

import pytest
import tensorflow as tf

import heads
from tests.conformance.heads.cases import CASES, Case, Outer, batches
from tests.conformance.heads.modes import MODES, as_tensors, assert_same, close

pytestmark = pytest.mark.train

CASE_PARAMETERS = [pytest.param(case, id=case.id) for case in CASES]
OUTER = [pytest.param((7,), id="rank2"), pytest.param((3, 4), id="rank3")]

# What weights do to the metrics does not depend on the reduction: pairs that hold every value of both.
SETTINGS = [(None, "sum_over_batch_size"), ("weight", "sum"), ("weight_1", "auto"), ("weight_each", "sum_over_batch_size")]


@pytest.mark.parametrize(("weights", "reduction"), SETTINGS)
@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("case", CASE_PARAMETERS)
def test_eager(case: Case, outer: Outer, weights: str | None, reduction: str) -> None:
    compare(case, outer, weights, reduction, "eager")


@pytest.mark.parametrize("mode", ["function", "graph"])
@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("case", CASE_PARAMETERS)
def test_in_a_graph(case: Case, outer: Outer, mode: str) -> None:
    weights, reduction = SETTINGS[(CASES.index(case) + len(outer)) % len(SETTINGS)]
    compare(case, outer, weights, reduction, mode)


def compare(case: Case, outer: Outer, weights: str | None, reduction: str, mode: str) -> None:
    arguments = {"weight_column": weights_of(case, weights), "loss_reduction": reduction, "name": "head"}
    data = batches(case, outer)
    ours = MODES[mode](case.make(heads, **arguments), data)
    # Upstream's accuracy_baseline keeps a tensor of the function's graph and fails outside it: its eager numbers do for both.
    theirs = MODES["graph" if mode == "graph" else "eager"](case.make(tf.estimator, **arguments), data)
    if len(outer) > 1:
        for predictions in [*ours.predictions, *theirs.predictions]:
            drop_class_lists(case, predictions)
    assert_same(ours, theirs)


@pytest.mark.parametrize("reduction", heads.Reduction.all())
@pytest.mark.parametrize("weights", [None, "weight", "weight_1", "weight_each"])
@pytest.mark.parametrize("case", CASE_PARAMETERS)
def test_loss_for_every_weight_and_reduction(case: Case, weights: str | None, reduction: str) -> None:
    batch = as_tensors(batches(case, (5, 2), count=1)[0])
    arguments = {"weight_column": weights_of(case, weights), "loss_reduction": reduction}
    ours, theirs = (
        case.make(library, **arguments).loss(batch.labels, batch.logits, batch.features, regularization_losses=[0.5, 0.25])
        for library in (heads, tf.estimator)
    )
    close(ours.numpy(), theirs.numpy(), "loss")


def weights_of(case: Case, weights: str | None) -> str | None:
    """Only regressions weigh every value; the others get a weight per example instead."""
    return "weight_1" if weights == "weight_each" and "Regression" not in case.kind else weights


def drop_class_lists(case: Case, predictions: dict[str, object]) -> None:
    """Upstream gives `[D0, n]` at any rank for these; `test_faults` has them."""
    for key in ("all_classes", "all_class_ids", *(["classes"] if case.kind == "MultiLabelHead" else [])):
        predictions.pop(key, None)


def test_no_head_is_missing() -> None:
    public = {name for name in heads.__all__ if inspect.isclass(getattr(heads, name)) and name.endswith("Head")}
    assert public - {"Head", "SingleHead", "MultiHead"} == {case.kind for case in CASES}
