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
    """

    def __init__(self, timeout_s: float, compute_threads: int):
        self._timeout_s = timeout_s
        self._compute_threads = compute_threads
        self._lock = threading.Lock()
        self._template: _Template | None = None
        self._stopped = False

    def run(self, model: str, version: int, folder: Path, options: ModelOptions) -> None:
        """Load and warm up the version in a child process. Blocks; raises ModelLoadError if it does not come through."""
        limits = Limits(seconds=self._timeout_s, memory_bytes=int(available_bytes() * MEMORY_SHARE), threads=MAX_THREADS)
        request = Request(
            model=model,
            version=version,
            folder=folder.absolute(),
            options=options,
            compute_threads=self._compute_threads,
            limits=limits,
        )
        report = self._reported(request)
        if report.outcome != "passed":
            raise ModelLoadError(str(report), transient=report.transient)

    def stop(self) -> None:
        """End the template; a trial ends when the server does, or when its own limit is reached."""
        with self._lock:
            self._stopped = True
            if self._template is not None:
                self._template.end()

    def _reported(self, request: Request) -> Report:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                template = self._send(theirs)
            ours.settimeout(IMPORT_S + request.limits.seconds)
            try:
                ours.sendall(request.model_dump_json().encode() + b"\n")
                with ours.makefile("rb") as file:
                    return Report.model_validate_json(file.read())
            except (OSError, ValidationError) as error:
                raise ModelLoadError(f"The trial could not be run: {template.reason or error}.", transient=True) from error

    def _send(self, trial: socket.socket) -> "_Template":
        """Send the template the socket of a trial; start another template if it has ended."""
        with self._lock:
            if self._stopped:
                raise ModelLoadError("No trial is started, because the server stops.", transient=True)
            if self._template is None or not self._template.accepts(trial):
                self._template = _Template()
                if not self._template.accepts(trial):
                    raise ModelLoadError(f"The trial could not be started: {self._template.reason}.", transient=True)
            return self._template


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
    def reason(self) -> str:
        """The last line that the process has written, for instance of an error while importing."""
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def end(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.terminate()
        self._process.wait()
