"""Attacks over real sockets: requests with two meanings, endless heads, slow clients, too many of them."""

import json
import re
import socket

import httpx
import pytest

from service import Settings, create_app
from service.http.bounded import BoundedProtocol
from service.http.crowd import Place, Wait
from tests.service.raw import asked, connected, head, rest, statuses, until_cut

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST /models/nix/predict HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
MAX_HEADER_BYTES = 10_000
MAX_CONNECTIONS = 8


@pytest.fixture(scope="module")
def bounds(tmp_path_factory, serving):
    """A server without models and with narrow bounds."""
    settings = Settings(
        models=tmp_path_factory.mktemp("models"),
        max_header_bytes=MAX_HEADER_BYTES,
        header_timeout_ms=300,
        body_timeout_ms=300,
        write_timeout_ms=300,
        idle_timeout_ms=300,
    )
    with serving(create_app(settings)) as client:
        yield client


@pytest.fixture(scope="module")
def patient(tmp_path_factory, serving):
    """A server that waits long enough for every client of these tests."""
    with serving(create_app(Settings(models=tmp_path_factory.mktemp("models")))) as client:
        yield client


def refused(answer: bytes, status: int, code: str) -> None:
    """There is this one answer, in a form that clients of all protocols understand, and the connection has ended."""
    assert statuses(answer) == [status]
    headers, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in headers
    assert b"x-content-type-options: nosniff" in headers
    assert b"content-type: application/problem+json" in headers
    problem = json.loads(body)
    assert (problem["status"], problem["code"], problem["error"]) == (status, code, problem["detail"])


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(
            POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, id="length and chunks"
        ),
        pytest.param(
            POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED, id="chunks, length"
        ),
        pytest.param(POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED, id="two lengths"),
        pytest.param(POST + b"Content-Length: 0, 44\r\n\r\n" + SMUGGLED, id="a list of lengths"),
        pytest.param(POST + b"Content-Length: +5\r\n\r\nabcde", id="length with a sign"),
        pytest.param(POST + b"Content-Length: 0x5\r\n\r\nabcde", id="length in hexadecimal"),
        pytest.param(POST + b"Content-Length: 99999999999999999999\r\n\r\n", id="length beyond 64 bits"),
        pytest.param(POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED, id="unknown coding"),
        pytest.param(POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED, id="chunks not last"),
        pytest.param(POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED, id="coding behind a tab"),
        pytest.param(POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, id="space before a colon"),
        pytest.param(POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, id="folded coding"),
        pytest.param(POST + b"X: a\r\n b\r\n\r\n", id="folded header"),
        pytest.param(CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", id="chunk size no number"),
        pytest.param(CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", id="chunk size with prefix"),
        pytest.param(CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n", id="chunk size beyond 64 bits"),
        pytest.param(CHUNKED + b"3\r\nabcX\r\n0\r\n\r\n", id="chunk longer than its size"),
        pytest.param(CHUNKED + b"3\nabc\n0\n\n", id="chunks with bare line feeds"),
        pytest.param(CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n", id="line feed in an extension"),
        pytest.param(b"GET /livez HTTP/1.1\nHost: x\n\n", id="bare line feeds"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", id="bare carriage return"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", id="NUL"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: x\r\nforged\r\n\r\n", id="header without a colon"),
        pytest.param(b"GET /livez HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", id="space in the path"),
        pytest.param(b"GET /livez HTTP/1.2\r\nHost: x\r\n\r\n", id="unknown version"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", id="a tunnel"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="TLS"),
    ],
)
def test_what_has_two_meanings_or_none_is_refused(patient, request_bytes):
    refused(asked(patient, request_bytes), 400, "bad_request")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param("http://other/livez", 200, id="absolute"),
        pytest.param("/livez?a=b", 200, id="query"),
        pytest.param("*", 404, id="asterisk"),
        pytest.param("//livez", 404, id="two slashes"),
        pytest.param("/%2e%2e/livez", 404, id="encoded dots"),
        pytest.param("/static-offline-docs/..%2f..%2f..%2fetc/passwd", 404, id="encoded slashes"),
    ],
)
def test_odd_targets(patient, target, status):
    assert statuses(asked(patient, head("GET", target, Connection="close"))) == [status]


def test_pipelined_requests_are_answered_in_their_order(patient):
    body = b"{}"
    third = POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    assert statuses(asked(patient, LIVE, head("GET", "/nix"), third, LAST)) == [200, 404, 404, 200]
    assert statuses(asked(patient, LIVE + head("GET", "/nix") + third + LAST)) == [200, 404, 404, 200]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"G\0T / HTTP/1.1\r\n\r\n", id="no request"),
        pytest.param(CHUNKED + b"zz\r\n", id="a bad body"),
    ],
)
def test_a_good_request_is_answered_before_a_bad_one_behind_it(patient, bad):
    """The answer to one is never taken for the answer to the other."""
    assert statuses(asked(patient, head("GET", "/nix") + bad)) == [404, 400]


