import shutil
import threading

import pytest

from service.errors import ModelLoadError, NotAvailableError, UnknownLabelError, UnknownModelError, UnknownVersionError
from tests.service.lifecycle.conftest import put
from tests.waiting import until


def served(manager, model="films", **which):
    with manager.acquire(model, **which) as loaded:
        return loaded.version


def states(manager, model="films"):
    return {version.version: version.state for version in manager.status(model).versions}


def write(models, text):
    (models / ".models.toml").write_text(text)
    (models / ".models.toml").rename(models / "models.toml")


def test_the_newest_version_is_served(models, loader, start):
    put(models, "films/1")
    put(models, "films/2")
    manager = start()
    assert served(manager) == served(manager, version=2) == 2
    assert states(manager) == {1: "start", 2: "available"}
    assert loader.loaded[0].done == ["warm_up"]
    assert loader.attempts == [2]


def test_a_model_that_fails_does_not_stop_the_others(models, start):
    put(models, "films/1")
    put(models, "broken/5", "fail: nobody expects this")
    put(models, "cold/1", "fail warm-up: x")
    manager = start()
    assert {name: status.state for name, status in manager.statuses.items()} == {
        "broken": "failed",
        "cold": "failed",
        "films": "available",
    }
    assert manager.status("broken").error == "RuntimeError: nobody expects this"
    assert manager.status("cold").error == "ValueError: cold"


def test_what_fails_to_warm_up_is_closed(models, loader, start):
    put(models, "cold/1", "fail warm-up: x")
    start()
    assert loader.loaded[0].done == ["close"]


@pytest.mark.parametrize(
    ("model", "which", "error", "message"),
    [
        pytest.param("film", {}, UnknownModelError, "no model 'film'.*Did you mean 'films'", id="unknown model"),
        pytest.param("films", {"version": 1}, UnknownVersionError, "version 2 is. It is on disk, but not loaded", id="older"),
        pytest.param(
            "films", {"version": 9}, UnknownVersionError, "no version 9 to serve; version 2 is.$", id="unknown version"
        ),
        pytest.param(
            "films", {"label": "stabel"}, UnknownLabelError, "has 'stable', 'next'. Did you mean 'stable'", id="label"
        ),
        pytest.param("films", {"label": "next"}, NotAvailableError, "stands for version 9, which is not served", id="of none"),
        pytest.param("broken", {}, ModelLoadError, "version 5, failed to load: RuntimeError: no", id="failed"),
        pytest.param("slow", {}, NotAvailableError, "version 7, is not served yet: loading; try again", id="loading"),
    ],
)
def test_what_cannot_be_acquired(models, loader, start, model, which, error, message):
    put(models, "films/1")
    put(models, "films/2")
    put(models, "broken/5", "fail: no")
    put(models, "slow/7")
    gate = loader.gate(7)
    write(models, "[models.films]\nlabels = { stable = 2, next = 9 }\n")
    manager = start(wait=False)
    until(lambda: manager.statuses["films"].state == "available" and states(manager, "slow") == {7: "loading"})
    with pytest.raises(error, match=message), manager.acquire(model, **which):
        pass
    gate.set()


def test_an_empty_folder(start):
    manager = start()
    assert manager.statuses == {}
    with pytest.raises(UnknownModelError, match="there are none"):
        manager.status("films")


@pytest.mark.parametrize("watch", [True, False], ids=["watching", "polling"])
def test_versions_and_models_come_and_go(models, loader, start, watch):
    put(models, "films/1")
    manager = start(watch=watch, poll_interval_ms=60_000 if watch else 10)
    put(models, "films/2")
    until(lambda: served(manager) == 2 and states(manager)[1] == "end")
    put(models, "birds/1")
    until(lambda: "birds" in manager.statuses and states(manager, "birds") == {1: "available"})
    shutil.rmtree(models / "films" / "2")
    until(lambda: served(manager) == 1 and states(manager) == {1: "available"})
    shutil.rmtree(models / "films")
    until(lambda: list(manager.statuses) == ["birds"])
    assert [model.done for model in loader.loaded] == [
        ["warm_up", "close"],
        ["warm_up", "close"],
        ["warm_up"],
        ["warm_up", "close"],
    ]


