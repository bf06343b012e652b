import time

import pytest

from service.auth.keys import Key
from service.auth.keys_file import limit_of
from service.auth.rates import Rates, Windows
from service.errors import RateLimitedError


def key(name: str, rate: str | None) -> Key:
    return Key(name, name, b"", frozenset({"read"}), limit=None if rate is None else limit_of(rate))


def test_a_window_is_a_key_s_own_and_begins_anew(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    rates, one, other = Rates(), key("one", "2/minute"), key("other", "1/minute")
    for _ in range(3):
        rates.hit(one)
        now[0] += 20
        rates.hit(one)
        with pytest.raises(RateLimitedError, match="The key 'one' may ask 2 times a minute; come again in 40 s") as refused:
            rates.hit(one)
        assert refused.value.retry_after_s == 40
        rates.hit(other)
        now[0] += 60


def test_a_clock_that_is_set_back_locks_nobody_out(monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    rates, one = Rates(), key("one", "1/second")
    rates.hit(one)
    now[0] = 1000.0
    rates.hit(one)


def test_without_a_limit():
    rates, one = Rates(), key("one", None)
    for _ in range(1000):
        rates.hit(one)


def test_windows_are_a_storage_of_limits():
    windows = Windows()
    assert windows.check()
    assert [windows.incr("a", 60), windows.incr("a", 60, 2), windows.get("a"), windows.get("b")] == [1, 3, 3, 0]
    assert windows.get_expiry("a") > time.time()
    windows.clear("a")
    assert windows.get("a") == 0
    windows.incr("a", 60)
    assert windows.reset() == 1