def test_what_follows_a_refusal_is_not_looked_at(patient):
    with connected(patient) as connection:
        connection.sendall(b"G\0T / HTTP/1.1\r\n\r\n")
        connection.sendall(LIVE)
        assert statuses(rest(connection)) == [400]


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_an_offer_of_another_protocol_is_declined(patient, protocol):
    """As Java's client makes it with every request: bodies are bodies, and no requests of their own."""
    offer = (f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AA\r\n").encode()
    asking = POST + offer + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED)
    get = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n"
    chunks = POST + offer + b"Transfer-Encoding: chunked\r\n\r\n"
    for pieces in (
        (asking + SMUGGLED + LAST,),
        (asking, SMUGGLED, LAST),
        (asking, SMUGGLED[:9], SMUGGLED[9:] + LAST),
        (chunks, b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), LAST),
    ):
        answer = asked(patient, *pieces)
        assert statuses(answer) == [404, 200]
        assert answer.count(b'"code":"unknown_model"') == 1
    assert statuses(asked(patient, get + asking + SMUGGLED + LAST)) == [200, 404, 200]


def test_an_offer_does_not_lose_the_body(client):
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AA"}
    for _ in range(2):
        answer = client.post("/models/vectors/predict", json={"instances": [[1, 2]]}, headers=offer)
        assert answer.json()["predictions"]["sum"]["value"] == [[3.0]]


def test_trailers_are_no_headers(patient):
    trailed = CHUNKED + b"2\r\n{}\r\n0\r\nX-Request-Id: trailer\r\n\r\n"
    answer = asked(patient, trailed + LAST)
    assert statuses(answer) == [404, 200]
    assert b"trailer" not in answer


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
def test_heads_are_bounded(bounds, pieces, status, code):
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


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(b"X: " + b"a" * 3000, id="trailer"),
        pytest.param(b"X: a\r\n" * 500, id="trailers"),
    ],
)
def test_trailers_are_bounded(bounds, piece):
    with connected(bounds) as connection:
        connection.sendall(CHUNKED + b"2\r\n{}\r\n0\r\n")
        for _ in range(200):  # more than the server takes at once
            try:
                connection.sendall(piece)
            except ConnectionError:
                break
        refused(rest(connection), 431, "head_too_large")


def test_the_largest_head(bounds):
    value = "a" * (MAX_HEADER_BYTES - len("/livez") - len("host: x\r\n") - len("connection: close\r\n") - len("x: \r\n") - 20)
    assert statuses(asked(bounds, head("GET", "/livez", f"X: {value}", Connection="close"))) == [200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-", 408, id="half a head"),
        pytest.param(b"G", 408, id="a letter"),
        pytest.param(LIVE + b"GET /li", 408, id="half a head behind an answer"),
        pytest.param(POST + b"Content-Length: 9\r\n\r\n{", 408, id="half a body"),
        pytest.param(POST + b"Content-Length: 9\r\n\r\n", 408, id="no body"),
        pytest.param(CHUNKED + b"1\r\n{\r\n", 408, id="half of the chunks"),
        pytest.param(LIVE + POST + b"Content-Length: 9\r\n\r\n{", 408, id="half a body behind an answer"),
    ],
)
def test_a_client_that_does_not_go_on_is_dropped(bounds, sent, status):
    answer = asked(bounds, sent)
    before = [200] if sent.startswith(LIVE) else []
    assert statuses(answer) == [*before, status]
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["code"] == "slow_request"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n", id="a line break"),
        pytest.param(LIVE, id="nothing after an answer"),
        pytest.param(LIVE + b"\r\n", id="a line break after an answer"),
        pytest.param(b"POST /nix HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n", id="a body that nobody reads"),
    ],
)
def test_an_idle_client_is_dropped_without_a_word(bounds, sent):
    asking = [200] if sent.startswith(LIVE) else [404] if sent.startswith(b"POST") else []
    assert statuses(asked(bounds, sent)) == asking


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        pytest.param(b"GET /livez HTTP/1.1\r\n", b"X: a\r\n", id="headers"),
        pytest.param(POST + b"Content-Length: 99999\r\n\r\n", b"{", id="body"),
        pytest.param(LIVE, b"\r\n", id="line breaks"),
    ],
)
def test_a_slow_loris_is_dropped(bounds, begin, drip):
    """It sends something all the time."""
    with connected(bounds) as connection:
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
            pytest.fail("it was let in for 20 s")
    assert statuses(answer) in ([408], [200], [])