def test_a_version_replaced_in_its_place_is_loaded_anew(models, loader, start):
    put(models, "films/1", "old")
    manager = start(poll_interval_ms=60_000)  # it does not look while there is no version
    (models / "films" / "1").rename(models / ".old")
    put(models, "films/1", "new")
    manager.wake()
    until(lambda: len(loader.loaded) == 2 and states(manager) == {1: "available"} and loader.loaded[0].done[-1] == "close")
    assert [(known.loads, known.failures) for known in manager.status("films").versions] == [(2, 0)]


def test_loads_and_failures_are_kept_when_a_version_is_replaced(models, loader, start):
    """A counter that falls would be a restart for who reads it."""
    put(models, "films/1", "old")
    manager = start(poll_interval_ms=60_000)  # it does not look while there is no version
    (models / "films" / "1").rename(models / ".old")
    put(models, "films/1", "fail: no")
    manager.wake()
    until(lambda: any(known.failures for known in manager.status("films").versions))
    assert {(known.loads, known.failures > 0) for known in manager.status("films").versions} == {(1, True)}
    (models / "films" / "1").rename(models / ".fail")
    put(models, "films/1", "new")
    manager.wake()
    until(lambda: loader.loaded[-1].done == ["warm_up"] and len(loader.loaded) == 2 and states(manager) == {1: "available"})
    ((loads, failures),) = {(known.loads, known.failures) for known in manager.status("films").versions}
    assert loads == 2
    assert failures >= 1


def test_a_version_is_unloaded_when_the_last_request_lets_go_of_it(models, loader, start):
    put(models, "films/1")
    manager = start()
    old = loader.loaded[0]
    with manager.acquire("films") as first:
        with pytest.raises(ZeroDivisionError), manager.acquire("films") as second:  # noqa: PT012
            put(models, "films/2")
            until(lambda: served(manager) == 2 and states(manager)[1] == "unloading")
            _ = second.version / 0
        assert first is second is old
        assert "close" not in old.done
    until(lambda: states(manager)[1] == "end")
    assert old.done == ["warm_up", "close"]


def test_requests_from_many_threads_while_versions_change(models, loader, start):
    """Nobody is ever given what is closed, and nobody is refused."""
    put(models, "films/1")
    manager = start()
    wrong, ended = [], threading.Event()

    def ask():
        while not ended.is_set():
            try:
                with manager.acquire("films") as loaded:
                    wrong.extend(["closed"] if "close" in loaded.done else [])
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(2, 12):
        put(models, f"films/{version}")
        until(lambda version=version: served(manager) == version)
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    until(lambda: [model.done.count("close") for model in loader.loaded] == [1] * 10 + [0])


def test_a_version_that_fails_disturbs_nobody_and_is_tried_again(models, loader, start, monkeypatch):
    monkeypatch.setattr("service.lifecycle.record.retry_delay_s", lambda attempts: 0.01)
    put(models, "films/1")
    manager = start()
    broken = put(models, "films/2", "fail: not yet")
    until(lambda: loader.attempts.count(2) >= 3)
    assert served(manager) == 1
    assert manager.status("films").state == "available"
    assert manager.status("films").problems == ("Version 2 failed: RuntimeError: not yet",)
    (broken / "saved_model.pb").write_text("good")
    until(lambda: served(manager) == 2)
    assert manager.status("films").problems == ()
    until(lambda: states(manager)[1] == "end")


def test_a_folder_that_has_changed_is_tried_at_once(models, loader, start, monkeypatch):
    monkeypatch.setattr("service.lifecycle.record.retry_delay_s", lambda attempts: 1e6)
    broken = put(models, "films/1", "fail: half of it")
    manager = start()
    (models / ".whole").write_text("all of it")
    (models / ".whole").rename(broken / "saved_model.pb")  # at once: half of it would be tried, too
    until(lambda: manager.status("films").state == "available")
    assert loader.attempts == [1, 1]


