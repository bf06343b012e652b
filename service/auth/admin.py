"""Who may change what is served: whoever has the key of the setting `admin_key`."""

import hmac
from collections.abc import Mapping

from pydantic import SecretStr

from service.errors import ForbiddenError, UnauthorizedError

BEARER = "bearer "


def check(headers: Mapping[str, str], key: SecretStr | None) -> None:
    """Lets the request pass if it has the key, as `Authorization: Bearer …` or as `X-Api-Key`.

    Args:
        headers: the request's; names in any case.
        key: the setting.

    Raises:
        ForbiddenError: no key is set, so that nobody may.
        UnauthorizedError: the request has none, or another one.
    """
    if key is None:
        raise ForbiddenError("This changes what is served, and no key for that is set; set HEADSERVE_ADMIN_KEY to allow it.")
    given = headers.get("x-api-key", "")
    authorization = headers.get("authorization", "")
    if not given and authorization[: len(BEARER)].lower() == BEARER:
        given = authorization[len(BEARER) :].strip()
    # In the same time wherever they differ, so that no key can be found out letter by letter.
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), key.get_secret_value().encode()):
        came = "another key" if given else "none"
        raise UnauthorizedError(
            f"Expected the admin key, as 'Authorization: Bearer …' or 'X-Api-Key', but got {came}.", wrong=bool(given)
        )
