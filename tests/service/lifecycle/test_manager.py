import shutil
import threading
from collections import Counter

import pytest

from service.errors import ModelLoadError, NotAvailableError, UnknownLabelError, UnknownModelError, UnknownVersionError
from service.lifecycle import disk
from service.lifecycle.model_versions import ModelVersions
from service.lifecycle.models_folder import ModelsFolder
from service.lifecycle.routing import VersionHandle
from tests.service.lifecycle.conftest import NEVER_MS, close_slowly, put, replace, served, states, write
from tests.waiting import GENEROUS_S, until


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
    put(models, "broken/5", "fail: unexpected")
    put(models, "cold/1", "fail warm-up: cold")
    manager = start()
    assert {name: status.state for name, status in manager.statuses.items()} == {
        "broken": "failed",
        "cold": "failed",
        "films": "available",
    }
    assert manager.status("broken").error == "RuntimeError: unexpected"
    assert manager.status("cold").error == "ValueError: cold"


def test_a_version_that_fails_to_warm_up_is_closed(models, loader, start):
    put(models, "cold/1", "fail warm-up: cold")
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
        pytest.param(
            "films",
            {"label": "next"},
            NotAvailableError,
            "points to version 9, which is not served",
            id="label without version",
        ),
        pytest.param("broken", {}, ModelLoadError, "version 5, failed to load: RuntimeError: no", id="failed"),
        pytest.param("slow", {}, NotAvailableError, "version 7, is not served yet: loading; try again", id="loading"),
    ],
)
def test_errors_of_acquire(models, loader, start, model, which, error, message):
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
def test_versions_and_models_are_added_and_removed(models, loader, start, watch):
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


def test_a_replaced_version_is_loaded_again(models, loader, start):
    put(models, "films/1", "old")
    manager = start(poll_interval_ms=NEVER_MS)
    replace(models, "films/1", "new")
    manager.wake()
    until(lambda: len(loader.loaded) == 2 and states(manager) == {1: "available"} and loader.loaded[0].done[-1] == "close")
    until(lambda: [(known.loads, known.failures) for known in manager.status("films").versions] == [(2, 0)])


def test_loads_and_failures_are_kept_when_a_version_is_replaced(models, loader, start):
    """To a monitoring system, a counter that falls is a restart."""
    put(models, "films/1", "old")
    manager = start(poll_interval_ms=NEVER_MS)
    replace(models, "films/1", "fail: no")
    manager.wake()
    until(lambda: any(known.failures for known in manager.status("films").versions))
    assert {(known.loads, known.failures > 0) for known in manager.status("films").versions} == {(1, True)}
    replace(models, "films/1", "new")
    manager.wake()
    until(lambda: loader.loaded[-1].done == ["warm_up"] and len(loader.loaded) == 2 and states(manager) == {1: "available"})
    ((loads, failures),) = {(known.loads, known.failures) for known in manager.status("films").versions}
    assert loads == 2
    assert failures >= 1


def test_a_version_is_unloaded_when_the_last_request_releases_it(models, loader, start):
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
    """No request gets a closed version, and none is refused."""
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

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for version in range(2, 7):
        put(models, f"films/{version}")
        until(lambda version=version: served(manager) == version)
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    until(lambda: [model.done.count("close") for model in loader.loaded] == [1] * 5 + [0])


def test_a_version_that_fails_is_retried_while_the_one_before_serves(models, loader, start, monkeypatch):
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


def test_a_version_that_failed_is_retried_at_once_when_its_files_change(models, loader, start, monkeypatch):
    monkeypatch.setattr("service.lifecycle.record.retry_delay_s", lambda attempts: 1e6)
    broken = put(models, "films/1", "fail: half of it")
    manager = start()
    (models / ".whole").write_text("all of it")
    (models / ".whole").rename(broken / "saved_model.pb")  # not written in place: half of it would be loaded
    until(lambda: manager.status("films").state == "available")
    assert loader.attempts == [1, 1]


