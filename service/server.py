"""Runs the application under uvicorn until a signal ends it, and says where it listens."""

import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from service.config import Settings
from service.errors import ConfigError

Announce = Callable[[str], None]


class _Server(uvicorn.Server):
    """Calls `announce` with the address once requests are answered."""

    def __init__(self, config: uvicorn.Config, announce: Announce):
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            self._announce(_url(sockets[0]))


def run(app: FastAPI, settings: Settings, announce: Announce) -> None:
    """Serves until SIGTERM or SIGINT; running requests are finished first. Raises ConfigError for a port in use."""
    # Uvicorn drains at the first signal and raises it once more when it is done. By then nothing is left to be ended: the
    # process has done what it was told, and its exit code says so.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    listening = _bind(settings.host, settings.port)
    config = uvicorn.Config(app, log_config=None, access_log=settings.log_level == "debug", server_header=False)
    _Server(config, announce).run([listening])


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet, so that nobody waits in line while models load."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigError(f"Cannot listen on {host}, port {port}: {error.strerror}; try another --port, or 0.") from error
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - an address to call, not to listen on
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