def test_a_client_that_takes_no_answer_is_dropped(bounds):
    page = head("GET", "/static-offline-docs/swagger-ui-bundle.js")
    with connected(bounds, receive_bytes=4096) as connection:
        connection.sendall(page * 20)
        until_cut(connection)


def test_a_client_that_takes_its_time_gets_its_answer(bounds):
    page = head("GET", "/static-offline-docs/swagger-ui-bundle.js", Connection="close")
    length = int(bounds.head("/static-offline-docs/swagger-ui-bundle.js").headers.get("content-length", 0))
    with connected(bounds, receive_bytes=4096) as connection:
        connection.sendall(page)
        got = b""
        while part := connection.recv(50_000):
            got += part
    assert len(got.partition(b"\r\n\r\n")[2]) >= max(length, 1_000_000)


def test_no_request_is_taken_for_the_one_before(tmp_path, serving, monkeypatch):
    """A client that asks again and again is not idle, wherever in memory its requests are."""
    places: list[Place] = []
    complete = BoundedProtocol.on_response_complete

    def noted(protocol: BoundedProtocol) -> None:
        complete(protocol)
        places.append(protocol.place())

    monkeypatch.setattr(BoundedProtocol, "on_response_complete", noted)
    with serving(create_app(Settings(models=tmp_path))) as client, connected(client) as connection:
        places.clear()
        for _ in range(200):
            connection.sendall(LIVE)
            assert statuses(connection.recv(65536)) == [200]
        assert {place.wait for place in places} == {Wait.NEXT}
        assert max(map(places.count, places)) == 1


def test_no_more_connections_than_allowed(tmp_path, serving):
    held: list[socket.socket] = []
    with serving(create_app(Settings(models=tmp_path, max_connections=MAX_CONNECTIONS))) as client:
        try:
            for _ in range(MAX_CONNECTIONS):
                held.append(connected(client))
                held[-1].sendall(LIVE)
                assert statuses(held[-1].recv(65536)) == [200]
            for _ in range(3):
                answer = asked(client, LIVE)
                refused(answer, 503, "too_many_connections")
                assert b"retry-after: 1" in answer
        finally:
            for connection in held:
                connection.close()
        until_free(client)
        page = client.get("/metrics").text
        assert 'headserve_connections_refused_total{reason="too_many_connections"}' in page


def test_refused_connections_are_counted_by_reason(tmp_path, serving):
    """What a client sends makes no label."""
    with serving(create_app(Settings(models=tmp_path, header_timeout_ms=100, max_header_bytes=2000))) as client:
        for sent in (b"nonsense\r\n\r\n", b"GET /", head("GET", "/" + "x" * 9000), head("GET", "/livez", X="x" * 3000)):
            asked(client, sent)
        asked(client, b"other nonsense\r\n\r\n")
        page = client.get("/metrics").text
    told = dict(re.findall(r'^headserve_connections_refused_total\{reason="(.*)"\} (.*)$', page, re.MULTILINE))
    assert told == {"bad_request": "2.0", "slow_request": "1.0", "url_too_long": "1.0", "head_too_large": "1.0"}


def until_free(client: httpx.Client) -> None:
    """Returns once a new connection is answered."""
    for _ in range(1000):
        if statuses(asked(client, LAST)) == [200]:
            return
    pytest.fail("no place became free")