def test_the_older_version_is_served_when_the_newest_fails_at_the_start(models, start):
    put(models, "films/1")
    put(models, "films/2", "fail: no")
    manager = start()
    assert served(manager) == 1
    assert states(manager) == {1: "available", 2: "failed"}


def test_a_folder_that_still_changes_is_not_loaded(models, loader, start):
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
    assert manager.status("films").problems == ("Label 'canary' points to version 7, which is not on disk.",)
    (models / "models.toml").unlink()
    until(lambda: states(manager) == {1: "end", 2: "end", 3: "available"})


def test_a_broken_models_toml_changes_nothing(models, start):
    put(models, "films/1")
    put(models, "films/2")
    write(models, "[models.films]\nversions = { all = true }\n")
    manager = start()
    write(models, "[models.films]\nversion = { latest = 1 }\n")
    until(lambda: manager.models_file.error is not None)
    assert "models.films.version: unknown key" in manager.models_file.error
    assert states(manager) == {1: "available", 2: "available"}
    write(models, "")
    until(lambda: manager.models_file.error is None and states(manager)[1] == "end")


def test_a_version_is_loaded_again_for_other_batching_options(models, loader, start):
    put(models, "films/1")
    manager = start()
    write(models, "[models.films]\nbatching = { max_batch_size = 8 }\n")
    until(lambda: len(loader.loaded) == 2 and "close" in loader.loaded[0].done)
    assert loader.loaded[1].options.batching.max_batch_size == 8
    assert states(manager) == {1: "available"}
    assert loader.order == ["load 1", "load 1", "close 1"]


def test_a_version_that_is_removed_while_it_loads_is_never_served(models, loader, start):
    gate = loader.gate(2)
    put(models, "films/1")
    manager = start()
    folder = put(models, "films/2")
    until(lambda: states(manager).get(2) == "loading" and loader.attempts == [1, 2])
    shutil.rmtree(folder)
    until(lambda: not manager.status("films").versions[-1].wanted)
    gate.set()
    until(lambda: states(manager) == {1: "available"})
    assert loader.order == ["load 1", "load 2", "close 2"]


def test_models_are_served_while_their_folder_cannot_be_read(models, start, logged):
    put(models, "films/1")
    manager = start()
    models.rename(models.parent / "away")
    until(lambda: "versions stay as they are" in [line["event"] for line in logged])
    assert served(manager) == 1
    (models.parent / "away").rename(models)
    until(lambda: logged[-1]["event"] == "the models folder can be read again")


def test_stopping_closes_every_loaded_version(models, loader, start):
    put(models, "films/1")
    start().stop()
    assert loader.loaded[0].done == ["warm_up", "close"]


def test_a_version_that_fails_to_warm_up_leaves_the_one_before_it_in_service(models, loader, start):
    put(models, "films/1")
    manager = start()
    put(models, "films/2", "fail warm-up: no variable 'bias'")
    until(lambda: states(manager).get(2) == "failed")
    assert (served(manager), states(manager)[1]) == (1, "available")
    assert manager.status("films").versions[1].error == "ValueError: no variable 'bias'"
    assert [model.done for model in loader.loaded] == [["warm_up"], ["close"]]


def events(logged, event):
    return [line for line in logged if line["event"] == event]


def test_a_version_that_cannot_load_is_tried_once(models, loader, start, logged, monkeypatch):
    monkeypatch.setattr("service.lifecycle.record.retry_delay_s", lambda attempts: 0.0)
    put(models, "films/1")
    manager = start()
    broken = put(models, "films/2", "refuse: not a SavedModel")
    until(lambda: states(manager).get(2) == "failed")
    for version in range(1, 6):  # five more scans
        put(models, f"birds/{version}")
        until(lambda version=version: "birds" in manager.statuses and states(manager, "birds").get(version) == "available")
    assert loader.attempts.count(2) == 2, "films/2 and birds/2"
    assert [line["error"] for line in events(logged, "model failed")] == ["not a SavedModel"]
    assert events(logged, "configuration not satisfied") == [], "the failure has been reported"
    (models / ".good").write_text("good")
    (models / ".good").rename(broken / "saved_model.pb")
    until(lambda: served(manager) == 2)