def test_a_server_that_starts_serves_the_older_version_when_the_newest_fails(models, start):
    put(models, "films/1")
    put(models, "films/2", "fail: no")
    manager = start()
    assert served(manager) == 1
    assert states(manager) == {1: "available", 2: "failed"}


def test_what_still_changes_is_not_touched(models, loader, start):
    put(models, "films/1")
    manager = start()
    manager.stop()
    manager = start(settle_ms=10**9, wait=False)
    until(lambda: states(manager) == {1: "start"})
    assert loader.attempts == [1]


@pytest.mark.parametrize(
    ("transition", "order"),
    [("availability", ["load 1", "load 2", "close 1"]), ("resource", ["load 1", "close 1", "load 2"])],
)
def test_transitions(models, loader, start, transition, order):
    write(models, f'[models.films]\ntransition = "{transition}"\n')
    put(models, "films/1")
    manager = start()
    put(models, "films/2")
    until(lambda: states(manager) == {1: "end", 2: "available"})
    assert loader.order == order


def test_models_toml_is_read_again(models, loader, start):
    for version in (1, 2, 3):
        put(models, f"films/{version}")
    manager = start()
    write(models, "[models.films]\nversions = { latest = 2 }\nlabels = { stable = 2, canary = 3 }\n")
    until(lambda: states(manager) == {1: "start", 2: "available", 3: "available"})
    assert (served(manager), served(manager, label="stable"), served(manager, label="canary")) == (3, 2, 3)
    write(models, "[models.films]\nversions = { specific = [1] }\nlabels = { stable = 1, canary = 7 }\n")
    until(lambda: states(manager) == {1: "available", 2: "end", 3: "end"})
    assert served(manager, label="stable") == 1
    assert manager.status("films").problems == ("Label 'canary' stands for version 7, which is not on disk.",)
    (models / "models.toml").unlink()
    until(lambda: states(manager) == {1: "end", 2: "end", 3: "available"})


def test_a_broken_models_toml_changes_nothing(models, start):
    put(models, "films/1")
    put(models, "films/2")
    write(models, "[models.films]\nversions = { all = true }\n")
    manager = start()
    write(models, "[models.films]\nversion = { latest = 1 }\n")
    until(lambda: manager.models_file.error is not None)
    assert "models.films.version: there is no such key" in manager.models_file.error
    assert states(manager) == {1: "available", 2: "available"}
    write(models, "")
    until(lambda: manager.models_file.error is None and states(manager)[1] == "end")


def test_other_batching_is_put_in_force_by_loading_anew(models, loader, start):
    put(models, "films/1")
    manager = start()
    write(models, "[models.films]\nbatching = { max_batch_size = 8 }\n")
    until(lambda: len(loader.loaded) == 2 and "close" in loader.loaded[0].done)
    assert loader.loaded[1].options.batching.max_batch_size == 8
    assert states(manager) == {1: "available"}
    assert loader.order == ["load 1", "load 1", "close 1"]


def test_what_is_removed_while_it_loads_is_never_served(models, loader, start):
    gate = loader.gate(2)
    put(models, "films/1")
    manager = start()
    folder = put(models, "films/2")
    until(lambda: states(manager).get(2) == "loading")
    shutil.rmtree(folder)
    until(lambda: not manager.status("films").versions[-1].wanted)
    gate.set()
    until(lambda: states(manager) == {1: "available"})
    assert loader.order == ["load 1", "load 2", "close 2"]


def test_a_folder_out_of_reach_takes_no_model_down(models, start):
    put(models, "films/1")
    manager = start()
    models.rename(models.parent / "away")
    until(lambda: manager._reporter._disk is not None)
    assert served(manager) == 1
    (models.parent / "away").rename(models)
    until(lambda: manager._reporter._disk is None)


def test_stopping_closes_what_is_loaded(models, loader, start):
    put(models, "films/1")
    start().stop()
    assert loader.loaded[0].done == ["warm_up", "close"]
