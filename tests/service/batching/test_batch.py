import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from service.batching.batch import (
    BatchRunner,
    UnsplittableError,
    cut,
    joined,
    never_share,
    padded_rows,
    parts,
    rows_of,
    shape_key,
    split,
    stack,
)
from service.batching.request_queue import QueuedRequest
from service.counters import BatchSample
from service.errors import ModelError

A, B, C = ("a", "x"), ("b", "x"), ("c", "x")


@dataclass
class Rows:
    rows: int
    outputs: tuple[tuple[str, str], ...] = (A,)


def share_all(selections):
    return tuple(sorted({output for outputs in selections for output in outputs}))


@pytest.mark.parametrize(
    ("waiting", "share", "positions", "outputs"),
    [
        pytest.param([Rows(1)], never_share, [0], (A,), id="one"),
        pytest.param([Rows(1), Rows(2), Rows(3)], never_share, [0, 1, 2], (A,), id="all that fit"),
        pytest.param([Rows(3), Rows(5), Rows(1)], never_share, [0, 1], (A,), id="exactly full"),
        pytest.param(
            [Rows(3), Rows(6), Rows(1)],
            never_share,
            [0],
            (A,),
            id="a request that does not fit is not overtaken",
        ),
        pytest.param([Rows(9), Rows(1)], never_share, [0], (A,), id="the oldest always runs"),
        pytest.param([Rows(1), Rows(1, (B,)), Rows(1)], never_share, [0, 2], (A,), id="other outputs wait"),
        pytest.param(
            [Rows(1), Rows(1, (B,)), Rows(1)],
            share_all,
            [0, 1, 2],
            (A, B),
            id="other outputs share",
        ),
        pytest.param([Rows(1), Rows(1)], share_all, [0, 1], (A,), id="the same outputs are computed once"),
        pytest.param([Rows(8), Rows(1, (B,))], share_all, [0], (A,), id="outputs of a request that does not fit"),
    ],
)
def test_cut(waiting, share, positions, outputs):
    assert cut(waiting, 8, share) == (positions, outputs)


@pytest.mark.parametrize(
    ("rows", "allowed", "expected"),
    [
        pytest.param(3, None, 3, id="any size"),
        pytest.param(1, (1, 4, 8), 1, id="allowed"),
        pytest.param(2, (1, 4, 8), 4, id="the next larger"),
        pytest.param(8, (1, 4, 8), 8, id="the largest"),
        pytest.param(9, (1, 4, 8), 9, id="larger than all"),
    ],
)
def test_padded_rows(rows, allowed, expected):
    assert padded_rows(rows, allowed) == expected


def test_rows():
    assert rows_of({"x": np.zeros(3), "y": np.zeros((3, 2))}) == 3
    assert rows_of({"x": np.zeros(3), "y": np.zeros(2)}) is None
    assert rows_of({"x": np.zeros(3), "limit": np.zeros(())}) is None


def test_requests_that_can_be_stacked_have_the_same_key():
    one = {"x": np.zeros((1, 2), np.float32)}
    assert shape_key(one, ragged=False) == shape_key({"x": np.ones((5, 2), np.float32)}, ragged=False)
    for other in (np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float64), np.zeros((1, 2, 1), np.float32)):
        assert shape_key(one, ragged=False) != shape_key({"x": other}, ragged=False)
    assert shape_key(one, ragged=True) == shape_key({"x": np.zeros((1, 3), np.float32)}, ragged=True)
    assert shape_key(one, ragged=True) != shape_key({"x": np.zeros((1, 2, 1), np.float32)}, ragged=True)


def test_stacking():
    one, two = {"x": np.array([1]), "t": np.array([b"a"], object)}, {"x": np.array([2, 3]), "t": np.array([b"b", b"c"], object)}
    stacked = stack([one, two], 5)
    assert {name: array.tolist() for name, array in stacked.items()} == {
        "x": [1, 2, 3, 3, 3],
        "t": [b"a", b"b", b"c", b"c", b"c"],
    }
    assert stack([one], 1) is one, "a request that runs alone is not copied"
    assert stack([one], 2)["x"].tolist() == [1, 1]
    assert stack([{"x": np.array([[1, 2]])}], 2)["x"].tolist() == [[1, 2], [1, 2]]


def test_smaller_inner_sizes_are_filled():
    members = [
        {"x": np.array([[1.5]], np.float32), "t": np.array([[b"one", b"two"]], object)},
        {"x": np.array([[2.5, 3]], np.float32), "t": np.array([[b"three"]], object)},
    ]
    stacked = stack(members, 2)
    assert stacked["x"].tolist() == [[1.5, 0], [2.5, 3]]
    assert stacked["t"].tolist() == [[b"one", b"two"], [b"three", b""]]
    assert {name: array.dtype for name, array in stacked.items()} == {"x": np.float32, "t": object}


def test_padding_is_not_part_of_any_answer():
    answers = split({A: np.arange(4), B: np.arange(4) * 10}, 4, [Rows(1), Rows(2, (A, B))])
    assert [{output: array.tolist() for output, array in answer.items()} for answer in answers] == [
        {A: [0]},
        {A: [1, 2], B: [10, 20]},
    ]


@pytest.mark.parametrize("odd", [np.zeros(()), np.zeros(3)], ids=["no rows", "too few"])
def test_outputs_with_another_number_of_rows_are_not_split(odd):
    with pytest.raises(UnsplittableError, match=r"one output row for each input row.*\[\('b', 'x'\)\]") as caught:
        split({A: np.zeros(2), B: odd}, 2, [Rows(1), Rows(1, (A, B))])
    assert caught.value.outputs == {B}
    assert len(split({A: np.zeros(2), B: odd}, 2, [Rows(1), Rows(1)])) == 2, "it is not selected"


