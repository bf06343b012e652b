"""Loads that take too long, and versions that a guard does not admit."""

import threading
from collections.abc import Callable

import pytest

from service.errors import ModelLoadError
from service.lifecycle.loader import MAX_ABANDONED, TRIALS_AHEAD
from service.lifecycle.manager import Manager, Timing
from tests.service.lifecycle.conftest import Clock, put, served, states
from tests.waiting import GENEROUS_S, until

TIMEOUT_MS = 60_000


class Mark:
    """Records what happens to the version that it marks."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...

    def loading(self) -> None:
        self.done.append("loading")

    def loaded(self) -> None:
        self.done.append("loaded")

    def free(self) -> None:
        self.done.append("free")


class Guard:
    """Tries out every version; a trial waits for the version's gate, and refuses versions in `refused`."""

    def __init__(self) -> None:
        self.gates: dict[int, threading.Event] = {}
        self.refused: set[int] = set()
        self.again: list[bool] = []
        self.marks: dict[int, Mark] = {}

    def admit(self, model, version, options, files, on_trial: Callable[[], None], *, again: bool) -> Mark:
        on_trial()
        self.again.append(again)
        if version in self.gates:
            assert self.gates[version].wait(GENEROUS_S)
        if version in self.refused:
            raise ModelLoadError("It crashes.")
        return self.marks.setdefault(version, Mark())

    def prepare(self) -> None: ...


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def guard():
    return Guard()


@pytest.fixture
def manage(models, loader, clock, guard, monkeypatch):
    """Starts a manager whose clock the test sets."""
    monkeypatch.setattr("service.lifecycle.loader.give_back", lambda: None)
    started = []

    def manage(guarded: bool = False) -> Manager:
        timing = Timing(poll_interval_ms=10, settle_ms=0, load_timeout_ms=TIMEOUT_MS, watch=False)
        started.append(Manager(models, loader, timing=timing, clock=clock, guard=guard if guarded else None))
        started[-1].start()
        return started[-1]

    yield manage
    for manager in started:
        manager.stop()
    loader.open_gates()
    for gate in guard.gates.values():
        gate.set()


def reached(manager: Manager, model: str, expected: dict[int, str]) -> bool:
    """Whether the model is known, and its versions have these states."""
    return manager.knows(model) and states(manager, model) == expected


def test_a_load_that_takes_too_long_fails_and_gives_its_place_to_the_next(models, loader, clock, manage):
    put(models, "endless/2")
    put(models, "films/1")
    gate = loader.gate(2)
    manager = manage()
    until(lambda: loader.attempts == [2])
    until(lambda: reached(manager, "endless", {2: "loading"}))
    clock.now_s = TIMEOUT_MS / 1000 + 1
    until(lambda: manager.settled)
    assert manager.status("endless").error == "It was loading for more than 60 s (--load-timeout-ms)."
    assert served(manager) == 1
    gate.set()  # what it has loaded after all is closed at once, and never served
    until(lambda: any(model.version == 2 and model.done == ["close"] for model in loader.loaded))
    assert states(manager, "endless") == {2: "failed"}


def test_no_version_is_loaded_any_more_when_many_loads_have_not_returned(models, loader, clock, manage):
    manager = manage()
    for version in range(1, MAX_ABANDONED + 1):
        loader.gate(version)
        put(models, f"endless{version}/{version}")
        until(lambda version=version: version in loader.attempts)
        clock.now_s += TIMEOUT_MS / 1000 + 1
        until(lambda version=version: reached(manager, f"endless{version}", {version: "failed"}))
    put(models, "films/100")
    until(lambda: reached(manager, "films", {100: "failed"}))
    assert manager.status("films").error.startswith(f"{MAX_ABANDONED} loads have not returned")
    loader.open_gates()
    manager.load("films").result(GENEROUS_S)
    assert served(manager) == 100


def test_a_version_that_is_not_admitted_fails(models, loader, guard, manage):
    guard.refused.add(3)
    put(models, "films/3")
    manager = manage(guarded=True)
    until(lambda: manager.settled)
    assert manager.status("films").error == "It crashes."
    assert loader.attempts == []


def test_an_operator_asks_for_another_attempt(models, guard, manage):
    guard.refused.add(3)
    put(models, "films/3")
    manager = manage(guarded=True)
    until(lambda: manager.settled)
    guard.refused.clear()
    manager.load("films").result(GENEROUS_S)
    assert guard.again == [False, True]
    assert served(manager) == 3


def test_a_trial_that_takes_long_keeps_no_other_model_waiting(models, clock, guard, manage):
    for version in range(1, TRIALS_AHEAD + 1):
        guard.gates[version] = threading.Event()
        put(models, f"endless{version}/{version}")
    put(models, "films/100")
    manager = manage(guarded=True)
    until(lambda: reached(manager, "films", {100: "available"}))
    clock.now_s = TIMEOUT_MS  # a trial has limits of its own
    until(lambda: states(manager, "endless1") == {1: "trial"})
    guard.gates[1].set()
    until(lambda: states(manager, "endless1") == {1: "available"})


def test_the_mark_of_a_version(models, guard, manage):
    put(models, "films/1")
    manager = manage(guarded=True)
    until(lambda: manager.settled)
    assert guard.marks[1].done == ["loading", "loaded"]
    put(models, "films/2")
    until(lambda: states(manager) == {1: "end", 2: "available"} or states(manager) == {1: "start", 2: "available"})
    assert guard.marks[1].done == ["loading", "loaded", "free"]


def test_the_mark_of_a_version_that_fails(models, guard, manage):
    put(models, "films/1", "fail warm-up: cold")
    manager = manage(guarded=True)
    until(lambda: manager.settled)
    assert guard.marks[1].done == ["loading", "free"]


def test_the_memory_of_a_version_is_not_that_of_the_import_before_it(models, guard, manage, monkeypatch):
    used = [0]
    monkeypatch.setattr("service.lifecycle.loader.resident_bytes", lambda: used[0])
    guard.prepare = lambda: used.__setitem__(0, 10**9)
    put(models, "films/1")
    manager = manage(guarded=True)
    until(lambda: manager.settled)
    assert manager.status("films").versions[0].resident_bytes == 0
