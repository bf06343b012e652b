"""Run the application under uvicorn until a signal.

SIGTERM and SIGHUP: `/readyz` is 503 at once, and every response closes its connection. For `drain_delay_ms` the server still
accepts and answers requests, until load balancers notice. Then it closes the port, and running requests have
`drain_timeout_ms`. SIGINT skips the delay. A second signal ends the process at once.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from ipaddress import ip_address
from types import FrameType
from typing import NoReturn

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from service.errors import ConfigError
from service.lifecycle.manager import Manager
from service.server.connections import Connections
from service.server.protocol import BoundedProtocol
from service.server.tls import Handshake, Tls
from service.settings import Settings
from service.trials.guard import Guard
from service.types import ASGIApp, Receive, Scope, Send

Announce = Callable[[str], None]
MODELS_CLOSE_S = 2.0
"""Time to unload the models after the last request."""

OTHER_FILES = 512
"""Open files besides connections: models, logs, pipes."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

log = structlog.get_logger("headserve.server")


class _Server(uvicorn.Server):
    """Calls `announce` with the URL once the server listens, and drains connections and manager after the first signal."""

    def __init__(self, app: FastAPI, connections: Connections, announce: Announce):
        super().__init__(uvicorn_config(app, connections))
        self._settings: Settings = app.state.settings
        self._manager: Manager = app.state.manager
        self._guard: Guard = app.state.guard
        self._connections = connections
        self._announce = announce
        self._signal: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            sys.exit(STARTUP_FAILURE)
        for sock in sockets or ():
            self._announce(_url(sock, secure=self._settings.tls_certificate is not None))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install the handlers. uvicorn's own raises the signals again at the end, which would change the exit code."""
        for number in SIGNALS:
            signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._signal is not None:
            _exit(128 + sig)
        self._signal = sig
        # In an empty context: the signal may interrupt a request, whose log fields do not belong here.
        Context().run(log.info, "draining", signal=signal.Signals(sig).name)
        self._manager.draining = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        delay_s = 0.0 if self._signal == signal.SIGINT else self._settings.drain_delay_ms / 1000
        limit_s = delay_s + self._settings.drain_timeout_ms / 1000 + MODELS_CLOSE_S
        asyncio.get_running_loop().call_later(limit_s, _exit, 0)
        await asyncio.to_thread(self._guard.stop)
        self._connections.announce_end()
        await asyncio.sleep(delay_s)
        self._connections.shutdown()
        await super().shutdown(sockets)


def run(app: FastAPI, settings: Settings, announce: Announce) -> None:
    """Serve until a signal, and end the process. Raises ConfigError for a port in use, or an exposed server without keys."""
    listening = _bind(settings)
    _raise_file_limit(settings.max_connections)
    connections = Connections(settings, app.state.rejections)
    app.state.guard.watch_signals()
    _Server(app, connections, announce).run([listening])
    _exit(0)


def uvicorn_config(app: FastAPI, connections: Connections) -> uvicorn.Config:
    """Return the configuration of uvicorn for this application."""
    settings: Settings = app.state.settings
    tls: Tls | None = app.state.tls
    protocol: Callable[..., asyncio.Protocol] = partial(BoundedProtocol, connections, settings.max_header_bytes)

    def handshake(tls: Tls, **given: object) -> Handshake:
        return Handshake(connections, tls.context, partial(protocol, **given))

    return uvicorn.Config(
        _unwrapped(app),
        http=protocol if tls is None else partial(handshake, tls),  # type: ignore[arg-type] # any factory of protocols
        ws="none",
        log_config=None,
        access_log=False,  # service.middleware.access_log writes one
        server_header=False,
        proxy_headers=False,
        # Otherwise a request starts with the log fields, trace and key of the request before it on its connection.
        reset_contextvars=True,
        timeout_graceful_shutdown=settings.drain_timeout_ms / 1000,  # type: ignore[arg-type] # a fraction works, too
    )


def check_exposed(address: str, settings: Settings) -> None:
    """Raise ConfigError if other machines can reach the address, and there are neither keys nor `no_auth`."""
    parsed = ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if parsed.version == 6 else None
    is_loopback = parsed.is_loopback or (mapped is not None and mapped.is_loopback)
    if not is_loopback and settings.keys_file is None and not settings.no_auth:
        raise ConfigError(
            f"On {settings.host or 'every address'}, other machines could send requests without a key. Create keys with "
            "'headserve keys add NAME --keys-file keys.json' and serve with --keys-file keys.json, or allow requests without a "
            "key with --no-auth (HEADSERVE_NO_AUTH=true). The default --host, 127.0.0.1, needs neither."
        )


def _raise_file_limit(connections: int) -> None:
    """Raise the limit of open files, often 1024, to what `connections` need, as far as the hard limit allows."""
    needed = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < needed:
            log.warning("the system allows fewer open files than max_connections needs", allowed=allowed, needed=needed)


def _unwrapped(app: FastAPI) -> ASGIApp:
    """Return the application's middleware stack without the lookups that FastAPI makes for each request."""
    stack = app.middleware_stack or app.build_middleware_stack()

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = app
        await stack(scope, receive, send)

    return call


def _exit(code: int) -> NoReturn:
    """End the process without waiting for threads: computing and loading cannot be stopped, and nothing is lost with them."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _bind(settings: Settings) -> socket.socket:
    """Return a bound socket that does not listen yet. The check needs the address that the host name resolves to."""
    host, port = settings.host, settings.port
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        check_exposed(bound.getsockname()[0], settings)
    except OSError as error:
        bound.close()
        raise ConfigError(f"Cannot listen on {host}, port {port}: {error.strerror}; try another --port, or 0.") from error
    except ConfigError:
        bound.close()
        raise
    return bound


def _url(bound: socket.socket, secure: bool) -> str:
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - an address to call, not to listen on
    return f"http{'s' * secure}://" + (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
