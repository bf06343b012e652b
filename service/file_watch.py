"""Files that are reloaded when they change."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from service.errors import ConfigError

log = structlog.get_logger("headserve.server")


class WatchedFiles:
    """Calls `reload` when one of the files has changed; if that raises ConfigError, the previous contents stay in use.

    A failed reload is repeated at every check: its cause may be the system, such as a lack of file descriptors. In the log, the
    contents are named `what`.
    """

    def __init__(self, what: str, files: Iterable[Path], reload: Callable[[], None]):
        self._what = what
        self._files = tuple(files)
        self._reload = reload
        self._loaded = self._state()
        self._error: str | None = None

    def check(self) -> None:
        """Reload the files if they have changed."""
        state = self._state()
        if state == self._loaded:
            return
        try:
            self._reload()
        except ConfigError as error:
            if error.message != self._error:
                log.error(f"{self._what} not reloaded; the previous ones stay in use", error=error.message)
            self._error = error.message
        else:
            self._loaded, self._error = state, None
            log.info(f"{self._what} reloaded", files=[str(path) for path in self._files])

    async def watch(self, interval_s: float) -> None:
        """Check forever, in a thread: a disk may be slow."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await asyncio.to_thread(self.check)
            except Exception:
                log.exception(f"check of {self._what} failed; the next one follows")

    def _state(self) -> list[tuple[int, ...] | None]:
        """Return a value that differs once a file is written, replaced or removed, even within one tick of the clock."""
        return [_identity(path) for path in self._files]


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


@asynccontextmanager
async def watching(interval_s: float, files: Iterable[WatchedFiles]) -> AsyncIterator[None]:
    """Check the files at this interval while the block runs."""
    tasks = [asyncio.create_task(each.watch(interval_s)) for each in files]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
