"""Trials as the server requests them: one template process for all, started when the first version is to be tried."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

import structlog
from pydantic import ValidationError

from service.errors import ModelLoadError
from service.models.options import ModelOptions
from service.runtime.memory import available_bytes
from service.trials.report import Limits, Report, Request

IMPORT_S = 120.0
"""Seconds in which the template must have imported TensorFlow."""
MEMORY_SHARE = 0.8
"""Share of the available memory that a trial may use."""
MAX_THREADS = 512

log = structlog.get_logger("headserve.trials")


class Trials:
    """Loads versions in child processes. Every method may be called from any thread.

    Args:
        timeout_s: the longest duration of a trial.
        compute_threads: runs at the same time, as in the server.
        memory_bytes: memory that a trial may use; default: a share of what is available when it begins.
    """

    def __init__(self, timeout_s: float, compute_threads: int, memory_bytes: int | None = None):
        self._timeout_s = timeout_s
        self._compute_threads = compute_threads
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._template: _Template | None = None
        self._stopped = False

    def run(self, model: str, version: int, folder: Path, options: ModelOptions) -> None:
        """Load and warm up the version in a child process. Blocks; raises ModelLoadError if it does not come through."""
        memory_bytes = self._memory_bytes or int(available_bytes() * MEMORY_SHARE)
        limits = Limits(seconds=self._timeout_s, memory_bytes=memory_bytes, threads=MAX_THREADS)
        request = Request(
            model=model,
            version=version,
            folder=folder.absolute(),
            options=options,
            compute_threads=self._compute_threads,
            limits=limits,
        )
        report = self._reported(request) or self._reported(request)
        if report is None:
            raise ModelLoadError(f"The trial could not be run: {self._reason or 'its process ended'}.", transient=True)
        if report.outcome != "passed":
            raise ModelLoadError(str(report), transient=report.transient)

    def stop(self) -> None:
        """End the template; a trial ends when the server does, or when its own limit is reached."""
        with self._lock:
            self._stopped = True
            if self._template is not None:
                self._template.end()

    def _reported(self, request: Request) -> Report | None:
        """Return the report; None if a process ended before, such as a template that was idle for too long."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._send(theirs)
            ours.settimeout(IMPORT_S + request.limits.seconds)
            try:
                ours.sendall(request.model_dump_json().encode() + b"\n")
                with ours.makefile("rb") as file:
                    return Report.model_validate_json(file.read())
            except (OSError, ValidationError):
                return None

    @property
    def _reason(self) -> str:
        with self._lock:
            return "" if self._template is None else self._template.last_line

    def _send(self, trial: socket.socket) -> None:
        """Send the template the socket of a trial; start another template if it has ended."""
        with self._lock:
            if self._stopped:
                raise ModelLoadError("No trial is started, because the server stops.", transient=True)
            if self._template is None or not self._template.accepts(trial):
                self._template = _Template()
                self._template.accepts(trial)


class _Template:
    """The process of `service.trials.template`."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        # VLOG(1) of TensorFlow's executor names each operation that it begins.
        tracing = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "executor=1"}
        path = os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-m", "service.trials.template", str(theirs.fileno())],
                env=os.environ | tracing | {"PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def accepts(self, trial: socket.socket) -> bool:
        """Send the process the socket; return whether it still runs."""
        try:
            socket.send_fds(self._socket, [b"t"], [trial.fileno()])
        except OSError:
            self.end()
            return False
        return True

    @property
    def last_line(self) -> str:
        """The last line that the process has written, for instance of an error while importing; empty once it was ended."""
        if self._output.closed:
            return ""
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def end(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.kill()
        self._process.wait()
        self._output.close()
