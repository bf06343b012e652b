"""A server that asks for keys, and some keys for it."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from fastapi import FastAPI

from service import Settings, create_app
from service.auth.keys import SCOPES
from tests.service.keyring import add_key
from tests.service.logged import logged

WRONG = "hs_00000000_" + "A" * 43


class Keyed(NamedTuple):
    """A server that asks for keys."""

    app: FastAPI
    client: httpx.Client
    keys: dict[str, str]
    path: Path
    log: io.StringIO

    def ask(self, method: str, path: str, key: str | None, **more: Any) -> httpx.Response:
        headers = {} if key is None else {"x-api-key": self.keys.get(key, key)}
        return self.client.request(method, path, headers=headers | more.pop("headers", {}), **more)


@contextmanager
def started(models: Path, path: Path, serving: Any) -> Iterator[Keyed]:
    keys = {scope: add_key(path, scope, scope) for scope in SCOPES}
    keys["all"] = add_key(path, "all", *SCOPES)
    keys["films"] = add_key(path, "films", *SCOPES, models=("films",))
    keys["nowhere"] = add_key(path, "nowhere", *SCOPES, models=("vector",))
    keys["over"] = add_key(path, "over", *SCOPES, expires=datetime.now(UTC) - timedelta(seconds=1))
    keys["few"] = add_key(path, "few", *SCOPES, rate="3/hour")
    settings = Settings(models=models, keys_file=path, access_log=True, poll_interval_ms=20)
    with logged("json") as stream:
        app = create_app(settings)
        with serving(app) as client:
            yield Keyed(app, client, keys, path, stream)


def error_of(answer: httpx.Response, path: str) -> str:
    """What is said, in the form of the path's protocol."""
    told = answer.json()
    if re.match("(?i)/v[12](/|$)", path):
        assert answer.headers["content-type"] == "application/json"
        assert list(told) == ["error"]
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert told["status"] == answer.status_code
    return told["error"]