def test_a_version_that_cannot_load_is_tried_again_on_request(models, loader, start):
    put(models, "films/1", "refuse: not a SavedModel")
    manager = start()
    with pytest.raises(ModelLoadError, match="not a SavedModel"):
        manager.load("films").result(GENEROUS_S)
    assert loader.attempts == [1, 1]


def test_a_version_whose_files_cannot_be_read_is_retried(models, loader, start, monkeypatch):
    monkeypatch.setattr("service.lifecycle.record.retry_delay_s", lambda attempts: 0.01)
    put(models, "films/1", "unreadable: saved_model.pb cannot be read")
    start()
    until(lambda: len(loader.attempts) >= 3)


def test_no_more_versions_load_at_a_time_than_there_are_threads(models, loader, start):
    for version in (1, 2, 3):
        put(models, f"model{version}/{version}")
        loader.gate(version)
    manager = start(wait=False, load_threads=2)  # the first step is taken in this thread
    assert [state for model in manager.statuses for state in states(manager, model).values()].count("start") == 1
    assert [status.state for status in manager.statuses.values()] == ["loading"] * 3
    loader.open_gates()
    until(lambda: manager.settled)


def test_a_version_is_retired_when_requests_can_no_longer_find_it(models, start, monkeypatch):
    """A request that finds a retired version looks it up again, until the table changes."""
    found = []
    retire = VersionHandle.retire

    def retired(handle):
        found.append(handle.loaded in manager.served)
        retire(handle)

    monkeypatch.setattr(VersionHandle, "retire", retired)
    put(models, "films/1")
    manager = start()
    put(models, "films/2")
    until(lambda: states(manager) == {1: "end", 2: "available"})
    assert found == [False]


def test_the_end_of_an_unloading_is_noticed_without_a_poll(models, start):
    put(models, "films/1")
    manager = start(poll_interval_ms=NEVER_MS)
    manager.unload("films").result(GENEROUS_S)
    until(lambda: states(manager) == {1: "end"})


def test_a_version_is_closed_once_however_long_that_takes(models, loader, start):
    put(models, "films/1")
    manager = start()
    calls, closed = close_slowly(loader.loaded[0])
    manager.unload("films").result(GENEROUS_S)
    until(lambda: calls)
    for name in ("birds", "trees"):  # two more scans
        put(models, f"{name}/1")
        until(lambda name=name: name in manager.statuses)
    closed.set()
    until(lambda: states(manager) == {1: "end"} and states(manager, "birds") == {1: "available"})
    assert calls == ["close"]


def test_an_unloaded_version_takes_no_memory(models, start, monkeypatch):
    sizes = iter([0, 5_000_000] * 2)
    monkeypatch.setattr("service.lifecycle.loader.resident_bytes", lambda: next(sizes))
    put(models, "films/1")
    manager = start()
    assert manager.status("films").versions[0].resident_bytes == 5_000_000
    put(models, "films/2")
    until(lambda: states(manager) == {1: "end", 2: "available"})
    assert [version.resident_bytes for version in manager.status("films").versions] == [0, 5_000_000]


def test_a_new_version_with_other_inputs_is_reported(models, start, logged):
    put(models, "films/1", "width: 8")
    manager = start()
    put(models, "films/2", "width: 8")
    until(lambda: states(manager) == {1: "end", 2: "available"})
    put(models, "films/3", "width: 4")
    until(lambda: states(manager).get(3) == "available")
    (line,) = events(logged, "inputs or heads changed: clients of the previous version may fail")
    assert (line["log_level"], line["model"], line["version"], line["previous"]) == ("warning", "films", 3, 2)
    assert line["changes"] == ["input 'x' was float32 [-1, 8] and is float32 [-1, 4]"]


