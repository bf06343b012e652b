"""The program that tries versions out: it imports TensorFlow once, and forks for each trial.

    server ──socket──→ template ──fork──→ supervisor ──fork──→ trial

The server sends the template one end of a socket for each trial, through which the supervisor reads the request and answers
with the report. The supervisor watches the trial: its memory, threads, time, log and end. Each of the three processes has one
thread until the trial loads the model.
"""

import os
import re
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from service.errors import HeadserveError
from service.lifecycle.loader import is_transient
from service.runtime.memory import available_bytes
from service.trials.confinement import confine, end_with_parent
from service.trials.report import Report, Request

IDLE_S = 30
"""Seconds without a trial after which the template ends; the server starts another one when needed."""
WATCH_S = 0.02
"""Seconds between two measurements of a trial's memory, which can grow by gigabytes a second."""
RESERVE_BYTES = 512 * 2**20
"""Memory that a trial leaves to others, however much it was granted: theirs may have grown since."""
LOG_BYTES = 64 * 1024
"""Last part of a trial's log that is searched for its last operations."""
MAX_OPERATIONS = 3
MAX_TEXT = 300
_OPERATION = re.compile(rb"Process node: \d+ step -?\d+ \{\{node ([^}]+)\}\} = (\w+)")
_FATAL = re.compile(rb"(?:^|\n)(?:F\d{4} |[^\n]*: F )[^\n]*?\] ([^\n]+)")
_UNNAMED = re.compile(rb"_Retval|_Arg|_Recv|_Send|_SOURCE|_SINK|NoOp")


def main(number: int) -> None:
    """Answer the requests that come through the socket with this file number, until it is closed or idle."""
    import service.protocols.native.codec
    import service.runtime.model  # noqa: F401
    from service.runtime import devices

    devices.import_tensorflow()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the server as well
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors that end leave no zombies
    server = socket.socket(fileno=number)
    server.settimeout(IDLE_S)
    while True:
        try:
            data, files, _, _ = socket.recv_fds(server, 1, 1)
        except TimeoutError:
            return
        if not data:
            return
        if os.fork() == 0:
            server.close()
            try:
                with socket.socket(fileno=files[0]) as requester:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    request = Request.model_validate_json(_line(requester))
                    requester.sendall(supervised(request, requester).model_dump_json().encode())
            finally:  # whatever happened, this process is not the template
                os._exit(0)
        os.close(files[0])


def supervised(request: Request, requester: socket.socket) -> Report:
    """Run the trial in a child process, and return its report. Raises SystemExit once `requester` has no other end."""
    with tempfile.TemporaryDirectory(prefix="headserve-trial-") as folder:
        (read_log, write_log), (read_steps, write_steps) = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            requester.close()
            _try(request, write_log, write_steps, Path(folder))
        os.close(write_log)
        os.close(write_steps)
        return _Watch(request, pid, read_log, read_steps, requester).report()


class _Watch:
    """A running trial as its supervisor sees it."""

    def __init__(self, request: Request, pid: int, log: int, steps: int, requester: socket.socket):
        self._limits = request.limits
        self._pid = pid
        self._log, self._steps, self._requester = log, steps, requester
        self._began_s = time.monotonic()
        self._before_bytes = _resident_bytes(os.getpid())
        self._logged, self._steps_read = b"", b""

    def report(self) -> Report:
        """Wait for the trial's end; end it at a limit."""
        exceeded = None
        while exceeded is None and self._read():
            exceeded = self._exceeded()
        if exceeded is not None:
            os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        self._read_rest()
        *steps, last = self._steps_read.decode().splitlines() or ["it started"]
        if exceeded is None and last.startswith("{"):
            return Report.model_validate_json(last)
        step, operations = steps[-1] if last.startswith("{") else last, tuple(last_operations(self._logged))
        if exceeded is None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            exceeded = self._time_limit
        if exceeded is not None:
            return Report(outcome="exceeded", step=step, error=exceeded, operations=operations)
        return Report(outcome="ended", step=step, error=self._end(status), operations=operations)

    def _read(self) -> bool:
        """Read what the trial has written; return whether it may write more."""
        watched: list[int | socket.socket] = [self._log, self._steps, self._requester]
        ready, _, _ = select.select(watched, [], [], WATCH_S)
        if self._requester in ready:  # the server has ended, or waits no longer
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            raise SystemExit
        if self._log in ready:
            self._logged = (self._logged + os.read(self._log, LOG_BYTES))[-LOG_BYTES:]
        if self._steps in ready:
            read = os.read(self._steps, LOG_BYTES)
            self._steps_read += read
            return bool(read)
        return True

    def _read_rest(self) -> None:
        os.set_blocking(self._log, False)
        with suppress(BlockingIOError):
            while data := os.read(self._log, LOG_BYTES):
                self._logged = (self._logged + data)[-LOG_BYTES:]

    def _exceeded(self) -> str | None:
        """Return the limit that the trial has exceeded."""
        limits = self._limits
        if time.monotonic() - self._began_s > limits.seconds:
            return self._time_limit
        if _resident_bytes(self._pid) - self._before_bytes > limits.memory_bytes:
            return f"the limit of {limits.memory_bytes / 1e9:.1f} GB of memory"
        if available_bytes() < RESERVE_BYTES:
            return "the memory that is available"
        if _threads(self._pid) > limits.threads:
            return f"the limit of {limits.threads} threads"
        return None

    @property
    def _time_limit(self) -> str:
        return f"the limit of {self._limits.seconds:g} s (--load-timeout-ms)"

    def _end(self, status: int) -> str:
        fatal = _FATAL.search(self._logged)
        reason = f" ({fatal[1].decode(errors='replace')[:MAX_TEXT]})" if fatal else ""
        code = os.waitstatus_to_exitcode(status)
        return f"{signal.Signals(-code).name}{reason}" if code < 0 else f"exit code {code}{reason}"


def last_operations(log: bytes) -> Iterable[str]:
    """Return the operations that TensorFlow's executor began last, from its log; the latest one first."""
    found = [
        (name.decode(errors="replace")[:MAX_TEXT], kind.decode())
        for name, kind in _OPERATION.findall(log)
        if not _UNNAMED.fullmatch(kind)
    ]
    return [f"{name!r} ({kind})" for name, kind in list(dict.fromkeys(reversed(found)))[:MAX_OPERATIONS]]


def _try(request: Request, log: int, steps: int, folder: Path) -> NoReturn:
    """Load and warm up the version in this process, write the report to `steps`, and end the process."""
    try:
        end_with_parent()
        os.nice(10)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["TMPDIR"] = str(folder)
        limits = request.limits
        confine(limits.memory_bytes, int(limits.seconds * (os.cpu_count() or 1)) + 1, folder)
        report = _loaded(request, steps)
    except BaseException as error:
        message = error.message if isinstance(error, HeadserveError) else f"{type(error).__name__}: {error}"
        transient = isinstance(error, Exception) and is_transient(error)
        report = Report(outcome="refused", error=message, transient=transient)
    os.write(steps, report.model_dump_json().encode())
    os._exit(0)


def _loaded(request: Request, steps: int) -> Report:
    from service.protocols.native import codec
    from service.runtime import devices, model

    os.write(steps, b"it was being loaded\n")
    devices.configure()
    loaded = model.load(request.model, request.version, request.folder, request.options, codec.decode, request.compute_threads)
    os.write(steps, b"it was being warmed up\n")
    loaded.warm_up()
    return Report(outcome="passed")


def _line(requester: socket.socket) -> bytes:
    with requester.makefile("rb") as file:
        return file.readline()


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - names only
    except OSError:
        return 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
