"""Response headers for browsers: CORS, security headers of every response except predictions, and the policy of pages."""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_HEADERS = (
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Inference-Header-Content-Length",
    "Traceparent",
    "Tracestate",
    "X-Api-Key",
    "X-Request-Id",
    "X-Request-Timeout-Ms",
    "X-Server-Timing",
)
"""Headers that a page may send."""

RESPONSE_HEADERS = (
    "Inference-Header-Content-Length",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "Server-Timing",
    "Traceparent",
    "Tracestate",
    "WWW-Authenticate",
    "X-Model-Version",
    "X-Request-Id",
)
"""Headers that a page may read."""

_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger writes styles into elements. Inline scripts are allowed by the hashes of the page's own."""


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Return the application with CORS for these origins, or unchanged without any. Cookies are not used."""
    if not origins:
        return app
    return CORSMiddleware(
        app, origins, allow_methods=("GET", "POST"), allow_headers=REQUEST_HEADERS, expose_headers=RESPONSE_HEADERS
    )


class SecurityHeaders:
    """ASGI middleware that adds the headers."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request; hold the head of a page until its body, as the policy has the hashes of the body's scripts."""
        held: Message | None = None

        async def send_protected(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers["x-content-type-options"] = "nosniff"
                if headers.get("content-type", "").startswith("text/html"):
                    held = message
                    return
            elif held is not None:
                start, held = held, None
                _protect(MutableHeaders(raw=start["headers"]), _INLINE.findall(message.get("body", b"")))
                await send(start)
            await send(message)

        await self._app(scope, receive, send_protected if scope["type"] == "http" else send)


def _protect(headers: MutableHeaders, scripts: Iterable[bytes]) -> None:
    hashes = "".join(f" 'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in scripts)
    headers["content-security-policy"] = _POLICY.format(scripts=hashes)
    headers["referrer-policy"] = "no-referrer"
    headers["x-frame-options"] = "DENY"
