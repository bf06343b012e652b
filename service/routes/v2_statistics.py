"""What the Open Inference Protocol's statistics tell, from `service.statistics`."""

from collections.abc import Iterable
from typing import Any

from service.errors import HeadserveError
from service.lifecycle.manager import Manager
from service.lifecycle.status import VersionStatus
from service.statistics import BatchTotals, Total, Totals


def statistics(manager: Manager, models: Iterable[str], version: int | None = None) -> dict[str, Any]:
    """Of the versions that are served, all or the one; raises what `Manager.acquire` does for one that is not."""
    if version is not None:
        return {"model_stats": [_of(manager, model, version) for model in models]}
    told = []
    for model in models:
        for known in manager.status(model).versions:
            if known.state == "available":
                try:
                    told.append(_of(manager, model, known.version))
                except HeadserveError:  # it has just gone
                    continue
    return {"model_stats": told}


def _of(manager: Manager, model: str, version: int) -> dict[str, Any]:
    with manager.acquire(model, version) as loaded:
        totals = loaded.statistics.totals
    known = next((known for known in manager.status(model).versions if known.version == version), None)
    return {
        "name": model,
        "version": str(version),
        "last_inference": round(totals.last_at * 1000),
        "inference_count": totals.rows,
        "execution_count": totals.computed.infer.count,
        "inference_stats": {
            "success": _total(totals.success),
            "fail": _total(totals.fail),
            "queue": _total(totals.queue),
            **_computed(_with_codec(totals)),
            "cache_hit": _total(Total()),
            "cache_miss": _total(Total()),
        },
        "response_stats": {},
        "batch_stats": [{"batch_size": rows, **_computed(of)} for rows, of in sorted(totals.by_rows.items())],
        "memory_usage": _memory(known),
    }


def _with_codec(totals: Totals) -> BatchTotals:
    """The runs' totals; reading a request is part of its input, and writing its answer of its output."""
    computed = totals.computed
    return BatchTotals(
        Total(computed.input.count, computed.input.ns + totals.decode.ns),
        computed.infer,
        Total(computed.output.count, computed.output.ns + totals.encode.ns),
    )


def _computed(of: BatchTotals) -> dict[str, Any]:
    return {"compute_input": _total(of.input), "compute_infer": _total(of.infer), "compute_output": _total(of.output)}


def _total(of: Total) -> dict[str, int]:
    return {"count": of.count, "ns": of.ns}


def _memory(known: VersionStatus | None) -> list[dict[str, Any]]:
    """What loading the version added to the process."""
    return [{"type": "CPU", "id": 0, "byte_size": known.resident_bytes}] if known is not None else []
