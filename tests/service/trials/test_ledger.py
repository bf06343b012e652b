"""What a server learns from those before it, which are real processes that end in different ways."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.trials.ledger import MAX_ENDS, Ledger, Memory

A, B = "a" * 64, "b" * 64

SERVER = """
import os, signal, sys
from pathlib import Path
from service.trials.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]))
ledger.watch_signals()
ledger.open()
a, b = ledger.mark("a" * 64), ledger.mark("b" * 64)
exec(sys.argv[2])
"""
LOADS = "a.loading(); a.loaded(); b.loading();"
SERVES = f"{LOADS} b.loaded();"
SEGFAULT, KILL = "os.kill(os.getpid(), signal.SIGSEGV)", "os.kill(os.getpid(), signal.SIGKILL)"


def dies(cache: Path, acts: str) -> None:
    """Let a server do this with versions A and B, and end."""
    ended = subprocess.run([sys.executable, "-c", SERVER, str(cache), acts], check=False, capture_output=True)
    assert ended.returncode in {0, -signal.SIGSEGV, -signal.SIGKILL}, ended.stderr


def memories(cache: Path) -> tuple[Memory, Memory]:
    ledger = opened(cache)
    ledger.close()
    return ledger.of(A, "shop", 1), ledger.of(B, "shop", 2)


def opened(cache: Path) -> Ledger:
    ledger = Ledger(cache)
    ledger.open()
    return ledger


def remembered(cache: Path, digest: str) -> Memory:
    ledger = opened(cache)
    ledger.close()
    return ledger.of(digest, "shop", 7)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache in which both versions have come through a trial."""
    ledger = opened(tmp_path / "cache")
    for number, digest in enumerate((A, B), 1):
        ledger.remember(digest, Memory(model="shop", version=number, passed=True))
    ledger.close()
    return tmp_path / "cache"


def test_a_trial_is_remembered(cache):
    assert all(memory.passed for memory in memories(cache))


def test_a_version_that_was_never_seen(cache):
    assert remembered(cache, "c" * 64) == Memory(model="shop", version=7)


def test_the_one_version_that_ran_is_set_aside(cache):
    dies(cache, f"{SERVES} a.__enter__(); a.__exit__(); b.__enter__(); {SEGFAULT}")
    a, b = memories(cache)
    assert a.set_aside is None
    assert a.passed
    assert b.set_aside == "The server ended while it was running this version (Fatal Python error: Segmentation fault)."


def test_the_one_version_that_was_loaded_is_set_aside(cache):
    dies(cache, f"{LOADS} a.__enter__(); {SEGFAULT}")
    a, b = memories(cache)
    assert a.set_aside is None
    assert b.set_aside == "The server ended while it was loading this version (Fatal Python error: Segmentation fault)."


def test_of_several_versions_that_ran_each_needs_another_trial(cache):
    for ends in range(1, MAX_ENDS + 1):
        dies(cache, f"{SERVES} a.__enter__(); b.__enter__(); {SEGFAULT}")
        for memory in memories(cache):
            assert (memory.passed, memory.ended_running) == (False, ends)
            assert (memory.set_aside is not None) == (ends == MAX_ENDS)


def test_a_server_that_is_killed_while_it_computes_says_nothing_about_its_versions(cache):
    dies(cache, f"{SERVES} a.__enter__(); {KILL}")
    assert [memory.passed for memory in memories(cache)] == [True, True]


def test_a_version_that_was_loaded_when_the_server_was_killed_needs_another_trial(cache):
    dies(cache, f"{LOADS} {KILL}")
    a, b = memories(cache)
    assert (a.passed, a.ended_loading) == (True, 0)
    assert (b.passed, b.ended_loading, b.set_aside) == (False, 1, None)


def test_a_successful_load_clears_a_version(cache):
    dies(cache, f"{LOADS} {KILL}")
    dies(cache, f"{SERVES} {KILL}")
    _, b = memories(cache)
    assert b.ended_loading == 0


@pytest.mark.parametrize("acts", [f"{SERVES} ledger.close()", f"a.free(); b.free(); {SEGFAULT}", f"ledger.close(); {SEGFAULT}"])
def test_a_server_that_ends_as_it_should(cache, acts):
    dies(cache, acts)
    assert [memory.passed for memory in memories(cache)] == [True, True]
    assert list((cache / "servers").glob("*.slots")) == []


def test_a_server_that_still_runs_is_left_alone(cache):
    running = opened(cache)
    running.mark(A).loading()
    assert [memory.ended_loading for memory in memories(cache)] == [0, 0]
    running.close()


def test_the_log_names_the_version(cache):
    dies(cache, f"{SERVES} b.__enter__(); {SEGFAULT}")
    with capture_logs() as lines:
        opened(cache).close()
    (line,) = lines
    assert (line["event"], line["model"], line["version"], line["doing"]) == ("a server has ended before", "shop", 2, "running")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with capture_logs() as lines:
        ledger = opened(tmp_path / "file" / "cache")
    assert [line["event"] for line in lines] == ["nothing is remembered of versions"]
    with ledger.mark(A):
        ledger.remember(A, Memory(model="shop", version=1, passed=True))
    assert not ledger.of(A, "shop", 1).passed


def test_a_file_that_is_not_a_memory(cache):
    (cache / "versions" / f"{A}.json").write_text("{")
    assert not remembered(cache, A).passed


def test_a_version_that_waits_for_its_turn_is_not_suspect(cache):
    dies(cache, f"a.loading(); {SEGFAULT}")
    a, b = memories(cache)
    assert a.set_aside is not None
    assert (b.passed, b.set_aside) == (True, None)
