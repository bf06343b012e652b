"""TLS: certificate and key with reload, and the handshake of a new connection."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from service.errors import ConfigError
from service.file_watch import WatchedFiles
from service.server.connections import Connections, ConnectionState, Phase

LOOP_TIMEOUT_S = 3600.0
"""Handshake timeout of the event loop, longer than every sensible `header_timeout_ms`, which `Connections` enforces."""


class Tls:
    """The SSL context of a server. Its files are read again when they change; open connections keep their certificate.

    The context in use is never changed: each handshake switches to the newest context. Raises ConfigError for unusable files.
    """

    def __init__(self, certificate: Path, key: Path | None):
        self._certificate, self._key = certificate, key
        self.polled = WatchedFiles("certificate and key", [path for path in (certificate, key) if path], self._read)
        self._read()
        self.context = self._newest
        self.context.sni_callback = self._choose

    def _read(self) -> None:
        self._newest = _context(self._certificate, self._key)

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._newest


def _context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    where = f"tls_certificate {str(certificate)!r}" + (f", tls_key {str(key)!r}" if key else "")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise ConfigError(f"{where}: there is no file {str(path)!r}.")
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ConfigError:
        raise ConfigError(f"{where}: the key is protected by a password; expected one that is not.") from None
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise ConfigError(f"{where}: expected a certificate and its private key in PEM, but: {reason}.") from None
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror}.") from None
    return context


def _no_password() -> NoReturn:
    raise ConfigError("The key is protected by a password.")


class Handshake(asyncio.Protocol):
    """A connection before its TLS handshake is complete; it counts as a connection from the moment it is accepted.

    Event loops report a TLS connection only after its handshake, and never if that does not end. Therefore the server accepts
    plain connections, and a task for each takes over the socket. `create_protocol` returns the protocol of the secured
    connection, which calls the argument when it begins.
    """

    def __init__(
        self, registry: Connections, context: ssl.SSLContext, create_protocol: Callable[[Callable[[], None]], asyncio.Protocol]
    ):
        self._registry = registry
        self._context = context
        self._create_protocol = create_protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        try:
            if not self._registry.add(self):
                raise OSError("There are max_connections already.")
            accepted = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        except OSError:  # or the kernel allows no more open files
            self._registry.count_rejection("no_place_for_handshake")
            self.end()
        else:
            accepted.setblocking(False)
            self._task = asyncio.get_running_loop().create_task(self._run(accepted))
            self._task.add_done_callback(lambda _: self.end())  # also if the task is cancelled before it starts
        transport.abort()  # type: ignore[attr-defined] # missing in asyncio's stubs; the duplicated socket stays open

    def end(self) -> None:
        """Remove the handshake from the registry: it failed, or the secured connection replaces it."""
        self._registry.remove(self)

    def state(self) -> ConnectionState:
        return ConnectionState(Phase.HEAD)

    def expire(self, phase: Phase) -> None:  # noqa: ARG002
        self._registry.count_rejection("slow_handshake")
        self._task.cancel()

    def announce_end(self) -> None:
        pass  # the secured connection does it

    def shutdown(self) -> None:
        self._task.cancel()

    async def _run(self, accepted: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._create_protocol(self.end), accepted, ssl=self._context, ssl_handshake_timeout=LOOP_TIMEOUT_S
            )
        except ssl.SSLError:
            self._registry.count_rejection("bad_handshake")
        except OSError:
            pass  # the client has disconnected
