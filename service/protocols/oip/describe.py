"""A model's metadata, configuration in Triton's form, statistics, and entries in the repository's index."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from service.counters import BatchTotals, Counts
from service.counters.histogram import Histogram
from service.errors import HeadserveError
from service.lifecycle.served_models import BUSY, ModelStatus, ServedModels, State, VersionStatus, by_version
from service.models.options import ModelOptions
from service.protocols.oip.binary import BYTES, datatype
from service.types import ModelSpec, TensorSpec

PLATFORM = "tensorflow_savedmodel"
_STATES = {State.AVAILABLE: "READY", State.UNLOADING: "UNLOADING"} | dict.fromkeys(BUSY, "LOADING")
UNAVAILABLE = "UNAVAILABLE"


def metadata(spec: ModelSpec, versions: Iterable[int]) -> dict[str, Any]:
    """Return the model's name, the versions that are served, inputs and outputs."""
    return {
        "name": spec.name,
        "versions": [str(version) for version in versions],
        "platform": PLATFORM,
        "inputs": [_tensor(tensor) for tensor in spec.inputs],
        "outputs": [_tensor(tensor) for tensor in _outputs(spec)],
    }


def config(spec: ModelSpec, options: ModelOptions) -> dict[str, Any]:
    """Return the model's configuration. As in Triton, shapes leave out the first dimension if the model is batched."""
    outputs = _outputs(spec)
    batches = all((tensor.shape or ())[:1] == (-1,) for tensor in (*spec.inputs, *outputs))
    batching = options.batching
    answer: dict[str, Any] = {
        "name": spec.name,
        "platform": PLATFORM,
        "backend": "tensorflow",
        "version_policy": _version_policy(options),
        "max_batch_size": batching.max_batch_size if batches else 0,
        "input": [_configured(tensor, batches) | ({} if tensor.required else {"optional": True}) for tensor in spec.inputs],
        "output": [_configured(tensor, batches) for tensor in outputs],
        "parameters": {"heads": {"string_value": ",".join(head.name for head in spec.heads)}},
    }
    if batches:
        sizes = {"preferred_batch_size": list(batching.allowed_batch_sizes)} if batching.allowed_batch_sizes else {}
        answer["dynamic_batching"] = {"max_queue_delay_microseconds": batching.batch_timeout_micros} | sizes
    return answer


def _outputs(spec: ModelSpec) -> list[TensorSpec]:
    return [tensor for tensor in spec.output_tensors.values() if datatype(tensor.dtype) is not None]


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    """Return the description of a tensor; an unknown rank becomes the shape [-1], since the protocol has none."""
    shape = [-1] if tensor.shape is None else list(tensor.shape)
    return {"name": tensor.name, "datatype": datatype(tensor.dtype) or tensor.dtype.upper(), "shape": shape}


def _configured(tensor: TensorSpec, batches: bool) -> dict[str, Any]:
    entry = _tensor(tensor)
    kind = "STRING" if entry["datatype"] == BYTES else entry["datatype"]
    return {"name": entry["name"], "data_type": f"TYPE_{kind}", "dims": entry["shape"][1 if batches else 0 :]}


def _version_policy(options: ModelOptions) -> dict[str, Any]:
    policy = options.versions
    if policy.specific is not None:
        return {"specific": {"versions": [str(version) for version in policy.specific]}}
    return {"all": {}} if policy.all else {"latest": {"num_versions": policy.latest or 1}}


def statistics(manager: ServedModels, models: Iterable[str], version: int | None = None) -> dict[str, Any]:
    """Return the statistics of the served versions, or of one, for which the errors of `ServedModels.lookup` are raised."""
    if version is not None:
        return {"model_stats": [_of_version(manager, model, version) for model in models]}
    found = []
    for model in models:
        for known in manager.status(model).versions:
            if known.state == "available":
                with suppress(HeadserveError):  # unloaded in the meantime
                    found.append(_of_version(manager, model, known.version))
    return {"model_stats": found}


def _of_version(manager: ServedModels, model: str, version: int) -> dict[str, Any]:
    with manager.lookup(model, version).statistics.counted() as counts:
        numbers = _numbers(counts)
    loaded = [known for known in manager.status(model).versions if known.version == version]
    memory = [{"type": "CPU", "id": 0, "byte_size": known.resident_bytes} for known in loaded[:1]]
    return {"name": model, "version": str(version), **numbers, "memory_usage": memory}


def _numbers(counts: Counts) -> dict[str, Any]:
    """Return the counts of one version; decoding counts as input, encoding as output."""
    decoding_ns, encoding_ns = (int(counts.seconds[step].total) for step in ("decode", "encode"))
    return {
        "last_inference": round(counts.last_at * 1000),
        "inference_count": counts.rows,
        "execution_count": counts.computed.runs,
        "inference_stats": {
            "success": _of_times(counts.success),
            "fail": _of_times(counts.fail),
            "queue": _of_times(counts.seconds["queue"]),
            **_computed(counts.computed, decoding_ns, encoding_ns),
            "cache_hit": _total(0, 0),
            "cache_miss": _total(0, 0),
        },
        "response_stats": {},
        "batch_stats": [{"batch_size": rows, **_computed(of)} for rows, of in sorted(counts.by_rows.items())],
    }


def _of_times(times: Histogram) -> dict[str, int]:
    return _total(times.count, int(times.total))


def _computed(of: BatchTotals, decoding_ns: int = 0, encoding_ns: int = 0) -> dict[str, Any]:
    return {
        "compute_input": _total(of.runs, of.input_ns + decoding_ns),
        "compute_infer": _total(of.runs, of.infer_ns),
        "compute_output": _total(of.runs, of.output_ns + encoding_ns),
    }


def _total(count: int, ns: int) -> dict[str, int]:
    return {"count": count, "ns": ns}


def index(status: ModelStatus) -> list[dict[str, str]]:
    """Return the entries of a model's versions in the repository's index."""
    return [_index_entry(status, known) for _, known in sorted(by_version(status.versions).items())]


def _index_entry(status: ModelStatus, known: VersionStatus) -> dict[str, str]:
    state, reason = _STATES.get(State(known.state), UNAVAILABLE), ""
    if state == UNAVAILABLE and status.state == "unloaded":
        reason = "unloaded"
    elif state == UNAVAILABLE:
        reason = known.error or ("not loaded yet" if known.wanted else "not asked for by the version policy")
    return {"name": status.name, "version": str(known.version), "state": state, "reason": reason}