def test_problems_are_reported_with_their_fix_and_once(models, start, logged):
    put(models, "films/1")
    put(models, "baz/v1")
    (models / "torch" / "1").mkdir(parents=True)
    (models / "flat").mkdir()
    (models / "flat" / "saved_model.pb").touch()
    write(models, "[models.film]\nlabels = { stable = 1 }\n[models.flat]\ntrusted = true\n")
    manager = start()
    until(lambda: len(manager.problems) == 4)
    put(models, "films/2")
    until(lambda: states(manager) == {1: "end", 2: "available"})
    problems = [
        ("baz", "v1 is not a version number; rename the folder to a positive integer."),
        ("film", "models.toml has options for 'film', but there is no such model. Did you mean 'films'?"),
        ("flat", "saved_model.pb lies in the model's folder; move it, with the files beside it, to flat/1/."),
        ("torch", "torch/1 has no saved_model.pb; put a SavedModel there, or remove the folder."),
    ]
    assert sorted((problem.model, problem.message) for problem in manager.problems) == problems
    reported = events(logged, "folder not served") + events(logged, "configuration not satisfied")
    assert sorted((line["model"], line["problem"]) for line in reported) == problems
    (models / "baz" / "v1").rename(models / "baz" / "1")
    until(lambda: "baz" in manager.statuses and states(manager, "baz") == {1: "available"})
    assert "baz" not in {problem.model for problem in manager.problems}


def test_a_problem_is_reported_without_a_poll_once_it_has_settled(models, start):
    put(models, "films/1")
    manager = start(poll_interval_ms=NEVER_MS, settle_ms=50)
    (models / "films" / "2").mkdir()
    manager.wake()
    until(lambda: [problem.folder for problem in manager.problems] == ["films/2"])


def test_the_problems_of_a_model_name_the_version_that_failed(models, start):
    write(models, "[models.films]\nlabels = { canary = 7 }\n")
    put(models, "films/1")
    put(models, "films/2", "refuse: no")
    manager = start()
    assert [(problem.kind, problem.model, problem.version) for problem in manager.problems] == [
        ("version", "films", 2),
        ("options", "films", None),
    ]
    assert manager.status("films").problems == (
        "Version 2 failed: no",
        "Label 'canary' points to version 7, which is not on disk.",
    )


@pytest.fixture
def counted(monkeypatch):
    """Counts the calls of functions by their name; not those of other tests' servers, which may run in the same process."""
    counts = Counter()
    others = set(threading.enumerate()) - {threading.current_thread()}

    def count(owner, name):
        called = getattr(owner, name)

        def counting(*args, **options):
            if threading.current_thread() not in others:
                counts[name] += 1
            return called(*args, **options)

        monkeypatch.setattr(owner, name, counting)

    count(ModelsFolder, "scan")
    count(ModelVersions, "plan")
    count(ModelVersions, "route")
    count(disk, "fingerprint")
    return counts


def test_the_work_for_a_load_does_not_grow_with_the_number_of_models(models, start, counted):
    for number in range(100):
        put(models, f"model{number}/1")
    start(poll_interval_ms=NEVER_MS)
    assert counted["scan"] == 1
    assert counted["fingerprint"] <= 2 * 100, "when the version is found, and before it is loaded"
    assert counted["plan"] <= 6 * 100, "once for each step of the loader"
    assert counted["route"] <= 6 * 100


def test_a_scan_that_finds_nothing_new_visits_no_model(models, start, counted):
    for number in range(5):
        put(models, f"model{number}/1")
        put(models, f"model{number}/2")
    start()
    loaded = counted.copy()
    until(lambda: counted["scan"] >= loaded["scan"] + 5)
    assert counted - loaded == Counter({"scan": counted["scan"] - loaded["scan"]})


