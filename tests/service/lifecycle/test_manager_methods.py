"""The manager's methods, its arguments, its threads and its log."""

import os
import threading

import pytest

from service.errors import UnknownModelError
from service.lifecycle.manager import Manager
from service.lifecycle.models_folder import ModelsFolder
from service.lifecycle.routing import VersionHandle
from service.models.signing import new_key
from tests.service.lifecycle.conftest import NEVER_MS, Clock, close_slowly, put, served, states, write
from tests.waiting import GENEROUS_S, until


def events(logged, event):
    return [line for line in logged if line["event"] == event]


@pytest.fixture
def two_versions(models, start):
    """A manager that serves both versions of a model; the label `old` points to the first."""
    write(models, "[models.films]\nversions = { all = true }\nlabels = { old = 1 }\n")
    put(models, "films/1")
    put(models, "films/2")
    return start()


WHICH = [
    pytest.param({}, 2, id="the newest"),
    pytest.param({"version": 1}, 1, id="a version"),
    pytest.param({"label": "old"}, 1, id="a label"),
]


@pytest.mark.parametrize(("which", "version"), WHICH)
def test_a_version_is_looked_up_without_holding_it(two_versions, which, version):
    assert two_versions.lookup("films", **which).version == version
    assert [status.requests for status in two_versions.status("films").versions] == [0, 0]


@pytest.mark.parametrize(("which", "version"), WHICH)
def test_a_request_that_finds_a_retired_version_looks_it_up_again(two_versions, monkeypatch, which, version):
    found = []
    take = VersionHandle.take

    def take_at_second_attempt(handle):
        found.append(handle.loaded.version)
        return len(found) > 1 and take(handle)

    monkeypatch.setattr(VersionHandle, "take", take_at_second_attempt)
    assert served(two_versions, **which) == version
    assert found == [version, version]


def test_known_models_and_their_options(two_versions):
    assert (two_versions.knows("films"), two_versions.knows("birds")) == (True, False)
    assert two_versions.options("films").labels == {"old": 1}
    with pytest.raises(UnknownModelError, match="no model 'birds'"):
        two_versions.options("birds")


def test_no_model_is_served_before_the_start_and_after_the_end(models, loader, start):
    put(models, "films/1")
    manager = Manager(models, loader)
    assert (manager.statuses, manager.problems, manager.settled, manager.draining) == ({}, (), False, False)
    manager.stop()
    manager = start()
    manager.stop()
    assert manager.statuses == {}


def test_a_version_that_is_being_closed_is_not_closed_again_at_the_end(models, loader, start):
    put(models, "films/1")
    manager = start()
    calls, closed = close_slowly(loader.loaded[0])
    manager.unload("films").result(GENEROUS_S)
    until(lambda: calls)
    manager.stop()
    closed.set()
    assert calls == ["close"]


def test_calls_once_the_models_are_settled(models, loader, start):
    gate = loader.gate(1)
    put(models, "films/1")
    manager = start(wait=False, poll_interval_ms=NEVER_MS)
    calls = []
    manager.on_settled(lambda: calls.append(states(manager)))
    until(lambda: loader.attempts)
    assert calls == []
    gate.set()
    until(lambda: calls == [{1: "available"}])
    manager.on_settled(lambda: calls.append("later"))
    until(lambda: calls[1:] == ["later"])


@pytest.mark.parametrize(
    ("watch", "names"),
    [pytest.param(False, ["lifecycle"], id="polling"), pytest.param(True, ["lifecycle", "watcher"], id="watching")],
)
def test_threads(start, watch, names):
    before = set(threading.enumerate())
    manager = start(watch=watch)
    started = sorted(set(threading.enumerate()) - before, key=lambda thread: thread.name)
    assert [(thread.name, thread.daemon) for thread in started] == [(name, True) for name in names]
    manager.stop()
    assert [thread.is_alive() for thread in started] == [False] * len(names)


def test_a_folder_without_models_is_reported(models, start, logged):
    start()
    (line,) = events(logged, "no models found")
    assert (line["log_level"], line["models"]) == ("warning", str(models))
    assert line["expected"] == "<models>/<name>/<version>/saved_model.pb"
    put(models, "films/1")
    start()
    assert len(events(logged, "no models found")) == 1


def test_a_broken_models_toml_is_reported(models, start, logged):
    write(models, "[models.films]\nversion = 1\n")
    start()
    (line,) = events(logged, "models.toml is not in force; its last valid contents are")
    assert "models.films.version: unknown key" in line["error"]


def test_a_scan_that_fails_is_reported_and_followed_by_the_next(models, start, logged, monkeypatch):
    put(models, "films/1")
    manager = start()
    failures = [ZeroDivisionError("once")]
    scan = ModelsFolder.scan

    def scan_after_failures(folder):
        if failures:
            raise failures.pop()
        return scan(folder)

    monkeypatch.setattr(ModelsFolder, "scan", scan_after_failures)
    put(models, "films/2")
    until(lambda: served(manager) == 2)
    (line,) = events(logged, "scan failed; the next one follows")
    assert (line["log_level"], line["exc_info"]) == ("error", True)


def test_a_models_toml_that_the_caller_names_must_exist(models, start, tmp_path):
    path = tmp_path / "other.toml"
    manager = start(models_config=path)
    assert (manager.models_file.path, manager.models_file.error) == (str(path), f"There is no file {str(path)!r}.")
    path.write_text("")
    until(lambda: manager.models_file.error is None)


def test_a_models_toml_is_not_read_while_it_is_being_edited(models, start):
    manager = start(settle_ms=NEVER_MS)
    write(models, "[models.films]\nversion = 1\n")
    put(models, "films/1")
    until(lambda: manager.knows("films"))  # a scan later
    assert manager.models_file.error is None
    os.utime(models / "models.toml", (0, 0))
    until(lambda: manager.models_file.error is not None)


def test_a_version_without_the_required_signature_is_refused(models, start, tmp_path):
    public = new_key(tmp_path / "team.pem")
    put(models, "films/1")
    manager = start(public_keys=public)
    assert manager.status("films").state == "failed"
    assert "is not signed" in manager.status("films").error


def test_retries_wait_by_the_clock_of_the_manager(models, loader, start, monkeypatch):
    wait_s = 1e6
    monkeypatch.setattr("service.lifecycle.record.retry_delay_s", lambda attempts: wait_s)
    clock = Clock()
    put(models, "films/1", "fail: not yet")
    start(clock=clock)
    clock.now_s += wait_s
    until(lambda: loader.attempts == [1, 1])


def test_a_misplaced_folder_settles_by_the_clock_of_the_manager(models, start):
    clock = Clock()
    (models / "films" / "1").mkdir(parents=True)
    manager = start(clock=clock, settle_ms=NEVER_MS)
    assert manager.problems == ()
    clock.now_s += NEVER_MS / 1000
    until(lambda: [problem.folder for problem in manager.problems] == ["films/1"])
