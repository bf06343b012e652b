"""A client that hangs up while its request waits: the work is cancelled, and its place in the queue is free."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect
from starlette.types import Receive

WATCH_AFTER_S = 0.05
"""Until then nobody looks: most requests are answered sooner, and a task that looks costs more than they do."""


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncIterator[None]:
    """Cancels what the block awaits when the client hangs up; raises ClientDisconnect then.

    Args:
        receive: of the request, whose body has been read to its end.
    """
    loop, work = asyncio.get_running_loop(), asyncio.current_task()
    watcher: asyncio.Task[None] | None = None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            continue
        gone = True
        if work is not None:
            work.cancel()

    def start() -> None:
        nonlocal watcher
        watcher = loop.create_task(watch())

    timer = loop.call_later(WATCH_AFTER_S, start)
    try:
        yield
    except asyncio.CancelledError:
        if gone and work is not None and not work.uncancel():
            raise ClientDisconnect from None
        raise
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.cancel()
