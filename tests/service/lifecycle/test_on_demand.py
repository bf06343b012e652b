"""Models that are loaded at their first request, within a budget of memory."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import ModelLoadError, NotAvailableError
from tests.service.lifecycle.conftest import put, served, states, write
from tests.waiting import GENEROUS_S, until

SIZE = 1000
"""Bytes of each model."""


def put_models(models, *names, size=SIZE):
    for name in names:
        put(models, f"{name}/1", "x" * size)


@pytest.fixture(autouse=True)
def _measured_by_files(monkeypatch):
    monkeypatch.setattr("service.lifecycle.loader.resident_bytes", lambda: 0)


def demanded(manager, name):
    manager.demand(name).result(GENEROUS_S)
    return served(manager, name)


def in_memory(manager):
    return [name for name, status in manager.statuses.items() if status.state != "unloaded"]


def test_nothing_is_loaded_before_the_first_request(models, loader, start):
    put_models(models, "birds", "films")
    manager = start(memory_bytes=10 * SIZE)
    assert manager.settled
    assert loader.attempts == []
    assert manager.status("films").error == "It is loaded at its first request."
    assert manager.loads_on_demand("films")
    assert not manager.loads_on_demand("nix")
    with pytest.raises(NotAvailableError, match="loaded at its first request"):
        served(manager, "films")


def test_a_request_loads_its_model_only(models, start):
    put_models(models, "birds", "films")
    manager = start(memory_bytes=10 * SIZE)
    assert demanded(manager, "films") == 1
    assert in_memory(manager) == ["films"]
    assert not manager.loads_on_demand("films")


def test_a_model_is_loaded_once_for_many_requests(models, loader, start):
    put_models(models, "films")
    gate = loader.gate(1)
    manager = start(memory_bytes=10 * SIZE)
    futures = [manager.demand("films") for _ in range(5)]
    until(lambda: states(manager) == {1: "loading"})
    assert manager.loads_on_demand("films"), "later requests wait as well"
    futures.append(manager.demand("films"))
    gate.set()
    for future in futures:
        future.result(GENEROUS_S)
    assert loader.attempts == [1]


def test_the_least_recently_used_model_makes_room(models, start):
    put_models(models, "birds", "cars", "films")
    manager = start(memory_bytes=2 * SIZE)
    demanded(manager, "birds")
    demanded(manager, "cars")
    served(manager, "birds")
    demanded(manager, "films")
    assert in_memory(manager) == ["birds", "films"]
    demanded(manager, "cars")
    assert in_memory(manager) == ["cars", "films"]


def test_a_model_in_use_is_unloaded_after_its_request(models, loader, start):
    put_models(models, "birds", "films")
    manager = start(memory_bytes=SIZE)
    manager.demand("birds").result(GENEROUS_S)
    with manager.acquire("birds"):
        future = manager.demand("films")
        until(lambda: states(manager, "birds") == {1: "unloading"})
        assert not future.done()
    future.result(GENEROUS_S)
    assert loader.order == ["load 1", "close 1", "load 1"], "never both at once"


def test_a_model_that_has_just_been_loaded_waits_for_its_request(models, start, monkeypatch):
    monkeypatch.setattr("service.lifecycle.memory_budget.MIN_STAY_S", GENEROUS_S)
    put_models(models, "birds", "films")
    manager = start(memory_bytes=SIZE)
    manager.demand("birds").result(GENEROUS_S)
    future = manager.demand("films")
    with pytest.raises(TimeoutError):
        future.result(0.3)
    assert served(manager, "birds") == 1
    future.result(GENEROUS_S)


def test_a_model_that_was_never_used_makes_room_after_a_while(models, start, monkeypatch):
    monkeypatch.setattr("service.lifecycle.memory_budget.MIN_STAY_S", 0.05)
    put_models(models, "birds", "films")
    manager = start(memory_bytes=SIZE)
    manager.demand("birds").result(GENEROUS_S)
    manager.demand("films").result(GENEROUS_S)
    assert in_memory(manager) == ["films"]


def test_a_model_that_is_larger_than_the_budget_is_loaded_alone(models, start):
    put_models(models, "birds", "films")
    put_models(models, "whales", size=5 * SIZE)
    manager = start(memory_bytes=2 * SIZE)
    for name in ("birds", "films", "whales"):
        demanded(manager, name)
    assert in_memory(manager) == ["whales"]
    demanded(manager, "birds")
    assert in_memory(manager) == ["birds"]


def test_memory_is_what_the_last_load_has_taken(models, start, monkeypatch):
    taken = iter(range(0, 1000 * SIZE, 3 * SIZE))
    monkeypatch.setattr("service.lifecycle.loader.resident_bytes", lambda: next(taken))
    put_models(models, "birds", "films")
    manager = start(memory_bytes=4 * SIZE)
    demanded(manager, "birds")
    demanded(manager, "films")
    until(lambda: in_memory(manager) == ["films"])


def test_a_model_that_was_unloaded_by_hand_is_not_loaded_by_a_request(models, start):
    put_models(models, "films")
    manager = start(memory_bytes=10 * SIZE)
    demanded(manager, "films")
    manager.unload("films").result(GENEROUS_S)
    assert not manager.loads_on_demand("films")
    assert "unloaded on request" in manager.status("films").error
    manager.load("films").result(GENEROUS_S)
    assert served(manager) == 1


def test_a_load_by_hand_needs_no_request(models, start):
    put_models(models, "films")
    manager = start(memory_bytes=10 * SIZE)
    manager.load("films").result(GENEROUS_S)
    assert served(manager) == 1


def test_the_error_of_a_model_that_fails(models, loader, start):
    put(models, "films/1", "refuse: no")
    manager = start(memory_bytes=10 * SIZE)
    for _ in range(2):
        with pytest.raises(ModelLoadError, match="no"):
            demanded(manager, "films")
    assert loader.attempts == [1]
    assert not manager.loads_on_demand("films")


def test_a_new_version_of_a_model_in_memory_replaces_it(models, start):
    put_models(models, "films")
    manager = start(memory_bytes=10 * SIZE)
    demanded(manager, "films")
    put(models, "films/2", "x" * SIZE)
    until(lambda: served(manager) == 2)


def test_a_new_version_of_a_model_that_is_not_in_memory(models, loader, start):
    put_models(models, "films")
    manager = start(memory_bytes=10 * SIZE)
    put(models, "films/2", "x" * SIZE)
    until(lambda: 2 in states(manager))
    assert loader.attempts == []
    assert demanded(manager, "films") == 2


def test_a_label_that_points_to_no_version(models, start):
    write(models, "[models.films]\nlabels = { canary = 7 }\n")
    put_models(models, "films")
    manager = start(memory_bytes=10 * SIZE)
    manager.demand("films").result(GENEROUS_S)
    assert not manager.loads_on_demand("films"), "a request for the label gets an error, and does not wait"


def test_requests_for_more_models_than_fit(models, loader, start):
    """Each gets its model, although every load unloads another one."""
    names = [f"model{number}" for number in range(6)]
    put_models(models, *names)
    manager = start(memory_bytes=2 * SIZE, load_threads=2)
    right = []
    stopped = threading.Event()

    def client(number):
        for turn in range(8):
            name = names[(number + turn) % len(names)]
            while not stopped.is_set():
                try:
                    right.append(served(manager, name))
                    break
                except NotAvailableError:
                    manager.demand(name).result(GENEROUS_S)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client, range(4)))
    assert right == [1] * 32
