import re
import time

import pytest

from service.auth.keys import Key, KeyRing, digest_of, new_key
from service.errors import InsufficientScopeError, UnauthorizedError

ID, VALID = new_key()
EXPIRED_ID, EXPIRED = new_key()


def test_a_new_key_has_an_id_and_256_random_bits():
    key_id, key = new_key()
    assert re.fullmatch("[0-9a-f]{8}", key_id)
    assert re.fullmatch(f"hs_{key_id}_[A-Za-z0-9_-]{{43}}", key)
    assert key[12:] != VALID[12:]


def ring() -> KeyRing:
    keys = [
        Key(ID, "valid", digest_of(VALID.encode()), frozenset({"read"})),
        Key(EXPIRED_ID, "expired", digest_of(EXPIRED.encode()), frozenset({"read"}), expires_at=time.time() - 1),
    ]
    return KeyRing(keys)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"x-api-key": VALID}, id="X-Api-Key"),
        pytest.param({"x-api-key": f" {VALID} "}, id="spaces"),
        pytest.param({"authorization": f"Bearer {VALID}"}, id="bearer"),
        pytest.param({"authorization": f"bearer  {VALID}"}, id="lower case"),
        pytest.param({"x-api-key": VALID, "authorization": "Basic of a proxy"}, id="X-Api-Key comes first"),
        pytest.param({"x-api-key": VALID, "authorization": f"Bearer {EXPIRED}"}, id="X-Api-Key before bearer"),
        pytest.param({"x-api-key": " ", "authorization": f"Bearer {VALID}"}, id="an empty X-Api-Key"),
    ],
)
def test_a_valid_key_is_accepted(headers):
    assert ring().authenticate({name.encode(): value.encode() for name, value in headers.items()}).name == "valid"


@pytest.mark.parametrize(
    ("headers", "message", "is_wrong"),
    [
        pytest.param({}, "but got none", False, id="none"),
        pytest.param({"x-api-key": "  "}, "but got none", False, id="empty"),
        pytest.param({"authorization": f"Basic {VALID}"}, "but got none", False, id="another scheme"),
        pytest.param({"authorization": f"Token  {VALID}"}, "but got none", False, id="a scheme of the same length"),
        pytest.param({"x-api-key": f"{VALID}x"}, "but got another one", True, id="a longer key"),
        pytest.param({"x-api-key": f"hs_{ID}_"}, "but got another one", True, id="the id alone"),
        pytest.param({"x-api-key": f"hs_00000000{VALID[11:]}"}, "but got another one", True, id="an unknown id"),
        pytest.param({"x-api-key": EXPIRED}, "The key 'expired' has expired", True, id="expired"),
    ],
)
def test_other_requests_are_refused_with_a_challenge(headers, message, is_wrong):
    sent = {name.encode(): value.encode() for name, value in headers.items()}
    with pytest.raises(UnauthorizedError, match=message) as refused:
        ring().authenticate(sent)
    ((name, challenge),) = refused.value.headers
    assert name == b"www-authenticate"
    assert (b"invalid_token" in challenge) == is_wrong


def test_a_replaced_ring_refuses_the_keys_before():
    replaced = ring()
    replaced.replace([])
    with pytest.raises(UnauthorizedError):
        replaced.authenticate({b"x-api-key": VALID.encode()})


def test_a_key_permits_its_scopes_and_its_models_only():
    key = Key("1", "k", b"", frozenset({"predict", "read"}), frozenset({"a"}))
    key.permit("read")
    with pytest.raises(InsufficientScopeError, match="scope 'admin'; this one has: predict, read") as refused:
        key.permit("admin")
    assert refused.value.details == {"scope": "admin"}
    assert [key.sees(model) for model in ("a", "b")] == [True, False]
    assert Key("1", "k", b"", frozenset()).sees("b")
