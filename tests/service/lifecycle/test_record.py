import math

import pytest

from service.lifecycle.disk import VersionOnDisk
from service.lifecycle.model_versions import ModelVersions
from service.lifecycle.policy import Id
from service.lifecycle.record import Outcome, Record, retry_delay_s
from service.lifecycle.served_models import BUSY, NEXT, State
from service.models.options import ModelOptions


class Clock:
    """A clock that stands still unless a test sets it."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    return VersionOnDisk("m", 1, tmp_path)


@pytest.fixture
def record(disk, clock):
    return Record(Id(1), disk, ModelOptions(), clock)


def warm(record):
    record.begin_load()
    record.enter(State.LOADING)
    record.enter(State.WARMING)
    record.outcome = Outcome()


def fail(record, transient=True):
    record.begin_load()
    record.outcome = Outcome("broken", transient)
    record.finish()


def test_every_state_has_successors():
    assert set(NEXT) == set(State)
    assert all(State.FAILED in NEXT[state] for state in BUSY)


def test_every_state_of_a_life_has_a_time(record):
    warm(record)
    assert record.warm
    record.serve(object(), lambda: None, wanted=True)
    assert not record.warm
    assert record.unload() is record.handle
    record.resident_bytes, record.outcome = 7, Outcome()
    record.finish()
    assert (record.state, record.outcome, record.resident_bytes) == (State.END, None, 0)
    record.enter(State.START)
    assert record.times.keys() == {"start", "verifying", "loading", "warming", "available", "unloading", "end"}


def test_a_warm_version_that_is_not_wanted_is_unloaded(record):
    idle = []
    warm(record)
    record.finish()
    assert record.warm, "the manager decides"
    record.serve(object(), lambda: idle.append("idle"), wanted=False)
    assert (record.state, idle) == (State.UNLOADING, ["idle"])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        pytest.param([lambda record: record.enter(State.AVAILABLE)], "START must not become AVAILABLE", id="not loaded"),
        pytest.param([fail, lambda record: record.unload()], "FAILED must not become UNLOADING", id="failed"),
    ],
)
def test_a_wrong_transition_is_an_error(record, steps, message):
    *before, last = steps
    for step in before:
        step(record)
    with pytest.raises(RuntimeError, match=message):
        last(record)


def test_delays_double_up_to_a_cap():
    assert [retry_delay_s(attempts) for attempts in (1, 2, 3, 9, 10, 10_000)] == [1, 2, 4, 256, 300, 300]


def test_a_version_is_due_when_its_folder_has_settled(record, clock):
    record.check_folder(settle_s=1e6)
    assert not record.due
    clock.now_s += 1e6
    record.check_folder(settle_s=1e6)
    assert record.due


def test_a_failed_version_is_due_after_a_delay(record, clock):
    record.check_folder(settle_s=0)
    for delay_s in (1, 2, 4):
        fail(record)
        clock.now_s += delay_s - 0.25
        assert not record.due
        clock.now_s += 0.25
        assert record.due


def test_a_failed_version_is_due_when_its_folder_changes(record):
    record.check_folder(settle_s=0)
    fail(record)
    record.check_folder(settle_s=0)
    assert not record.due
    (record.disk.folder / "variables").mkdir()
    record.check_folder(settle_s=0)
    assert record.due


def test_a_failure_that_lasts_is_retried_when_the_files_change_or_on_request(record, clock):
    record.check_folder(settle_s=0)
    fail(record, transient=False)
    clock.now_s += 1e9
    assert (record.retry_at, record.due, record.decided) == (math.inf, False, True)
    record.retry_now()
    assert (record.due, record.decided) == (True, False)
    fail(record, transient=False)
    assert not record.due
    (record.disk.folder / "variables").mkdir()
    record.check_folder(settle_s=0)
    assert record.due


def test_the_manager_waits_until_the_next_step_is_due(disk, clock):
    versions = ModelVersions("m", clock)
    versions.update((disk,), ModelOptions())
    versions.plan(settle_s=5)
    assert versions.wait_s(5) == 5, "until the folder has settled"
    clock.now_s += 5
    versions.update((disk,), ModelOptions())
    versions.plan(settle_s=5)
    assert versions.wait_s(5) == math.inf, "the next step is due"
    (record,) = versions.records.values()
    fail(record)
    clock.now_s += 0.25
    assert versions.wait_s(5) == 0.75, "until the retry"
    clock.now_s += 10
    assert versions.wait_s(5) == 0.01
    fail(record, transient=False)
    assert versions.wait_s(5) == math.inf, "until the files change"
