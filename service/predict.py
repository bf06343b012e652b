"""The request path: bytes in, decoded and checked, computed off the event loop, bytes out."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, Protocol, TypeVar

from service.lifecycle.manager import Manager
from service.types import InferRequest, InferResponse, ModelSpec, nbytes

P = ParamSpec("P")
T = TypeVar("T")

LARGE_BYTES = 1 << 16
"""From here on, decoding and encoding take long enough to leave the event loop for."""


class Codec(Protocol):
    """What every module of `service.codec` that is a protocol has."""

    def decode(self, body: bytes, spec: ModelSpec) -> InferRequest:
        """The request, checked against the model."""

    def encode(self, response: InferResponse) -> bytes:
        """The answer."""


async def predict(manager: Manager, compute: Executor, codec: Codec, model: str, version: int | None, body: bytes) -> bytes:
    """The encoded answer. A request is checked before it is queued, so that a bad one costs its sender only.

    Raises:
        HeadserveError: of the kind that fits; the codec writes it, too.
    """
    with manager.acquire(model, version) as servable:
        request = await _aside(len(body), codec.decode, body, servable.spec)
        loop = asyncio.get_running_loop()
        outputs = await loop.run_in_executor(compute, servable.run, request.inputs, request.outputs)
        response = InferResponse(servable.spec.name, servable.spec.version, outputs)
        return await _aside(nbytes(outputs), codec.encode, response)


async def _aside(size_bytes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of the work, done in a thread when there is much of it."""
    if size_bytes < LARGE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
