"""Models that crash or hang the process that loads them, beside one that is served."""

import os
import signal
from pathlib import Path

import pytest

from tests.faults import model
from tests.faults.conftest import Models, Start
from tests.faults.server import Server
from tests.faults.traffic import Counts, Traffic
from tests.security import harmful
from tests.waiting import until

pytestmark = pytest.mark.e2e

TRIALS = {"trials": True, "load_timeout_ms": 15_000, "settle_ms": 0}
REASONS = {
    harmful.endless_init: "exceeded the limit of 15 s (--load-timeout-ms) while it was being loaded; the last operations",
    harmful.endless_run: "exceeded the limit of 15 s (--load-timeout-ms) while it was being warmed up; the last operations",
    harmful.waits_for_a_queue: "the last operations were 'waiting' (QueueDequeueV2)",
    harmful.memory_bomb: "while it was being warmed up; the last operations were",
    harmful.one_large_tensor: "",
    harmful.recursion: "",
}


def failed(server: Server, name: str) -> bool:
    return server.versions(name).get(1) == "failed"


def test_a_model_is_served_while_others_harm_their_processes(start: Start, models: Models, counts: Counts) -> None:
    server = start(TRIALS)
    server.until_ready()
    with Traffic(server.address, counts):
        for export in REASONS:
            export(models.folder / export.__name__ / "1")
        for export, reason in REASONS.items():
            until(lambda name=export.__name__: failed(server, name))
            assert reason in server.error(export.__name__, 1)
            assert server.logged("model failed", model=export.__name__)
        assert server.versions(model.NAME) == {1: "available"}
    counts.none_lost()


def test_a_version_with_which_the_server_has_ended_is_tried_out_at_the_next_start(
    start: Start, models: Models, tmp_path: Path
) -> None:
    harmful.recursion(models.folder / "recursion" / "1")
    (models.folder / "models.toml").write_text("[models.recursion]\ntrusted = true\n")
    settings = TRIALS | {"cache": tmp_path / "cache"}
    assert start(settings).ended() == -signal.SIGSEGV
    server = start(settings)
    until(lambda: failed(server, "recursion"))
    assert "was ended by SIGSEGV while it was being loaded" in server.error("recursion", 1)
    until(lambda: server.versions(model.NAME) == {1: "available"})
    (event,) = server.logged("a server has ended before")
    assert (event["model"], event["version"], event["doing"]) == ("recursion", 1, "loading")


def test_a_trial_ends_with_its_server(start: Start, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    harmful.endless_init(models.folder / "endless" / "1")
    server = start(TRIALS | {"load_timeout_ms": 600_000})
    until(lambda: server.versions("endless") == {1: "trial"})
    processes = until(lambda: len(found := descendants(server.process.pid)) == 3 and found)
    server.signal(signal.SIGKILL)
    server.ended()
    until(lambda: not any(map(runs, processes)))
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_during_a_trial(start: Start, models: Models, number: signal.Signals) -> None:
    harmful.endless_init(models.folder / "endless" / "1")
    server = start(TRIALS | {"load_timeout_ms": 600_000, "drain_delay_ms": 0})
    until(lambda: server.versions("endless") == {1: "trial"})
    processes = until(lambda: len(found := descendants(server.process.pid)) == 3 and found)
    server.signal(number)
    assert server.ended() == 0
    until(lambda: not any(map(runs, processes)))


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have started."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return children + [each for child in children for each in descendants(child)]


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
