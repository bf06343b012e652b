"""One version of a model in memory: a replica on each device, and the batcher that distributes requests to them."""

import os
import timeit
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import product, takewhile
from pathlib import Path

import numpy as np
import structlog

from service.batching.batch import rows_of
from service.batching.batcher import Batcher
from service.batching.request_queue import BatchTracer, Outputs
from service.batching.slots import LOST_AFTER_S
from service.counters import Statistics
from service.errors import HeadserveError, ModelLoadError, RejectedByModelError
from service.models.discovery import SERVING_DEFAULT
from service.models.options import BatchingOptions, ModelOptions
from service.models.scan import refusal
from service.runtime.devices import replica_devices
from service.runtime.saved_model import read, scanned
from service.runtime.servable import Servable
from service.runtime.servable import load as load_servable
from service.runtime.warmup import Decode, example_request, recorded_requests, repeated
from service.types import Array, HeadSpec, InferRequest, ModelSpec, Output, TensorSpec

WARM_ROWS = 32
"""Rows of the larger batch that a model without `allowed_batch_sizes` is warmed up with; the smaller one has one row."""

NAMED_KEYS = {
    "multi_class": ("all_classes", "classes"),
    "binary_class": ("all_classes", "classes"),
    "multi_label": ("classes", ""),
}
"""Kind of head → the key with every class name in order, and the key with the name of `class_ids`."""

log = structlog.get_logger("headserve.model")


def load(
    name: str,
    version: int,
    folder: Path,
    options: ModelOptions,
    decode: Decode,
    threads: int | None = None,
    tracer: BatchTracer | None = None,
) -> "Model":
    """Load the version in `folder`, with a replica on each device that the options name.

    `decode` decodes the requests that the model is warmed up with. `threads` runs at the same time are possible on each
    replica; default: the number of CPUs.

    Raises:
        ModelLoadError: the scan has findings, TensorFlow cannot load the model, the model card is broken, or a device does
            not exist.
    """
    saved_model = read(folder)
    if not options.trusted and (findings := scanned(saved_model, folder)):
        raise ModelLoadError(refusal(findings))
    devices = replica_devices(options.compute.devices)
    servables = [
        load_servable(name, version, folder, device, options.compute, saved_model, options.heads) for device in devices
    ]
    return Model(servables, folder, options, decode, threads or os.cpu_count() or 1, tracer)


