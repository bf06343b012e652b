"""The memory that models loaded on demand may use together: which of them make room for the next one."""

import time
from collections.abc import Collection

from service.lifecycle.model_versions import ModelVersions
from service.lifecycle.record import Record
from service.lifecycle.served_models import BUSY, State

MIN_STAY_S = 1.0
"""How long a model stays in memory at least, unless it has been used: the request that it was loaded for is on its way."""


class MemoryBudget:
    """Decides which models to unload, the least recently used first.

    A model that is larger than the budget is loaded when no other one is in memory.

    Args:
        max_bytes: memory of all models together.
    """

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes

    def to_unload(self, models: Collection[ModelVersions], needed: Record | None) -> list[ModelVersions]:
        """Return the models to unload so that `needed` fits; without it, so that the models in memory do.

        The model that was used last stays if no other one is to be loaded.
        """
        over = _memory_bytes(models) - sum(map(_leaving_bytes, models)) - self._max_bytes
        over += needed.memory_bytes if needed is not None else 0
        unused = sorted(filter(_may_go, models), key=lambda versions: versions.used_s)
        chosen = []
        for versions in unused if needed is not None else unused[:-1]:
            if over <= 0:
                break
            if needed is None or versions.name != needed.disk.model:
                chosen.append(versions)
                over -= versions.memory_bytes
        return chosen

    def fits(self, models: Collection[ModelVersions], needed: Record) -> bool:
        """Return whether the version may be loaded now."""
        used = _memory_bytes(models)
        return used == 0 or used + needed.memory_bytes <= self._max_bytes


def _memory_bytes(models: Collection[ModelVersions]) -> int:
    return sum(versions.memory_bytes for versions in models)


def _leaving_bytes(versions: ModelVersions) -> int:
    return sum(record.memory_bytes for record in versions.records.values() if record.state is State.UNLOADING)


def _may_go(versions: ModelVersions) -> bool:
    if versions.unloaded is not None or not versions.available or any(r.state in BUSY for r in versions.records.values()):
        return False
    return versions.requests > 0 or time.monotonic() - versions.used_s > MIN_STAY_S
