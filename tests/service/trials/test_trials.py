"""Trials of real models in real processes."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import ModelLoadError
from service.models.options import ModelOptions
from service.trials.template import last_operations
from service.trials.trials import Trials
from tests.half_plus import export_half_plus_two
from tests.security import harmful, hostile
from tests.waiting import until

TRUSTED = ModelOptions(trusted=True)
"""Without a scan, which finds some of these models before they are run."""


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    trials = Trials(timeout_s=60, compute_threads=2, memory_bytes=2 * 2**30)
    yield trials
    trials.stop()


@pytest.fixture
def hasty() -> Iterator[Trials]:
    """Trials that may take two seconds."""
    trials = Trials(timeout_s=2, compute_threads=2)
    yield trials
    trials.stop()


def reason(trials: Trials, folder: Path, options: ModelOptions = TRUSTED) -> str:
    with pytest.raises(ModelLoadError) as raised:
        trials.run("shop", 3, folder, options)
    return raised.value.message


def test_a_model_that_only_computes_comes_through(trials, tmp_path):
    export_half_plus_two(tmp_path / "3")
    trials.run("shop", 3, tmp_path / "3", ModelOptions())


def test_the_signal_that_ends_a_trial_is_named(trials, tmp_path):
    harmful.recursion(tmp_path / "3")
    assert reason(trials, tmp_path / "3").startswith(
        "Its trial in a separate process was ended by SIGSEGV while it was being loaded."
    )


def test_an_error_is_the_one_that_loading_raises(trials, tmp_path):
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"no protocol buffer")
    assert reason(trials, tmp_path / "3").startswith(f"{tmp_path / '3' / 'saved_model.pb'} is not a SavedModel")


def test_the_scan_is_part_of_a_trial(trials, tmp_path):
    hostile.write_file(tmp_path / "3", tmp_path / "written")
    assert "WriteFile" in reason(trials, tmp_path / "3", ModelOptions())


def test_a_trial_cannot_write_files(trials, tmp_path):
    hostile.write_file_when_loaded(tmp_path / "3", tmp_path / "written")
    assert "ermission denied" in reason(trials, tmp_path / "3")
    assert not (tmp_path / "written").exists()


def test_the_limit_of_memory(trials, tmp_path):
    harmful.memory_bomb(tmp_path / "3")
    message = reason(trials, tmp_path / "3")
    assert "exceeded the limit of 2.1 GB of memory while it was being warmed up; the last operations were " in message
    assert "(Fill)" in message


@pytest.mark.parametrize(
    ("export", "step", "operation"),
    [
        pytest.param(harmful.endless_init, "loaded", "'endless/", id="while loading"),
        pytest.param(harmful.endless_run, "warmed up", "'endless/", id="while warming up"),
        pytest.param(harmful.waits_for_a_queue, "warmed up", "'waiting' (QueueDequeueV2)", id="while waiting"),
    ],
)
def test_the_limit_of_time(hasty, tmp_path, export, step, operation):
    export(tmp_path / "3")
    message = reason(hasty, tmp_path / "3")
    assert f"exceeded the limit of 2 s (--load-timeout-ms) while it was being {step}; the last operations were " in message
    assert operation in message


def test_trials_at_a_time_have_one_template(trials, tmp_path):
    export_half_plus_two(tmp_path / "3")
    threads = [threading.Thread(target=trials.run, args=("shop", 3, tmp_path / "3", ModelOptions())) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert len(templates()) == 1
    for thread in threads:
        thread.join()


def test_another_template_is_started_when_one_has_ended(tmp_path):
    export_half_plus_two(tmp_path / "3")
    trials = Trials(timeout_s=60, compute_threads=2)
    before = templates()
    trials.run("shop", 3, tmp_path / "3", ModelOptions())
    (template,) = templates() - before
    os.kill(template, signal.SIGKILL)
    until(lambda: template not in templates())
    trials.run("shop", 3, tmp_path / "3", ModelOptions())
    assert len(templates() - before) == 1
    trials.stop()
    assert templates() == before


def test_no_trial_begins_while_the_server_stops(hasty, tmp_path):
    hasty.stop()
    assert reason(hasty, tmp_path) == "No trial is started, because the server stops."


def test_the_last_operations_in_a_log():
    log = b"""noise
2026-11-25 18:36:16.1: I tensorflow/core/executor.cc:820] Process node: 5 step 3 {{node a/b}} = Const[value=...]() device:
I0000 00:00:1795631787.8 8654 executor.cc:879] Process node: 6 step -3 {{node sum}} = AddV2[T=DT_FLOAT](a, b) device:
I0000 00:00:1795631787.8 8654 executor.cc:879] Process node: 6 step -3 {{node sum}} = AddV2[T=DT_FLOAT](a, b) device:
I0000 00:00:1795631787.8 8654 executor.cc:879] Process node: 7 step 3 {{node _retval_0}} = _Retval[T=DT_FLOAT](sum) device:
"""
    assert last_operations(log) == ["'sum' (AddV2)", "'a/b' (Const)"]


def templates() -> set[int]:
    """The process ids of the templates that this process has started and that still run."""
    children = Path(f"/proc/{os.getpid()}/task")
    pids = {int(pid) for task in children.iterdir() for pid in (task / "children").read_text().split()}
    return {pid for pid in pids if b"service.trials.template" in _command(pid)}


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
