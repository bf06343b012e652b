"""The request path: bytes in, decoded and checked, computed in a batch off the event loop, bytes out."""

import asyncio
from collections.abc import Callable
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


async def predict(
    manager: Manager,
    codec: Codec,
    model: str,
    body: bytes,
    *,
    version: int | None = None,
    label: str | None = None,
    deadline: float | None = None,
) -> bytes:
    """The encoded answer. A request is checked before it is queued, so that a bad one costs its sender only.

    Args:
        manager: lends the model.
        codec: the protocol of `body` and answer.
        model: its name.
        body: the request.
        version: the version wanted, if any.
        label: its label, if any.
        deadline: seconds on the clock of `time.monotonic`, if there is one.

    Raises:
        HeadserveError: of the kind that fits; the codec writes it, too.
    """
    with manager.acquire(model, version, label) as loaded:
        spec = loaded.spec
        request = codec.decode(body, spec) if len(body) < LARGE_BYTES else await _aside(codec.decode, body, spec)
        outputs = await loaded.infer(request, deadline)
        response = InferResponse(spec.name, spec.version, outputs)
        return codec.encode(response) if nbytes(outputs) < LARGE_BYTES else await _aside(codec.encode, response)


async def _aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of the work, done in a thread."""
    return await asyncio.to_thread(work, *args, **kwargs)