def test_the_status_has_the_number_of_requests(models, start):
    put(models, "films/1")
    manager = start()
    assert served(manager) == served(manager) == 1
    until(lambda: manager.status("films").versions[0].requests == 2)


def test_a_version_that_changes_while_it_waits_for_its_turn_is_not_loaded(models, loader, start, monkeypatch):
    put(models, "first/1")
    waiting = put(models, "second/2")
    gate = loader.gate(1)
    manager = start(wait=False, poll_interval_ms=NEVER_MS)
    until(lambda: states(manager, "first") == {1: "loading"})
    monkeypatch.setattr(manager, "_settle_s", 1e6)
    (waiting / "variables").mkdir()
    gate.set()
    until(lambda: states(manager, "first") == {1: "available"})
    assert (states(manager, "second"), loader.attempts) == ({2: "start"}, [1])


def test_models_are_visited_again_after_an_unexpected_error(models, start, monkeypatch, logged):
    put(models, "films/1")
    manager = start()
    plan, failures = ModelVersions.plan, iter([RuntimeError("unexpected")])

    def fail_once(*args):
        for failure in failures:
            raise failure
        plan(*args)

    monkeypatch.setattr(ModelVersions, "plan", fail_once)
    put(models, "films/2")
    until(lambda: states(manager) == {1: "end", 2: "available"})
    assert len(events(logged, "scan failed; the next one follows")) == 1


def test_a_version_whose_runs_do_not_return_fails(models, loader, start, logged):
    put(models, "films/1")
    manager = start(poll_interval_ms=NEVER_MS)
    with manager.acquire("films") as held:
        held.broken = "3 of its runs had not returned."
        until(lambda: states(manager) == {1: "unloading"})
        (problem,) = manager.problems
        assert (problem.version, problem.message) == (1, "Version 1 failed: 3 of its runs had not returned.")
        with pytest.raises(ModelLoadError, match="3 of its runs"):
            manager.acquire("films")
    until(lambda: states(manager) == {1: "failed"})
    assert manager.status("films").error == "3 of its runs had not returned."
    assert held.done == ["warm_up", "close"]
    assert [line["version"] for line in logged if line["event"] == "model failed"] == [1]
    assert loader.attempts == [1], "it would fail again"
    manager.load("films").result(GENEROUS_S)
    assert served(manager) == 1
    assert manager.problems == ()


@pytest.mark.parametrize("transition", ["availability", "resource"])
def test_the_previous_version_replaces_one_whose_runs_do_not_return(models, loader, start, transition):
    write(models, f'[models.films]\ntransition = "{transition}"\n')
    put(models, "films/1")
    put(models, "films/2")
    manager = start()
    loader.loaded[0].broken = "it hangs"
    until(lambda: states(manager) == {1: "available", 2: "failed"})
    assert served(manager) == 1
    put(models, "films/3")
    until(lambda: states(manager) == {1: "end", 2: "failed", 3: "available"})


@pytest.mark.parametrize("transition", ["availability", "resource"])
def test_a_version_that_cannot_be_closed_stops_no_other(models, loader, start, logged, transition):
    write(models, f'[models.films]\ntransition = "{transition}"\n')
    put(models, "films/1")
    never = threading.Event()
    manager = start(load_timeout_ms=100)
    loader.loaded[0].close = lambda: never.wait(GENEROUS_S)
    put(models, "films/2")
    until(lambda: states(manager) == {1: "end", 2: "available"})
    assert [line["version"] for line in logged if line["event"] == "model does not end; its memory stays allocated"] == [1]
    write(models, "[models.films]\nversions.all = true\n")
    until(lambda: states(manager) == {1: "available", 2: "available"})
    never.set()
    until(lambda: [line["version"] for line in logged if line["event"] == "model unloaded"] == [1])
    assert states(manager) == {1: "available", 2: "available"}
