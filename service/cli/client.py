"""HTTP client of a running server, and the options that the commands `predict` and `models` share."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import orjson
import typer

from service.errors import HeadserveError, RequestError
from service.protocols.json.reader import parse
from service.protocols.native import codec as native

DEFAULT_URL = "http://127.0.0.1:8000"
URL = Annotated[str, typer.Option(envvar="HEADSERVE_URL", help="Address of the server; without a scheme, http.")]
KEY = Annotated[
    str | None,
    typer.Option(
        envvar="HEADSERVE_KEY",
        show_envvar=True,
        help="API key for the server. The variable is safer: other users can see the flag in the list of processes.",
    ),
]
CA = Annotated[
    Path | None,
    typer.Option(envvar="HEADSERVE_CA", help="PEM file with certificates to trust for https. Default: the system's."),
]
JSON = Annotated[bool, typer.Option("--json", help="Print the server's answer as JSON instead of a table.")]
TIMEOUT = Annotated[float, typer.Option(help="Maximum wait for the server, in seconds.")]


class CallError(HeadserveError, code="call_failed", title="Call failed"):
    """The server could not be reached, or it refused the request."""


class Server:
    """A server to call; `http://` is added to a URL without a scheme. `ca` is a PEM file with certificates to trust."""

    def __init__(self, url: str, timeout_s: float, key: str | None = None, ca: Path | None = None):
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        self._timeout_s = timeout_s
        self._key = key
        self._ca = ca

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Open an HTTP client. Raises CallError for an unreadable CA file, an impossible key, or no answer."""
        if self._key is not None and not (self._key.isascii() and self._key.isprintable()):
            raise CallError("--key: expected a key as 'headserve keys add' prints it, but it has other characters.")
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except OSError as error:
            raise CallError(f"--ca: expected a PEM file with certificates, but {str(self._ca)!r}: {error}.") from error
        headers = {} if self._key is None else {"x-api-key": self._key}
        try:
            with httpx.Client(timeout=self._timeout_s, headers=headers, verify=context) as client:
                yield client
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error).rstrip(".")
            raise CallError(f"No answer from {self.url}: {reason}. Is 'headserve serve' running there?") from error


def call(server: Server, model: str, body: dict[str, Any] | None, selection: dict[str, Any]) -> dict[str, Any]:
    """Return the server's predictions; without a body, the model's own example is sent. Raises CallError."""
    path = f"{server.url}/models/{quote(model, safe='')}"
    with server.client() as client:
        if body is None:
            described = _answer(client.get(path))
            if described["state"] == "loading":
                raise CallError(f"Model {model!r} is loading; try again.")
            if described["state"] != "available":
                raise CallError(f"Model {model!r} failed to load: {described['error']}")
            body = {"instances": [described["example"]]}
        return _answer(client.post(f"{path}/predict", content=orjson.dumps(body | selection)))


def list_models(server: Server) -> dict[str, Any]:
    """Return the server's answer to `GET /models`. Raises CallError."""
    with server.client() as client:
        return _answer(client.get(f"{server.url}/models"))


def read_body(source: str, stdin: Any) -> dict[str, Any]:
    """Return a request from JSON text, a file, or `-`: a whole request, a list of rows, or one row. Raises RequestError."""
    if source == "-":
        text = stdin.read()
    elif source.lstrip()[:1] in ("{", "["):
        text = source.encode()
    else:
        try:
            text = Path(source).read_bytes()
        except OSError as error:
            raise RequestError(f"Expected JSON, a file, or -, but {source!r}: {error.strerror}.") from error
    value = parse(text, native.JSON)
    if isinstance(value, dict) and not value.keys() & {"instances", "inputs"}:
        value = [value]
    return value if isinstance(value, dict) else {"instances": value}


def _answer(response: httpx.Response) -> dict[str, Any]:
    try:
        value = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise CallError(f"{response.url} answered {response.status_code} without JSON; is it a headserve server?")
    if response.status_code != 200:
        raise CallError(str(value.get("detail") or value.get("error") or f"{response.url}: {response.status_code}"))
    return value
