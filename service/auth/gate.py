"""Check the key of every request: a path needs a key unless the table of paths lists it as open.

`key_check` identifies the caller and enforces the rate limit. The scope is checked where the kind of request is known:
`may_predict` for predictions, `check_scope` for everything else: reading (`GET`, `HEAD`, `OPTIONS`) takes the scope `read`,
any other method takes `admin`, so that a new route is protected by default. `service.auth.model_access` checks models.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.auth.keys import Key, KeyRing, RateLimit
from service.auth.model_access import current_key
from service.counters import Rejections
from service.errors import HeadserveError, RateLimitedError, UnauthorizedError
from service.inference.request_context import RequestContext, current
from service.protocols.protocol import OPEN, error_response, send_response
from service.types import ASGIApp, Receive, Scope, Send

CREDENTIALS = (b"x-api-key", b"authorization")

READS = ("GET", "HEAD", "OPTIONS")
READ_BY_POST = frozenset({"/v2/repository/index"})


@dataclass(slots=True)
class _Window:
    ends_s: float
    requests: int = 0


class RateLimiter:
    """Counts the requests of each key in fixed windows of time. For use in the event loop only: it has no lock."""

    def __init__(self, ring: KeyRing, clock: Callable[[], float] = time.monotonic) -> None:
        self._ring = ring
        self._keys = ring.keys
        self._clock = clock
        self.windows: dict[tuple[str, RateLimit], _Window] = {}

    def hit(self, key: Key) -> None:
        """Count one request. Raises RateLimitedError, with the seconds to wait, if the window is used up."""
        if key.limit is None:
            return
        if self._keys is not self._ring.keys:
            self._drop_stale_windows()
        now_s = self._clock()
        window = self.windows.get((key.id, key.limit))
        if window is None or window.ends_s <= now_s:
            window = self.windows[key.id, key.limit] = _Window(now_s + key.limit.window_s)
        if window.requests >= key.limit.requests:
            wait_s = max(math.ceil(window.ends_s - now_s), 1)
            limit = f"{key.limit.requests} requests per {key.limit.unit}"
            message = f"Expected at most {limit} with the key {key.name!r}; retry in {wait_s} s."
            raise RateLimitedError(message, key.limit.requests, wait_s)
        window.requests += 1

    def _drop_stale_windows(self) -> None:
        """Remove windows of keys and limits that are no longer in force; they would stay for as long as the server runs."""
        self._keys = self._ring.keys
        in_force = {(key.id, key.limit) for key in self._keys}
        self.windows = {owner: window for owner, window in self.windows.items() if owner in in_force}


@dataclass(frozen=True, eq=False)
class Gate:
    """ASGI middleware that forwards a request if its path is open or `check` raises no error; otherwise it sends the error."""

    app: ASGIApp
    check: Callable[[Scope], None]
    rejections: Rejections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or reject it."""
        if scope["type"] != "lifespan" and scope["path"] not in OPEN:
            try:
                self.check(scope)
            except HeadserveError as error:
                protocol = current.get().protocol
                status, response = error_response(error, protocol, scope["path"])
                self.rejections.add("", protocol.name, status)
                await send_response(status, response, send)
                return
        await self.app(scope, receive, send)


def key_check(ring: KeyRing) -> Callable[[Scope], None]:
    """Return a check that identifies the caller of a request and enforces the rate limit of the key."""
    rates = RateLimiter(ring)

    def check(scope: Scope) -> None:
        request = current.get()
        _check_one_key(scope, request)
        request.key = ring.authenticate(request.headers)
        rates.hit(request.key)

    return check


def check_scope(scope: Scope) -> None:
    """Check that the key has the scope for a request that is not a prediction."""
    reads = scope["method"] in READS or scope["path"] in READ_BY_POST
    current_key().permit("read" if reads else "admin")


def may_predict(model: str) -> None:
    """Check that the caller may predict with the model. Raises InsufficientScopeError."""
    key = current_key()
    key.permit("predict")
    key.permit_model(model)


def _check_one_key(scope: Scope, request: RequestContext) -> None:
    """Raise UnauthorizedError for several keys: a proxy in front may have checked another one."""
    if len(request.headers) != len(scope["headers"]):
        names = [name for name, _ in scope["headers"]]
        for name in CREDENTIALS:
            if names.count(name) > 1:
                raise UnauthorizedError(f"Expected a key in one header {name.decode()}, but got several.", wrong=True)