class Model:
    """A version in memory; see `load` for the arguments."""

    def __init__(
        self,
        servables: list[Servable],
        folder: Path,
        options: ModelOptions,
        decode: Decode,
        threads: int,
        tracer: BatchTracer | None = None,
    ):
        self.spec: ModelSpec = servables[0].spec
        self._servables = servables
        self._folder = folder
        self._decode = decode
        self._names = ClassNames(())  # until `warm_up` has compared them with the model's answers
        self._all: Outputs = self.spec.outputs
        self._default = _default_outputs(self.spec)
        self._costs_s: dict[str, float] = {}
        self._cost_of_all_s = 0.0
        self._compiled = options.compute.jit_compile
        self._unsplittable = _declared_unsplittable(self.spec)
        self._stackable = all(map(_has_rows, self.spec.inputs))
        self._batching = _batching(options)
        self._mark: AbstractContextManager[None] = nullcontext()
        self.statistics = Statistics(self.spec.heads)
        self._batcher = Batcher(
            self.spec.name,
            [partial(self._run_marked, servable) for servable in servables],
            self._batching,
            threads=threads,
            share=self._share,
            on_batch=self.statistics.batch,
            tracer=tracer,
        )

    async def infer(
        self, request: InferRequest, deadline: float | None = None, rows: int | None = None
    ) -> Mapping[Output, Array]:
        """Return the selected outputs, computed in one batch with those of other requests. Raises what `Batcher.submit` does.

        `deadline` is in seconds on the clock of `time.monotonic`. Rows are counted if their number is not given.
        """
        alone = request.alone or not self._unsplittable.isdisjoint(request.outputs)
        return await self._batcher.submit(request.inputs, request.outputs, deadline, rows=rows, alone=alone)

    def warm_up(self) -> None:
        """Run every head, and all together, in every batch size, so that no client waits for tracing. Blocks.

        Raises:
            ModelLoadError: the model cannot be run, refuses a recorded request, or cannot be compiled. A made-up example
                that is refused for its values is only a warning.
        """
        recorded = recorded_requests(self.spec, self._folder, self._decode)
        example = recorded[0] if recorded else example_request(self.spec, self._decode)
        try:
            for request in recorded:
                for servable in self._servables:
                    servable.run(request.inputs, request.outputs)
            refusals = ["the example is not a valid row"] if example is None else self._warm_up(dict(example.inputs))
        except HeadserveError as error:
            raise ModelLoadError(f"Warming up failed: {error.message}") from error
        if refusals and example is not None and (recorded or self._compiled):
            raise ModelLoadError(f"Warming up failed: {refusals[0]}")
        if refusals:
            log.warning("not warmed up", reason=refusals[0], **self._fields)

    def check_runs(self) -> str | None:
        """Replace the threads of runs that nobody has waited for in a long time. Called from time to time.

        Returns why the version cannot be served any more: too many of its runs have not returned. None if it can.
        """
        if self._batcher.replace_overdue():
            log.error("a run does not return", runs=self._batcher.lost_runs, unawaited_s=LOST_AFTER_S, **self._fields)
        if self._batcher.lost_runs <= self._batcher.max_lost_runs:
            return None
        reason = (
            f"{self._batcher.lost_runs} of its runs had not returned {LOST_AFTER_S:g} s after anybody waited for them. "
            "Replace the version, or load the model by hand to serve it again."
        )
        self._batcher.fail(reason)
        return reason

    def close(self) -> None:
        """Finish the queued requests and free the model. Blocks until then, but not for runs that nobody waits for.

        TensorFlow cancels those that can be cancelled; the others keep their memory until they return.
        """
        if runs := self._batcher.close():
            log.warning("closed before all runs have returned; its memory is freed after them", runs=runs, **self._fields)
        for servable in self._servables:
            servable.close()

    @property
    def waiting_rows(self) -> int:
        """Number of rows in the queue."""
        return self._batcher.waiting_rows

    @property
    def _fields(self) -> dict[str, str | int]:
        """What every log line names."""
        return {"model": self.spec.name, "version": self.spec.version}

    def mark_runs(self, mark: AbstractContextManager[None]) -> None:
        """Mark each run from here on: `mark` is entered before, and left after it."""
        self._mark = mark

    def _run_marked(self, servable: Servable, inputs: Mapping[str, Array], outputs: Outputs) -> Mapping[Output, Array]:
        with self._mark:
            return self._run(servable, inputs, outputs)

    def _run(self, servable: Servable, inputs: Mapping[str, Array], outputs: Outputs) -> Mapping[Output, Array]:
        computed = self._names.computed(outputs) if self._names else outputs
        rows = rows_of(inputs) if computed != outputs else None
        if rows is None:
            return servable.run(inputs, outputs)
        results = servable.run(inputs, computed) if computed else {}
        return self._names.written(results, outputs, rows)

    def _warm_up(self, row: dict[str, Array]) -> list[str]:
        """Run every selection in every batch size; return why the model refused the row, for each run that it refused."""
        sizes = self._batching.allowed_batch_sizes or sorted({1, min(WARM_ROWS, self._batching.max_batch_size)})
        if not self._stackable:
            sizes = (len(next(iter(row.values()))),)
        heads = {head.name: tuple((head.name, key) for key in head.key_names) for head in self.spec.heads}
        refusals = []
        for servable in self._servables:
            self._names = self._checked_names(servable, repeated(row, sizes[0]))
            for size, selection in product(sizes, dict.fromkeys((*heads.values(), self._all, *self._default))):
                try:
                    results = self._run(servable, repeated(row, size), selection)
                except RejectedByModelError as error:
                    refusals.append(error.message)
                else:
                    self._add_unsplittable(results, size)
        if not refusals:
            largest = repeated(row, sizes[-1])
            self._costs_s = {head: self._cost_s(largest, outputs) for head, outputs in heads.items()}
            self._cost_of_all_s = self._cost_s(largest, self._all)
        return refusals

    def _add_unsplittable(self, results: Mapping[Output, Array], rows: int) -> None:
        """Record the outputs that do not have one row for each input row, regardless of their declared shapes."""
        if self._stackable:
            odd = (output for output, array in results.items() if not array.ndim or len(array) != rows)
            self._unsplittable = self._unsplittable.union(odd)

    def _checked_names(self, servable: Servable, inputs: dict[str, Array]) -> "ClassNames":
        """Return the card's class names, without those that differ from the model's own outputs for these inputs."""
        names = ClassNames(self.spec.heads)
        if not names:
            return names
        try:
            own = servable.run(inputs, tuple({*names.outputs, *names.computed(names.outputs)}))
        except RejectedByModelError:  # refused again, and reported, when all heads are run
            return ClassNames(())
        written = names.written(own, names.outputs, len(next(iter(inputs.values()))))
        wrong = [output for output in names.outputs if not np.array_equal(written[output], own[output])]
        if wrong:
            log.warning("classes of the card are not the model's", model=self.spec.name, outputs=wrong)
        return names.without(wrong)

    def _cost_s(self, inputs: Mapping[str, Array], outputs: Outputs) -> float:
        """Return the shortest of three runs, in seconds."""
        return min(timeit.repeat(partial(self._run, self._servables[0], inputs, outputs), number=1, repeat=3))

    def _share(self, selections: Iterable[Outputs]) -> Outputs | None:
        """Return all outputs if one run of them costs no more than a run for each selection, as measured in `warm_up`."""
        if not self._costs_s or any(head not in self._costs_s for selection in selections for head, _ in selection):
            return None
        apart_s = sum(max(self._costs_s[head] for head, _ in selection) for selection in set(selections))
        return self._all if self._cost_of_all_s <= apart_s else None


