"""Makes a batch of requests, runs it, and splits its outputs into answers.

The rows of a request are the first dimension of each of its inputs. Requests whose arrays have the same dtypes and inner
shapes can share a run; `cut` selects which of the waiting ones do. A batch that fails is run again in parts.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import numpy as np

from service.batching.request_queue import Answer, BatchTracer, Outputs, QueuedRequest
from service.counters import BatchSample
from service.errors import HeadserveError, ModelError
from service.types import Array, Output

Share: TypeAlias = Callable[[Iterable[Outputs]], Outputs | None]
"""Return the outputs to compute in one run for all of these selections, or None if separate runs are better."""

Run: TypeAlias = Callable[[Mapping[str, Array], Outputs], Mapping[Output, Array]]
OnBatch: TypeAlias = Callable[[BatchSample, Sequence[Mapping[Output, Array]]], None]
"""Receives the timings of a run and its outputs: all rows in one mapping if all requests selected the same outputs, else one
mapping for each request."""

Answers: TypeAlias = list[tuple[QueuedRequest, Answer | Exception]]
"""The requests of a batch, each with its answer or error."""

_NOT_TRACED = nullcontext()


class UnsplittableError(Exception):
    """Outputs that do not have one row for every row of the batch, so that they cannot be split by request."""

    def __init__(self, outputs: frozenset[Output]):
        super().__init__(f"Expected one output row for each input row; these outputs have another number: {sorted(outputs)}.")
        self.outputs = outputs


def never_share(_: Iterable[Outputs]) -> Outputs | None:
    """Return None: only requests for the same outputs share a run."""
    return None


def rows_of(inputs: Mapping[str, Array]) -> int | None:
    """Return the number of rows; None if an input has no dimension or the inputs differ."""
    rows = None
    for array in inputs.values():
        if not array.ndim or rows not in (None, len(array)):
            return None
        rows = len(array)
    return rows


def shape_key(inputs: Mapping[str, Array], ragged: bool) -> tuple[Any, ...]:
    """Return a key that is equal for requests that can be stacked. If `ragged`, arrays are padded and only ranks must agree."""
    if ragged:
        return tuple((name, array.dtype.char, array.ndim) for name, array in inputs.items())
    return tuple((name, array.dtype.char, array.shape[1:]) for name, array in inputs.items())


def cut(waiting: Iterable[QueuedRequest], max_rows: int, share: Share) -> tuple[list[int], Outputs]:
    """Return the positions of the requests of the next batch, oldest first, and the outputs to compute.

    The oldest request is always included. A later one joins while the rows fit and its outputs are the same or can be shared.
    The first that does not fit ends the batch, so that later requests cannot delay a large one forever.
    """
    taken: list[int] = []
    rows, selections, outputs = 0, set[Outputs](), ()  # type: tuple[int, set[Outputs], Outputs]
    for position, item in enumerate(waiting):
        if taken and rows + item.rows > max_rows:
            break
        if item.outputs not in selections:
            merged = share((*selections, item.outputs)) if taken else item.outputs
            if merged is None:
                continue
            selections.add(item.outputs)
            outputs = merged
        taken.append(position)
        rows += item.rows
    return taken, outputs


def padded_rows(rows: int, allowed: Sequence[int] | None) -> int:
    """Return the smallest allowed batch size that holds the rows; `rows` if there is none or any size is allowed."""
    return next((size for size in allowed or () if size >= rows), rows)


def parts(inputs: Mapping[str, Array], rows: int, max_rows: int) -> list[tuple[dict[str, Array], int]]:
    """Split a request into parts of at most `max_rows` rows, each with its number of rows."""
    return [
        ({name: array[start : start + max_rows] for name, array in inputs.items()}, min(max_rows, rows - start))
        for start in range(0, rows, max_rows)
    ]


def stack(members: Sequence[Mapping[str, Array]], rows: int) -> Mapping[str, Array]:
    """Concatenate the rows of all members and repeat the last row up to `rows`.

    If inner sizes differ, the smaller arrays are filled with zeros or empty strings.
    """
    missing = rows - sum(len(next(iter(member.values()))) for member in members)
    if len(members) == 1 and not missing:
        return members[0]
    stacked = {}
    for name in members[0]:
        arrays = [member[name] for member in members]
        if len({array.shape[1:] for array in arrays}) > 1:
            inner = np.max([array.shape[1:] for array in arrays], axis=0)
            arrays = [_widened(array, inner) for array in arrays]
        if missing:
            arrays.append(np.repeat(arrays[-1][-1:], missing, axis=0))
        stacked[name] = np.concatenate(arrays)
    return stacked


def split(results: Mapping[Output, Array], computed_rows: int, members: Sequence[QueuedRequest]) -> list[dict[Output, Array]]:
    """Return for each member its rows of the outputs that it selected, without the padding. Raises UnsplittableError."""
    wanted = {output for outputs in {member.outputs for member in members} for output in outputs}
    odd = frozenset(output for output in wanted if not results[output].ndim or len(results[output]) != computed_rows)
    if odd:
        raise UnsplittableError(odd)
    answers = []
    stop = 0
    for member in members:
        start, stop = stop, stop + member.rows
        answers.append({output: results[output][start:stop] for output in member.outputs})
    return answers


def joined(answers: Sequence[Mapping[Output, Array]]) -> dict[Output, Array]:
    """Concatenate the answers to the parts of one request."""
    return {output: np.concatenate([answer[output] for answer in answers]) for output in answers[0]}


class BatchRunner:
    """Runs batches of one model and records which of its outputs cannot be split; see `Batcher` for the arguments."""

    def __init__(
        self,
        name: str,
        allowed_batch_sizes: Sequence[int] | None,
        on_batch: OnBatch | None,
        tracer: BatchTracer | None,
        clock: Callable[[], float],
    ):
        self._name = name
        self._allowed_batch_sizes = allowed_batch_sizes
        self._on_batch = on_batch
        self._tracer = tracer
        self._clock = clock
        self._unsplittable: set[Output] = set()

    def is_unsplittable(self, outputs: Iterable[Output]) -> bool:
        """Return whether one of these outputs is known not to have one row for each input row."""
        return bool(self._unsplittable) and not self._unsplittable.isdisjoint(outputs)

    def answers(self, run: Run, batch: Sequence[QueuedRequest], outputs: Outputs) -> Answers:
        """Return every request with its answer or error. A batch that fails is halved until the bad request is alone."""
        batch = [request for request in batch if not request.future.done()]  # not those cancelled or too late
        if not batch:
            return []
        same_outputs = len({request.outputs for request in batch}) == 1
        if same_outputs:
            outputs = batch[0].outputs
        try:
            with _NOT_TRACED if self._tracer is None else self._tracer.run(batch):
                return list(zip(batch, self._run(run, batch, outputs, same_outputs), strict=True))
        except UnsplittableError as error:
            self._unsplittable |= error.outputs
            if len(batch) == 1 and batch[0].is_part:  # `submit` then runs the whole request
                return [(batch[0], error)]
            groups = [[request] for request in batch]
        except Exception as error:
            if len(batch) == 1:
                known = error if isinstance(error, HeadserveError) else ModelError(f"Model {self._name!r} failed: {error!r}")
                return [(batch[0], known)]
            groups = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        return [answer for group in groups for answer in self.answers(run, group, outputs)]

    def _run(self, run: Run, batch: list[QueuedRequest], outputs: Outputs, same_outputs: bool) -> Sequence[Answer]:
        alone = len(batch) == 1 and (batch[0].batch_key is None or self.is_unsplittable(outputs))
        if alone and batch[0].is_part:
            raise UnsplittableError(frozenset(self._unsplittable.intersection(outputs)))
        began_s, began_ns = self._clock(), time.monotonic_ns()
        rows = sum(request.rows for request in batch)
        padded = padded_rows(rows, self._allowed_batch_sizes)
        inputs = batch[0].inputs if alone else stack([request.inputs for request in batch], padded)
        stacked_ns = time.monotonic_ns()
        results = run(inputs, outputs)
        ran_ns = time.monotonic_ns()
        answers = [{output: results[output] for output in outputs}] if alone else split(results, padded, batch)
        if self._on_batch is not None:
            waits_ns = [max(int((began_s - request.arrived_s) * 1e9), 0) for request in batch]
            sample = BatchSample(rows, waits_ns, stacked_ns - began_ns, ran_ns - stacked_ns, time.monotonic_ns() - ran_ns)
            in_one = same_outputs and not alone
            self._on_batch(sample, [{output: results[output][:rows] for output in outputs}] if in_one else answers)
        return answers


def _widened(array: Array, inner: Array) -> Array:
    fill: Any = b"" if array.dtype == object else 0
    wide = np.full((len(array), *inner), fill, array.dtype)
    wide[tuple(slice(size) for size in array.shape)] = array
    return wide
