"""Limits and timeouts over real sockets: endless heads, slow clients, too many connections."""

import json
import re
import socket
import time
from contextlib import suppress

import httpx
import pytest

from service import Settings, create_app
from service.server.connections import LINGER_S, ConnectionState, Phase
from service.server.protocol import BoundedProtocol
from tests.service.raw import asked, connected, head, refused, rest, statuses, until_cut
from tests.waiting import Pace, not_held_up, until

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST /models/nix/predict HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
MAX_HEADER_BYTES = 10_000
MAX_CONNECTIONS = 8
PATIENT_MS = 600_000
PROMPT_S = 0.1
"""A client that sends everything within this time is not cut by the impatient server."""

pytestmark = pytest.mark.timeout(30, func_only=True)


@pytest.fixture(scope="module")
def bounds(tmp_path_factory, serving):
    """A server without models and with low limits on sizes."""
    with serving(create_app(Settings(models=tmp_path_factory.mktemp("models"), max_header_bytes=MAX_HEADER_BYTES))) as client:
        yield client


@pytest.fixture(scope="module")
def impatient(tmp_path_factory, serving):
    """A server without models and with short timeouts."""
    settings = Settings(
        models=tmp_path_factory.mktemp("models"),
        header_timeout_ms=300,
        body_timeout_ms=300,
        write_timeout_ms=300,
        idle_timeout_ms=300,
    )
    with serving(create_app(settings)) as client:
        yield client


