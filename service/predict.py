"""The request path: bytes in, decoded and checked, computed in a batch off the event loop, bytes out."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from service.api import Call, Codec, Encoded
from service.batch import rows_of
from service.errors import DeadlineExceededError, TooManyRowsError
from service.lifecycle.manager import Manager
from service.note import note
from service.statistics import Request
from service.types import InferRequest, InferResponse, ModelSpec, nbytes

LARGE_BYTES = 1 << 16
"""From here on, decoding and encoding take long enough to leave the event loop for."""

HUGE_BYTES = 1 << 20
"""From here on, bodies are decoded one after the other: a list in JSON takes 3 bytes, and in Python 64."""

_one_by_one = ThreadPoolExecutor(1, "decode")

VERSION_HEADER = b"x-model-version"
"""The header of an answer that says which version computed it."""


async def predict(manager: Manager, call: Call, body: bytes, deadline: float, max_rows: int, timed: Request) -> Encoded:
    """The encoded answer. A request is checked before it is queued, so that a bad one costs its sender only.

    Args:
        manager: lends the model.
        call: which model, and the codec of body and answer.
        body: the request.
        deadline: seconds on the clock of `time.monotonic`; what the body says itself comes first, if it is earlier.
        max_rows: how many it may ask for.
        timed: is told how far it has come.

    Raises:
        HeadserveError: of the kind that fits; the protocol writes it, too.
    """
    codec, noted = call.codec, note.get()
    if noted is not None:
        noted.model = call.model
    with manager.acquire(call.model, call.version, call.label) as loaded:
        timed.lent(loaded.statistics)
        spec = loaded.spec
        if noted is not None:
            noted.version, noted.timed = spec.version, timed
        small = len(body) < LARGE_BYTES
        request = codec.decode(body, spec) if small else await _decoded(codec, body, spec, deadline)
        timed.decoded(request)
        rows = rows_of(request.inputs)
        if rows is not None and rows > max_rows:
            raise TooManyRowsError(
                f"Expected at most {max_rows} rows, but got {rows}; send fewer at once, or raise HEADSERVE_MAX_ROWS.",
                max_rows=max_rows,
            )
        if noted is not None:
            noted.rows = rows
        if request.deadline is not None:
            deadline = min(deadline, request.deadline)
        outputs = await loaded.infer(request, deadline)
        timed.computed()
        response = InferResponse(spec.name, spec.version, outputs)
        small = nbytes(outputs) < LARGE_BYTES
        answer = codec.encode(response) if small else await asyncio.to_thread(codec.encode, response)
        return Encoded(answer.chunks, [*answer.headers, (VERSION_HEADER, b"%d" % spec.version)])


async def _decoded(codec: Codec, body: bytes, spec: ModelSpec, deadline: float) -> InferRequest:
    """What a large body asks for, decoded in a thread."""
    threads = _one_by_one if len(body) >= HUGE_BYTES else None  # the loop's own
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await asyncio.get_running_loop().run_in_executor(threads, codec.decode, body, spec)
    except TimeoutError:
        raise DeadlineExceededError(
            f"The request of {len(body)} bytes was not decoded within the time that it gave; send fewer rows at once."
        ) from None
