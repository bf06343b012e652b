"""API keys: what a key permits, how one is made, and which key a request carries.

A key is `hs_<id>_<secret>`: the id finds it, the secret proves it. The secret is 256 random bits, so that one SHA-256 is the
right thing to store: slow hashes (bcrypt, Argon2) protect passwords, which people choose and others can guess. Nobody can guess
a random secret, and a hash that takes milliseconds would let a client keep the server busy.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple, TypeAlias, get_args

from service.errors import InsufficientScopeError, UnauthorizedError
from service.messages import cut
from service.types import Headers

Scope: TypeAlias = Literal["predict", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
ALL_MODELS = "*"
_BEARER = b"bearer "
_EXPECTED = "as 'Authorization: Bearer …' or 'X-Api-Key: …'"
_RATE = re.compile(r"(\d{1,9})/(second|minute|hour|day)")
_UNIT_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


class RateLimit(NamedTuple):
    """At most `requests` in every `unit` of time: second, minute, hour or day."""

    requests: int
    unit: str

    @classmethod
    def parse(cls, rate: str) -> "RateLimit":
        """Return the limit that is written as `100/second`. Raises ValueError."""
        found = _RATE.fullmatch(rate)
        if found is None or not int(found[1]):
            raise ValueError(f"expected a rate such as 100/second, 6000/minute, 1000/hour or 10000/day, but got {rate[:40]!r}")
        return cls(int(found[1]), found[2])

    @property
    def window_s(self) -> int:
        """Length of the time window in seconds."""
        return _UNIT_SECONDS[self.unit]


@dataclass(frozen=True, slots=True)
class Key:
    """A key that the server accepts.

    Attributes:
        id: public; part of the key, of the file and of `headserve keys list`.
        name: its holder, for the log.
        digest: SHA-256 of the whole key.
        scopes: what the holder may do.
        models: names of the models that the key is for; None for all.
        expires_at: in seconds since 1970.
        limit: how many requests are allowed in which time; None for any number.
    """

    id: str
    name: str
    digest: bytes
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    expires_at: float = inf
    limit: RateLimit | None = None

    def permit(self, scope: Scope) -> None:
        """Raise InsufficientScopeError unless the key has the scope."""
        if scope not in self.scopes:
            own = ", ".join(name for name in SCOPES if name in self.scopes)
            raise InsufficientScopeError(f"This needs a key with the scope {scope!r}; this one has: {own}.", scope)

    def sees(self, model: str) -> bool:
        """Return whether the key is for this model."""
        return self.models is None or model in self.models

    def permit_model(self, model: str) -> None:
        """Raise InsufficientScopeError unless the key is for the model; the error does not reveal whether the model exists."""
        if not self.sees(model):
            raise InsufficientScopeError(f"This key is not for the model {cut(model)!r}.")


_NOBODY = Key("", "", bytes(hashlib.sha256().digest_size), frozenset())


class KeyRing:
    """The API keys that the server accepts; `keys` is a new tuple after every `replace`."""

    def __init__(self, keys: Iterable[Key] = ()):
        self.replace(keys)

    def replace(self, keys: Iterable[Key]) -> None:
        """Replace all accepted keys by these."""
        new = tuple(keys)
        self._by_id = {key.id.encode(): key for key in new}
        self.keys = new

    def authenticate(self, headers: Headers) -> Key:
        """Return the key that a request carries. Raises UnauthorizedError for no key, a wrong one and an expired one."""
        sent = _sent_key(headers)
        if not sent:
            raise UnauthorizedError(f"Expected an API key, {_EXPECTED}, but got none.")
        known = self._by_id.get(sent[3:].partition(b"_")[0], _NOBODY)
        # The comparison takes the same time wherever the digests differ, and for unknown ids, too.
        if not hmac.compare_digest(digest_of(sent), known.digest):
            raise UnauthorizedError(f"Expected a key of this server, {_EXPECTED}, but got another one.", wrong=True)
        if known.expires_at <= time.time():
            raise UnauthorizedError(f"The key {known.name!r} has expired; ask for a new one.", wrong=True)
        return known


def new_key() -> tuple[str, str]:
    """Return the id of a new key, and the key itself, which is shown once and stored nowhere."""
    key_id = secrets.token_hex(4)
    return key_id, f"hs_{key_id}_{secrets.token_urlsafe(32)}"


def digest_of(key: bytes) -> bytes:
    """Return the SHA-256 that is stored in place of a key."""
    return hashlib.sha256(key).digest()


def _sent_key(headers: Headers) -> bytes:
    # `X-Api-Key` comes first: `Authorization` may be meant for a proxy in front.
    sent = headers.get(b"x-api-key", b"").strip()
    if not sent:
        authorization = headers.get(b"authorization", b"")
        if authorization[: len(_BEARER)].lower() == _BEARER:
            sent = authorization[len(_BEARER) :].strip()
    return sent