def test_parts_are_joined_again():
    pieces = parts({"x": np.arange(7)}, 7, 3)
    assert [(piece["x"].tolist(), rows) for piece, rows in pieces] == [([0, 1, 2], 3), ([3, 4, 5], 3), ([6], 1)]
    assert joined([{A: piece["x"]} for piece, _ in pieces])[A].tolist() == list(range(7))
    assert joined([{A: np.arange(2)}])[A].tolist() == [0, 1]


BAD = 666


class Model:
    """Returns x for A and 10 x for B, and the sum, without a row for each row, for C; refuses BAD; records its runs."""

    def __init__(self):
        self.runs = []

    def __call__(self, inputs, outputs):
        x = inputs["x"]
        self.runs.append((len(x), outputs))
        if (x == BAD).any():
            raise ZeroDivisionError("a bug")
        results = {A: x, B: x * 10, C: x.sum()}
        return {output: results[output] for output in outputs}


class Tracer:
    """Records the batches of the runs."""

    def __init__(self):
        self.batches = []

    @contextmanager
    def run(self, batch):
        self.batches.append(list(batch))
        yield


def request(*values, outputs=(A,), batch_key="k", is_part=False):
    future = asyncio.get_running_loop().create_future()
    return QueuedRequest({"x": np.array(values)}, outputs, len(values), batch_key, future, 1.5, is_part=is_part)


def runner(allowed=None, on_batch=None, tracer=None):
    return BatchRunner("m", allowed, on_batch, tracer, lambda: 2.0)


def listed(answer):
    return {output: array.tolist() for output, array in answer.items()}


async def test_a_batch_that_fails_is_halved_until_the_bad_request_is_alone():
    model, tracer = Model(), Tracer()
    batch = [request(1, outputs=(A,)), request(2, outputs=(B,)), request(BAD), request(3, outputs=(B,))]
    answers = runner(tracer=tracer).answers(model, batch, (A, B))
    assert [answered for answered, _ in answers] == batch
    assert [listed(answer) for _, answer in answers[:2]] == [{A: [1]}, {B: [20]}]
    assert listed(answers[3][1]) == {B: [30]}
    assert type(answers[2][1]) is ModelError
    assert str(answers[2][1]) == "Model 'm' failed: ZeroDivisionError('a bug')"
    assert model.runs == [(4, (A, B)), (2, (A, B)), (2, (A, B)), (1, (A,)), (1, (B,))]
    assert tracer.batches == [batch, batch[:2], batch[2:], batch[2:3], batch[3:]]


async def test_outputs_that_no_remaining_request_selects_are_not_computed():
    model = Model()
    batch = [request(1), request(2, outputs=(B,)), request(3)]
    batch[1].future.cancel()
    assert [listed(answer) for _, answer in runner().answers(model, batch, (A, B))] == [{A: [1]}, {A: [3]}]
    assert model.runs == [(2, (A,))]


@pytest.mark.parametrize("part_first", [True, False])
async def test_an_error_of_one_part_answers_no_other_request(part_first):
    """The caller of the large request gets UnsplittableError, and sends it again as a whole."""
    batch = [request(1, 2, outputs=(C,), is_part=True), request(3, outputs=(C,))]
    part, small = batch
    answers = dict(runner().answers(Model(), batch if part_first else batch[::-1], (C,)))
    assert type(answers[part]) is UnsplittableError
    assert listed(answers[small]) == {C: 3}


async def test_outputs_without_rows_are_known_from_then_on():
    def run(inputs, outputs):
        return {output: inputs["x"] if output == A else inputs["x"].sum() for output in outputs}

    made = runner()
    assert not made.is_unsplittable((A, B, C))
    made.answers(run, [request(1, 2, outputs=(B,)), request(3, outputs=(B,))], (B,))
    made.answers(run, [request(1, 2, outputs=(C,)), request(3, outputs=(C,))], (C,))
    assert [made.is_unsplittable((output,)) for output in (A, B, C)] == [False, True, True]


@pytest.mark.parametrize(
    ("allowed", "selections", "batch_key", "expected"),
    [
        pytest.param(None, [(A,), (A,)], "k", [{A: [0, 1]}], id="the same outputs: all rows in one"),
        pytest.param((4,), [(A,), (A,)], "k", [{A: [0, 1]}], id="without the padding"),
        pytest.param((4,), [(A,), (B,)], "k", [{A: [0]}, {B: [10]}], id="different outputs: one for each request"),
        pytest.param((4,), [(C,)], None, [{C: 0}], id="a request that runs alone"),
    ],
)
async def test_the_outputs_of_a_run_are_reported(allowed, selections, batch_key, expected):
    reported = []
    batch = [request(value, outputs=outputs, batch_key=batch_key) for value, outputs in enumerate(selections)]
    runner(allowed, on_batch=lambda sample, answers: reported.extend(answers)).answers(Model(), batch, (A, B))
    assert [listed(answer) for answer in reported] == expected


async def test_the_times_of_a_run_are_reported(monkeypatch):
    times_ns = iter([1000, 1001, 1011, 1111])
    monkeypatch.setattr("service.batching.batch.time", SimpleNamespace(monotonic_ns=lambda: next(times_ns)))
    samples = []
    made = runner((4,), on_batch=lambda sample, answers: samples.append(sample))
    made.answers(Model(), [request(1, 2), request(3)], (A,))
    assert samples == [BatchSample(3, [500_000_000] * 2, 1, 10, 100)]
