"""Requests generated from the OpenAPI document, sent with different keys: the answers must be the documented ones, and a key
gives access to its scopes and models and to nothing else.

The expected access is derived here independently of the server, from method and path alone.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest
import schemathesis
from schemathesis.checks import CHECKS

from service.protocols.openapi import with_keys
from tests.conformance.protocols.fuzzed import CHECKED, COUNT, NAMES, config, document, export, session
from tests.conformance.protocols.server import exported, running
from tests.service.keyed import WRONG
from tests.service.keyring import add_key

SCOPES: dict[str, set[str]] = {
    "nobody": set(),
    "stranger": set(),
    "predict": {"predict"},
    "read": {"read"},
    "admin": {"admin"},
    "predict-and-read": {"predict", "read"},
    "films": {"predict", "read"},
}
"""The scopes of each caller; `nobody` sends no key, `stranger` the key of another server."""
MODELS = {"films": ("films",), "admin": ("half_plus_three",)}
"""The models of callers who may not use all; `admin` must not unload the models of the other callers."""

OPEN = {"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"}
PREDICTING = re.compile(
    r"/models/[^/]+(/(versions|labels)/[^/]+)?/predict"
    r"|/v1/models/[^/]+(/versions/\d+|/labels/.+)?:(predict|classify|regress|multiInference)"
    r"|/v2/models/[^/]+(/versions/[^/]+)?/infer",
    re.DOTALL,
)
MODEL = re.compile(r"(?:/v1|/v2|/v2/repository)?/models/([^/:]+)")

SESSION = session()
ANSWERED: Counter[tuple[str, int]] = Counter()
"""The number of answers by caller and status."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The keys by caller; `file` is the path of the key file."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    added = {who: add_key(path, who, *scopes, models=MODELS.get(who, ("*",))) for who, scopes in SCOPES.items() if scopes}
    return {"file": str(path), "stranger": WRONG} | added


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, str]) -> Iterator[httpx.Client]:
    """A client of a server of all models that requires keys."""
    with running(exported(tmp_path_factory, export), max_body_bytes=100_000, keys_file=Path(keys["file"])) as client:
        yield client


def refused(who: str, method: str, path: str) -> int | None:
    """The status with which the caller is refused on this path for any model; None if access is allowed."""
    if path in OPEN:
        return None
    reads = method in {"GET", "HEAD", "OPTIONS"} or path == "/v2/repository/index"
    scope = "predict" if method == "POST" and PREDICTING.fullmatch(path) else "read" if reads else "admin"
    return None if scope in SCOPES[who] else 403 if SCOPES[who] else 401


def others(who: str, path: str) -> set[str]:
    """The models whose names the caller must not see in the answer."""
    return {*NAMES["model"]} - {*MODELS.get(who, NAMES["model"]), *re.split("[/:]", path)}


@schemathesis.openapi.from_dict(with_keys(document()), config=config(COUNT)).parametrize()
def test_keys_give_access_to_their_scopes(case: schemathesis.Case, fuzzed: httpx.Client, keys: dict[str, str]) -> None:
    for number, who in enumerate(SCOPES):
        case.headers.pop("X-Api-Key", None)
        case.headers.pop("Authorization", None)
        if who in keys:
            name, scheme = ("Authorization", "Bearer ") if number % 2 else ("X-Api-Key", "")
            case.headers[name] = scheme + keys[who]
        response = case.call_and_validate(str(fuzzed.base_url), session=SESSION, checks=CHECKS.get_by_names(CHECKED))
        status, path = response.status_code, unquote(urlsplit(response.request.url).path)
        ANSWERED[who, status] += 1
        seen = (who, path, response.content.decode("latin-1"))  # tensors may be binary
        if (expected := refused(who, response.request.method, path)) is not None:
            malformed = expected == 403 and PREDICTING.fullmatch(path) and status in {400, 404}
            assert status == expected or malformed, seen
        elif who not in MODELS:
            assert status not in {401, 403}, seen
        else:
            of = MODEL.match(path)
            # 501: the parameters of a load are checked before the model.
            assert of is None or of[1] in {*MODELS[who], "stats"} or status in {400, 403, 404, 405, 501}, seen
            text = seen[-1].replace("it is broken:", "")  # a message about base64 has the name of a model as a word
            assert [name for name in others(who, path) if re.search(rf"\b{name}\b", text)] == [], seen


@pytest.mark.parametrize("who", SCOPES)
def test_all_callers_sent_requests(who: str) -> None:
    if not ANSWERED:
        pytest.skip("needs the requests of the other test, which was not run")
    if SCOPES[who]:
        assert ANSWERED[who, 200]
        assert ANSWERED[who, 403]
    else:
        assert {status for asked, status in ANSWERED if asked == who} <= {200, 401, 404, 405, 503}
