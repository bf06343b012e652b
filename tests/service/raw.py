"""A client that sends very bytes, and reads what comes."""

import json
import re
import socket
import time
from contextlib import suppress
from typing import Any

import httpx

from tests.waiting import GENEROUS_S

_ESTABLISHED = 1


def connected(client: httpx.Client, receive_bytes: int | None = None) -> socket.socket:
    """A connection to the server that the client asks."""
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(GENEROUS_S)
    connection.connect((client.base_url.host, client.base_url.port))
    return connection


def rest(connection: socket.socket) -> bytes:
    """Everything until the server ends the connection."""
    parts = []
    with suppress(ConnectionResetError):
        parts.extend(iter(lambda: connection.recv(65536), b""))
    return b"".join(parts)


def asked(client: httpx.Client, *pieces: bytes) -> bytes:
    """What the server answers to these bytes until it ends the connection."""
    with connected(client) as connection:
        with suppress(ConnectionError):  # it may have been refused before its end
            for piece in pieces:
                connection.sendall(piece)
        return rest(connection)


def statuses(answer: bytes) -> list[int]:
    """Of all answers in a row."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", answer)]


def until_cut(connection: socket.socket) -> None:
    """Returns once the system knows that the server has ended the connection, without reading from it."""
    until_s = time.monotonic() + GENEROUS_S
    while connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED:
        assert time.monotonic() < until_s, "the server has not ended the connection"
        time.sleep(0.01)


def head(method: str, path: str, *headers: str, **more: Any) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers, *(f"{name}: {value}" for name, value in more.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def refused(answer: bytes, status: int, code: str) -> None:
    """There is this one answer, in a form that clients of all protocols understand, and the connection has ended."""
    assert statuses(answer) == [status]
    headers, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in headers
    assert b"x-content-type-options: nosniff" in headers
    assert b"content-type: application/problem+json" in headers
    problem = json.loads(body)
    assert (problem["status"], problem["code"], problem["error"]) == (status, code, problem["detail"])
