"""Waits for models that are loaded at their first request."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from service.errors import DeadlineExceededError, NotAvailableError
from service.lifecycle.served_models import Loaded, ServedModels

DESCRIPTION_WAIT_S = 60.0
"""How long a request for the description of a model waits until the model is loaded."""

T = TypeVar("T")


async def once_loaded(manager: ServedModels, model: str, find: Callable[[], T], deadline: float) -> T:
    """Return what `find` returns; if it raises because the model is loaded on demand, load the model first.

    Args:
        manager: the models.
        model: the model's name.
        find: raises NotAvailableError while the model is not loaded.
        deadline: in seconds of `time.monotonic`.

    Raises:
        DeadlineExceededError: the model is not loaded by then; it goes on loading.
        HeadserveError: what `find` raises, or ModelLoadError.
    """
    while True:
        try:
            return find()
        except NotAvailableError:
            if not manager.loads_on_demand(model):
                raise
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await asyncio.shield(asyncio.wrap_future(manager.demand(model)))
        except TimeoutError:
            raise DeadlineExceededError(
                f"Model {model!r} is loaded at its first request, and is still loading; try again, or allow more time "
                "(X-Request-Timeout-Ms)."
            ) from None


async def look_up(manager: ServedModels, model: str, version: int | None = None, label: str | None = None) -> Loaded:
    """Return a version for its description, without holding it. Raises what `Manager.lookup` does, and as `once_loaded`."""
    find = partial(manager.lookup, model, version, label)
    return await once_loaded(manager, model, find, time.monotonic() + DESCRIPTION_WAIT_S)