@pytest.mark.parametrize(
    ("pieces", "status", "code"),
    [
        pytest.param([b"/" + b"a" * 8192], 414, "url_too_long", id="url"),
        pytest.param([b"/" + b"a" * 70_000], 414, "url_too_long", id="url beyond 16 bits"),
        pytest.param([b"/" + b"a" * 6000] + [b"a" * 6000] * 3, 414, "url_too_long", id="endless url"),
        pytest.param([b"/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 10_000 + b"\r\n\r\n"], 431, "head_too_large", id="header"),
        pytest.param([b"/ HTTP/1.1\r\nHost: x\r\nX: "] + [b"a" * 3000] * 5, 431, "head_too_large", id="endless header"),
        pytest.param([b"/ HTTP/1.1\r\nHost: x\r\n"] + [b"X: a\r\n" * 600] * 5, 431, "head_too_large", id="endless headers"),
        pytest.param([b"/ HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 100 + b"\r\n"], 431, "head_too_large", id="many headers"),
    ],
)
def test_the_size_of_a_head_is_limited(bounds, pieces, status, code):
    with connected(bounds) as connection:
        connection.sendall(b"GET ")
        for piece in pieces:
            try:
                connection.sendall(piece)
            except ConnectionError:
                break
        if status == 414 and len(pieces) == 1:
            connection.sendall(b" HTTP/1.1\r\nHost: x\r\n\r\n")
        refused(rest(connection), status, code)


def test_too_many_headers_are_refused_before_the_head_ends(bounds):
    """A header of four bytes takes forty times as many in memory."""
    refused(asked(bounds, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 120), 431, "head_too_large")


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(b"X: " + b"a" * 3000, id="trailer"),
        pytest.param(b"X: a\r\n" * 500, id="trailers"),
    ],
)
def test_the_size_of_trailers_is_limited(bounds, piece):
    with connected(bounds) as connection:
        connection.sendall(CHUNKED + b"2\r\n{}\r\n0\r\n")
        for _ in range(200):  # more than the server reads at once
            try:
                connection.sendall(piece)
            except ConnectionError:
                break
        refused(rest(connection), 431, "head_too_large")


def test_a_head_of_the_largest_size_is_accepted(bounds):
    value = "a" * (MAX_HEADER_BYTES - len("/livez") - len("host: x\r\n") - len("connection: close\r\n") - len("x: \r\n") - 20)
    assert statuses(asked(bounds, head("GET", "/livez", f"X: {value}", Connection="close"))) == [200]


def test_the_head_of_an_upgrade_offer_is_not_added_to_the_next_head(bounds):
    """Each of the two is smaller than the limit."""
    offer = head("GET", "/livez", "Connection: Upgrade", "Upgrade: h2c", X="a" * 9000)
    get = head("GET", "/livez", X="a" * 6000, Connection="close")
    with connected(bounds) as connection:
        answer = b""
        connection.sendall(offer)
        while not answer.endswith(b'{"status":"alive"}'):
            answer += connection.recv(65536)
        connection.sendall(get)
        assert statuses(answer + rest(connection)) == [200, 200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-", 408, id="half a head"),
        pytest.param(b"G", 408, id="a letter"),
        pytest.param(LIVE + b"GET /li", 408, id="half a head after a response"),
        pytest.param(POST + b"Content-Length: 9\r\n\r\n{", 408, id="half a body"),
        pytest.param(POST + b"Content-Length: 9\r\n\r\n", 408, id="no body"),
        pytest.param(CHUNKED + b"1\r\n{\r\n", 408, id="some of the chunks"),
        pytest.param(LIVE + POST + b"Content-Length: 9\r\n\r\n{", 408, id="half a body after a response"),
    ],
)
def test_an_incomplete_request_gets_408(impatient, sent, status):
    answer = asked_promptly(impatient, sent)
    before = [200] if sent.startswith(LIVE) else []
    assert statuses(answer) == [*before, status]
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["code"] == "slow_request"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n", id="a line break"),
        pytest.param(LIVE, id="nothing after a response"),
        pytest.param(LIVE + b"\r\n", id="a line break after a response"),
        pytest.param(
            b"POST /nix HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n", id="a body that the application does not read"
        ),
    ],
)
def test_an_idle_connection_is_closed_without_an_error(impatient, sent):
    asking = [200] if sent.startswith(LIVE) else [404] if sent.startswith(b"POST") else []
    assert statuses(asked_promptly(impatient, sent)) == asking


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        pytest.param(b"GET /livez HTTP/1.1\r\n", b"X: a\r\n", id="headers"),
        pytest.param(POST + b"Content-Length: 99999\r\n\r\n", b"{", id="body"),
        pytest.param(LIVE, b"\r\n", id="line breaks"),
    ],
)
def test_a_client_that_sends_a_few_bytes_at_a_time_is_cut(impatient, begin, drip):
    with connected(impatient) as connection:
        connection.sendall(begin)
        connection.settimeout(0.02)
        answer = b""
        for _ in range(1000):
            try:
                connection.sendall(drip)
                if not (part := connection.recv(65536)):
                    break
                answer += part
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the server has not cut the connection")
    assert statuses(answer) in ([408], [200], [])


def test_a_client_that_does_not_read_its_responses_is_cut(impatient):
    page = head("GET", "/static-offline-docs/swagger-ui-bundle.js")
    with connected(impatient, receive_bytes=4096) as connection:
        with suppress(ConnectionError):
            connection.sendall(page * 20)
        until_cut(connection)


def test_a_client_that_reads_in_small_steps_gets_its_response(impatient):
    page = head("GET", "/static-offline-docs/swagger-ui-bundle.js", Connection="close")
    length = int(impatient.head("/static-offline-docs/swagger-ui-bundle.js").headers.get("content-length", 0))

    def reads_in_small_steps(pace: Pace) -> bytes:
        with connected(impatient, receive_bytes=4096) as connection:
            connection.sendall(page)
            got = b""
            while part := connection.recv(50_000):
                got += part
                pace.step()
        return got

    got = not_held_up(reads_in_small_steps, PROMPT_S)
    assert len(got.partition(b"\r\n\r\n")[2]) >= max(length, 1_000_000)


def test_requests_after_the_last_response_do_not_discard_it(bounds):
    """After a full close, the kernel would answer them with a reset, which discards what the client has not read."""
    with connected(bounds, receive_bytes=4096) as connection:
        connection.sendall(head("GET", "/static-offline-docs/swagger-ui-bundle.js", Connection="close"))
        got = connection.recv(1000)
        for _ in range(3):
            time.sleep(LINGER_S / 2)
            connection.sendall(LIVE)
        got += b"".join(iter(lambda: connection.recv(50_000), b""))
    assert statuses(got) == [200]
    assert len(got) > 1_000_000


