"""Asks a running server for predictions, and for what it serves."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from service.codec import native
from service.errors import HeadserveError, RequestError


class CallError(HeadserveError):
    """The server could not be reached, or it refused."""

    code = "call_failed"
    title = "Call failed"


def call(url: str, model: str, body: dict[str, Any] | None, choice: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """The server's answer; without a body, the model's own example is sent. Raises CallError with the server's reason."""
    path = f"{url.rstrip('/')}/models/{quote(model, safe='')}"
    try:
        with httpx.Client(timeout=timeout_s) as client:
            if body is None:
                described = _answer(client.get(path))
                if described["state"] == "loading":
                    raise CallError(f"Model {model!r} is loading; try again.")
                if described["state"] != "available":
                    raise CallError(f"Model {model!r} failed to load: {described['error']}")
                body = {"instances": [described["example"]]}
            return _answer(client.post(f"{path}/predict", content=orjson.dumps(body | choice)))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _no_answer(url, error) from error


def list_models(url: str, timeout_s: float) -> dict[str, Any]:
    """What `GET /models` answers. Raises CallError."""
    try:
        return _answer(httpx.get(f"{url.rstrip('/')}/models", timeout=timeout_s))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _no_answer(url, error) from error


def _no_answer(url: str, error: Exception) -> CallError:
    return CallError(f"No answer from {url}: {error}. Is 'headserve serve' running there?")


def read_body(source: str, stdin: Any) -> dict[str, Any]:
    """A request from JSON text, a file's name, or `-`: a whole request, a list of rows, or one row.

    Raises RequestError.
    """
    if source == "-":
        text = stdin.read()
    elif source.lstrip()[:1] in ("{", "["):
        text = source.encode()
    else:
        try:
            text = Path(source).read_bytes()
        except OSError as error:
            raise RequestError(f"Expected JSON, a file, or -, but {source!r}: {error.strerror}.") from error
    value = native.parse(text)
    if isinstance(value, dict) and not value.keys() & {"instances", "inputs"}:
        value = [value]
    return {"instances": value} if not isinstance(value, dict) else value


def _answer(response: httpx.Response) -> dict[str, Any]:
    try:
        value = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise CallError(f"{response.url} answered {response.status_code} without JSON; is it a headserve?")
    if response.status_code != 200:
        raise CallError(str(value.get("detail") or value.get("error") or f"{response.url}: {response.status_code}"))
    return value
