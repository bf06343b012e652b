"""The checks of the gate and the middleware that applies them, without a server."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from service.auth.gate import Gate, check_scope, key_check, may_predict
from service.auth.keys import SCOPES, Key, KeyRing, RateLimit, digest_of, new_key
from service.counters import Rejections
from service.errors import HeadserveError, InsufficientScopeError, RateLimitedError, UnauthorizedError
from service.inference.request_context import RequestContext, current
from service.protocols.native.paths import NATIVE

ID, SECRET = new_key()
CREDENTIAL = (b"x-api-key", SECRET.encode())


def key(*scopes: Any, models: frozenset[str] | None = None, limit: RateLimit | None = None) -> Key:
    return Key(ID, "me", digest_of(SECRET.encode()), frozenset(scopes), models, limit=limit)


@contextmanager
def request(*headers: tuple[bytes, bytes], of: Key | None = None) -> Iterator[RequestContext]:
    """Handle a request with these headers, whose caller is already known."""
    context = RequestContext("1", dict(headers), NATIVE)
    context.key = of
    token = current.set(context)
    try:
        yield context
    finally:
        current.reset(token)


def scope(method: str = "GET", path: str = "/models", headers: tuple[tuple[bytes, bytes], ...] = ()) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": list(headers)}


class TestKeyCheck:
    def test_identifies_the_caller_and_enforces_the_rate(self) -> None:
        ring = KeyRing([key("read", limit=RateLimit.parse("2/day"))])
        check = key_check(ring)
        for _ in range(2):
            with request(CREDENTIAL) as context:
                check(scope(headers=(CREDENTIAL,)))
            assert context.key is ring.keys[0]
        with request(CREDENTIAL), pytest.raises(RateLimitedError):
            check(scope(headers=(CREDENTIAL,)))

    @pytest.mark.parametrize("name", [b"x-api-key", b"authorization"])
    def test_refuses_several_keys_in_one_header(self, name: bytes) -> None:
        headers = (CREDENTIAL, (name, b"1"), (name, b"2"))
        message = f"Expected a key in one header {'x-api-key' if name == b'x-api-key' else 'authorization'}, but got several."
        with request(*headers), pytest.raises(UnauthorizedError) as refused:
            key_check(KeyRing([key("read")]))(scope(headers=headers))
        assert refused.value.message == message
        assert b"invalid_token" in refused.value.headers[0][1]

    def test_accepts_other_headers_several_times(self) -> None:
        headers = (CREDENTIAL, (b"accept", b"1"), (b"accept", b"2"), (b"authorization", b"Basic of a proxy"))
        with request(*headers):
            key_check(KeyRing([key("read")]))(scope(headers=headers))


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        *((method, "/models", "read") for method in ("GET", "HEAD", "OPTIONS")),
        *((method, "/models", "admin") for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE")),
        ("POST", "/v2/repository/index", "read"),
        ("POST", "/v2/repository/models/a/load", "admin"),
    ],
)
def test_the_scope_of_a_request_that_is_not_a_prediction(method: str, path: str, needed: Any) -> None:
    with request(of=key(needed)):
        check_scope(scope(method, path))
    others = [name for name in SCOPES if name != needed]
    with request(of=key(*others)), pytest.raises(InsufficientScopeError, match=f"scope '{needed}'") as refused:
        check_scope(scope(method, path))
    assert refused.value.headers[0][1].endswith(b'scope="%s"' % needed.encode())


def test_a_prediction_needs_its_scope_and_a_key_for_the_model() -> None:
    with request(of=key("predict", models=frozenset({"a"}))):
        may_predict("a")
        with pytest.raises(InsufficientScopeError, match="not for the model 'b'"):
            may_predict("b")
    with request(of=key("read", "admin")), pytest.raises(InsufficientScopeError, match="scope 'predict'"):
        may_predict("a")
    with request(), pytest.raises(UnauthorizedError, match=r"^This needs a key\.$"):
        may_predict("a")


@pytest.mark.parametrize(
    ("kind", "path", "error", "is_checked"),
    [
        pytest.param("http", "/models", None, True, id="accepted"),
        pytest.param("http", "/models", RateLimitedError("Slower.", 3, 7), True, id="refused"),
        pytest.param("websocket", "/models", UnauthorizedError("No."), True, id="a websocket"),
        pytest.param("http", "/livez", UnauthorizedError("No."), False, id="an open path"),
        pytest.param("lifespan", "/models", UnauthorizedError("No."), False, id="the start of the server"),
    ],
)
def test_the_gate_forwards_or_answers(kind: str, path: str, error: HeadserveError | None, is_checked: bool) -> None:
    forwarded, checked, sent, rejections = [], [], [], Rejections()
    connection = scope(path=path) | {"type": kind}

    async def app(*arguments: Any) -> None:
        forwarded.append(arguments)

    def check(given: Any) -> None:
        checked.append(given)
        if error is not None:
            raise error

    async def receive() -> Any:
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    with request():
        asyncio.run(Gate(app, check, rejections)(connection, receive, send))
    assert checked == [connection] * is_checked
    if error is None or not is_checked:
        assert (forwarded, sent) == ([(connection, receive, send)], [])
        return
    assert forwarded == []
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == error.status
    assert set(error.headers) <= set(sent[0]["headers"])
    assert error.message.encode() in sent[1]["body"]
    assert dict(rejections.counts) == {("", "native", error.status): 1}