class ClassNames:
    """Makes string outputs from the class names of the model card: strings are TensorFlow's slowest outputs."""

    def __init__(self, heads: Iterable[HeadSpec]):
        self._names: dict[Output, Array] = {}
        self._ids: dict[Output, Output] = {}
        for head in heads:
            if head.classes is None or len(head.classes) < 2 or head.kind not in NAMED_KEYS:
                continue
            names = np.array([name.encode() for name in head.classes], object)
            every_name, name_of_id = NAMED_KEYS[head.kind]
            if every_name in head.key_names:
                self._names[head.name, every_name] = names
            if name_of_id in head.key_names and "class_ids" in head.key_names:
                self._names[head.name, name_of_id] = names
                self._ids[head.name, name_of_id] = (head.name, "class_ids")

    def __bool__(self) -> bool:
        return bool(self._names)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs that are made from names."""
        return tuple(self._names)

    def computed(self, outputs: Iterable[Output]) -> tuple[Output, ...]:
        """Return the outputs that TensorFlow must compute for these outputs."""
        needed = (output for output in outputs if output in self._ids or output not in self._names)
        return tuple(dict.fromkeys(self._ids.get(output, output) for output in needed))

    def written(self, results: Mapping[Output, Array], outputs: Iterable[Output], rows: int) -> dict[Output, Array]:
        """Return the selected outputs, made from the computed ones."""
        written = {}
        for output in outputs:
            names = self._names.get(output)
            if names is None:
                written[output] = results[output]
            elif output in self._ids:
                written[output] = names[results[self._ids[output]]]
            else:
                written[output] = np.broadcast_to(names, (rows, len(names)))
        return written

    def without(self, outputs: Iterable[Output]) -> "ClassNames":
        """Return a copy that leaves these outputs to TensorFlow."""
        left = ClassNames(())
        left._names = {output: names for output, names in self._names.items() if output not in set(outputs)}
        left._ids = {output: ids for output, ids in self._ids.items() if output in left._names}
        return left


def _batching(options: ModelOptions) -> BatchingOptions:
    """Return the batching options. XLA compiles for each batch size, so with XLA the sizes are limited to powers of two."""
    batching = options.batching
    if not options.compute.jit_compile or batching.allowed_batch_sizes is not None:
        return batching
    powers = takewhile(lambda size: size < batching.max_batch_size, (2**i for i in range(64)))
    return batching.model_copy(update={"allowed_batch_sizes": (*powers, batching.max_batch_size)})


def _default_outputs(spec: ModelSpec) -> tuple[Outputs, ...]:
    """Return the outputs of `serving_default`; none if the signature has other inputs than the heads."""
    signature = spec.signatures.get(SERVING_DEFAULT)
    if signature is None or {tensor.name for tensor in signature.inputs} != {tensor.name for tensor in spec.inputs}:
        return ()
    return (spec.ordered([spec.output(SERVING_DEFAULT, tensor.name) for tensor in signature.outputs]),)


def _declared_unsplittable(spec: ModelSpec) -> frozenset[Output]:
    """Return the outputs whose declared shape, or an input's of their signature, does not begin with a variable dimension."""
    return frozenset(
        spec.output(name, tensor.name)
        for name, signature in spec.signatures.items()
        for tensor in signature.outputs
        if not _has_rows(tensor) or not all(map(_has_rows, signature.inputs))
    )


def _has_rows(tensor: TensorSpec) -> bool:
    return tensor.shape is None or tensor.shape[:1] == (-1,)
