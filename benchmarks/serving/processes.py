"""A server's processes: started, measured and ended together, whatever it starts itself.

This process is made the one that orphans fall to, so that all its descendants are the server's, also those whose parent ended.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .servers import REPOSITORY, SERVERS, Server

PR_SET_CHILD_SUBREAPER = 36
TERM_TIMEOUT_S = 20
SURVIVORS_TIMEOUT_S = 5


@contextlib.contextmanager
def running(server: Server, environment: dict[str, str], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process and its address; it and all that it started are ended afterwards, by their ids."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    ports = free_ports(3)
    arguments = [argument.format(*ports) for argument in server.arguments]
    variables = {name: value.format(*ports) for name, value in server.environment.items()}
    paths = os.pathsep.join(map(str, (SERVERS, REPOSITORY)))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [server.python, *arguments],
            env=environment | {"PYTHONPATH": paths} | variables,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        yield process, f"http://127.0.0.1:{ports[0]}"
    finally:
        end(process)


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks the server to end, then its survivors, then insists."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(TERM_TIMEOUT_S)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for pid in descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        until_s = time.monotonic() + SURVIVORS_TIMEOUT_S
        while descendants() and time.monotonic() < until_s:
            _reap(process)
            time.sleep(0.05)


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Takes leave of orphans that ended."""
    process.poll()
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def descendants(pid: int | None = None) -> list[int]:
    """All processes below this one."""
    pid = pid or os.getpid()
    try:
        lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    children = [int(child) for each in lists for child in each]
    return children + [below for child in children for below in descendants(child)]


def cpu_s() -> float:
    """Processor time that the server's processes have used, with that of their children which ended."""
    ticks = 0
    for pid in descendants():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