def test_a_client_that_reads_byte_by_byte_is_cut(tmp_path, serving):
    with (
        serving(create_app(Settings(models=tmp_path, write_timeout_ms=300))) as client,
        connected(client, receive_bytes=4096) as connection,
    ):
        connection.sendall(head("GET", "/static-offline-docs/swagger-ui-bundle.js") * 20)
        with suppress(ConnectionResetError):
            while 'reason="answer_not_taken"' not in client.get("/metrics").text:
                assert connection.recv(1)


def test_two_requests_in_a_row_have_different_states(tmp_path, serving, monkeypatch):
    """Otherwise a client that sends many requests would count as idle."""
    states: list[ConnectionState] = []
    complete = BoundedProtocol.on_response_complete

    def record(protocol: BoundedProtocol) -> None:
        complete(protocol)
        states.append(protocol.state())

    monkeypatch.setattr(BoundedProtocol, "on_response_complete", record)
    with serving(create_app(Settings(models=tmp_path))) as client, connected(client) as connection:
        states.clear()
        for _ in range(200):
            connection.sendall(LIVE)
            assert statuses(connection.recv(65536)) == [200]
        assert {state.phase for state in states} == {Phase.IDLE}
        assert max(map(states.count, states)) == 1


def test_connections_beyond_the_limit_are_rejected(tmp_path, serving):
    held: list[socket.socket] = []
    settings = Settings(models=tmp_path, max_connections=MAX_CONNECTIONS, idle_timeout_ms=PATIENT_MS)
    with serving(create_app(settings)) as client:
        try:
            for _ in range(MAX_CONNECTIONS):
                held.append(connected(client))
                held[-1].sendall(LIVE)
                assert statuses(held[-1].recv(65536)) == [200]
            for _ in range(3):
                answer = asked_promptly(client, LAST)
                refused(answer, 503, "too_many_connections")
                assert b"retry-after: 1" in answer
        finally:
            for connection in held:
                connection.close()
        until_free(client)
        page = client.get("/metrics").text
        assert 'headserve_connections_refused_total{reason="too_many_connections"}' in page


def test_rejected_connections_are_counted_by_reason(tmp_path, serving):
    """The labels do not depend on what the client sends."""
    with serving(create_app(Settings(models=tmp_path, max_header_bytes=9000))) as client:
        for sent in (b"nonsense\r\n\r\n", head("GET", "/" + "x" * 8500), head("GET", "/livez", X="x" * 9000)):
            asked(client, sent)
        asked(client, b"other nonsense\r\n\r\n")
        assert refused_connections(client) == {"bad_request": "2.0", "url_too_long": "1.0", "head_too_large": "1.0"}


def test_slow_requests_are_counted(tmp_path, serving):
    with serving(create_app(Settings(models=tmp_path, header_timeout_ms=100))) as client:
        until(lambda: statuses(asked(client, b"GET /")) == [408], "sent in time")
        assert refused_connections(client) == {"slow_request": "1.0"}


def refused_connections(client: httpx.Client) -> dict[str, str]:
    page = client.get("/metrics").text
    return dict(re.findall(r'^headserve_connections_refused_total\{reason="(.*)"\} (.*)$', page, re.MULTILINE))


def asked_promptly(client: httpx.Client, sent: bytes) -> bytes:
    """Return everything that the server sends until it ends the connection; all of `sent` arrives at once."""

    def attempt(pace: Pace) -> bytes:
        with connected(client) as connection:
            connection.sendall(sent)
            pace.step()
            return rest(connection)

    return not_held_up(attempt, PROMPT_S)


def until_free(client: httpx.Client) -> None:
    """Return as soon as a new connection is answered."""
    for _ in range(1000):
        if statuses(asked(client, LAST)) == [200]:
            return
    pytest.fail("the server accepts no connection")
