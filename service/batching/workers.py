"""Threads for the runs of all models of the process: they start on demand and end after they have been idle for a while."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeAlias

import structlog

IDLE_S = 10.0
"""Time without a job after which a thread ends."""

Release: TypeAlias = Callable[[], None]
"""Called by a job that is about to end: its thread may get the next job from here on."""

Job: TypeAlias = Callable[[Release], None]

log = structlog.get_logger("headserve.batching")


class Workers:
    """A pool of threads without an upper limit. The thread that was idle for the shortest time gets the next job."""

    def __init__(self, idle_s: float = IDLE_S):
        self._idle_s = idle_s
        self._idle: list[_Worker] = []  # `append`, `pop` and `remove` are atomic

    def start(self, job: Job) -> None:
        """Call the job in a thread. Raises RuntimeError if the system allows no further thread."""
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = _Worker(self._idle, self._idle_s)
            worker.jobs.put(job)
            threading.Thread(target=worker.work, name="batches", daemon=True).start()
        else:
            worker.jobs.put(job)


class _Worker:
    def __init__(self, idle: "list[_Worker]", idle_s: float):
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        self._idle = idle
        self._idle_s = idle_s
        self._released = False

    def work(self) -> None:
        """Call one job after the other; end when there is none for a while."""
        while True:
            try:
                job = self.jobs.get(timeout=self._idle_s)
            except Empty:
                if self._ends():
                    return
                continue
            self._released = False
            try:
                job(self._release)
            except Exception:
                log.exception("job failed")
            del job  # it holds a model
            self._release()

    def _release(self) -> None:
        if not self._released:
            self._released = True
            self._idle.append(self)

    def _ends(self) -> bool:
        try:
            self._idle.remove(self)
        except ValueError:  # a job is being put
            return False
        return True


SHARED = Workers()
"""The threads of this process."""
