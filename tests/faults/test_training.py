"""Trainings and exports that are killed or fill the disk, in a models folder that a server watches."""

import json
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.lifecycle.verification import verify
from tests.faults import trainings
from tests.faults.conftest import Shared
from tests.faults.traffic import Counts, Traffic
from tests.heads.training import small
from tests.waiting import GENEROUS_S, until

pytestmark = [pytest.mark.e2e, pytest.mark.train]

NAME = "tiny"
STEPS, CHECKPOINT_EVERY = 60, 10
CHANGES = {"steps = 6": f"steps = {STEPS}", "checkpoint_every_steps = 3": f"checkpoint_every_steps = {CHECKPOINT_EVERY}"}
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def folders(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> trainings.Folders:
    """The folders of a training; version 1 of its model is served already and is another model."""
    shared.models.add(1, content=1, name=NAME)
    until(lambda: shared.server.versions(NAME) == {1: "available"})
    config = small.write(tmp_path_factory.mktemp("training"), small.TINY, changes=CHANGES)
    return trainings.Folders(config, shared.models.folder)


@pytest.fixture(scope="module")
def trained(folders: trainings.Folders, shared: Shared) -> trainings.Folders:
    """The folders of a training, with a finished run and version 2 of the model."""
    if not (shared.models.folder / NAME / "2").exists():
        assert exit_code(trainings.train, folders) == 0, folders.output
    return folders


def exit_code(work: Callable[..., None], *arguments: Any) -> int:
    """The exit code of a process that does the work."""
    with trainings.process(work, *arguments) as process:
        process.join(GENEROUS_S)
        return process.exitcode


def last_checkpoint(folders: trainings.Folders) -> int:
    """The step of the newest complete checkpoint."""
    state = (folders.runs / NAME / "1" / "checkpoints" / "checkpoint").read_text()
    return int(re.findall(r'^model_checkpoint_path: ".*-(\d+)"', state, re.MULTILINE)[0])


def versions(models: Path) -> list[int]:
    """The versions of the model, each verified to be complete."""
    found = sorted(int(path.name) for path in (models / NAME).iterdir() if path.name.isdigit())
    for number in found:
        verify(models / NAME / str(number))
        assert json.loads((models / NAME / str(number) / "assets.extra" / "heads.json").read_text())["files"]
    return found


def answers(shared: Shared, version: int) -> bool:
    """Whether the server answers predictions with this version."""
    url = f"{shared.server.url}/models/{NAME}/versions/{version}/predict"
    answer = httpx.post(url, json={"instances": [{"title": "a red thing"}]}, timeout=GENEROUS_S)
    return answer.is_success and answer.json()["version"] == version


def test_a_training_that_is_killed_at_a_random_step_resumes(shared: Shared, folders: trainings.Folders, counts: Counts) -> None:
    steps = sorted(random.sample(range(2, STEPS), 2))
    with Traffic(shared.server.address, counts, clients=1, name=NAME):
        begins = 0
        for step in steps:
            assert exit_code(trainings.train, folders, step) == KILLED, (steps, folders.output)
            assert (f"resuming from step {begins}" if begins else "new run") in folders.output, steps
            begins = last_checkpoint(folders)
            assert step - CHECKPOINT_EVERY <= begins <= step, steps
            assert versions(shared.models.folder) == [1]
        assert shared.server.versions(NAME) == {1: "available"}
    counts.none_lost()
    assert not counts.refused
    assert exit_code(trainings.train, folders) == 0, folders.output
    assert (f"resuming from step {begins}" if begins else "new run") in folders.output, steps
    assert versions(shared.models.folder) == [1, 2]
    until(lambda: shared.server.versions(NAME).get(2) == "available")
    assert answers(shared, 2)


@pytest.fixture
def disk(shared: Shared) -> Iterator[Callable[[int], Path]]:
    """Mounts the folder of the model `full` as a small disk; each call resizes it to a number of bytes."""
    folder = shared.models.folder / "full"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"needs to mount a small disk, as root: {mounted.stderr.decode().strip()}")

    def resized(size_bytes: int) -> Path:
        subprocess.run(["mount", "-o", f"remount,size={size_bytes}", str(folder)], check=True)
        return folder

    yield resized
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def used_bytes(folder: Path) -> int:
    """The size of the files in whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def test_an_export_fills_the_disk(
    shared: Shared, trained: trainings.Folders, disk: Callable[[int], Path], counts: Counts
) -> None:
    folder, needed = disk(1_000_000), used_bytes(shared.models.folder / NAME / "2")
    shutil.copytree(shared.models.version(1, NAME), folder / "1")
    until(lambda: shared.server.versions("full") == {1: "available"})
    # The same training with the name of the other model.
    config = trained.config.with_name("full.toml")
    config.write_text(trained.config.read_text().replace('name = "tiny"', 'name = "full"', 1))
    shutil.copytree(trained.runs / NAME, trained.runs / "full")
    folders = trainings.Folders(config, shared.models.folder)
    with Traffic(shared.server.address, counts, clients=2, name="full"):
        for share in (0, 0.2, 0.6, 0.9):
            disk(used_bytes(folder) + int(share * needed))
            assert exit_code(trainings.export, folders) == 2, folders.output
            assert "No space left on device" in folders.output
            assert "Traceback" not in folders.output
            assert sorted(path.name for path in folder.iterdir()) == [".export.lock", "1"]
            assert shared.server.versions("full") == {1: "available"}
    counts.none_lost()
    assert not counts.refused
    disk(used_bytes(folder) + 2 * needed)
    assert exit_code(trainings.export, folders) == 0, folders.output
    until(lambda: shared.server.versions("full").get(2) == "available")


def test_an_export_is_killed_at_every_file_that_it_writes(shared: Shared, trained: trainings.Folders, counts: Counts) -> None:
    model, folders = shared.models.folder / NAME, trained
    shutil.rmtree(model / "2")
    until(lambda: shared.server.versions(NAME) == {1: "available"})
    written: set[str] = set()
    kills = 0
    with Traffic(shared.server.address, counts, clients=2, name=NAME):
        while exit_code(trainings.export, folders, len(written) + 1) == KILLED:
            kills += 1
            before, written = written, trainings.written(shared.models.folder)
            assert len(written) > len(before)
            assert versions(shared.models.folder) == [1]
            assert shared.server.versions(NAME) == {1: "available"}
            if "heads.json" in {Path(path).name for path in written}:
                break
    counts.none_lost()
    assert not counts.refused
    names = {Path(path).name for path in written}
    assert {"saved_model.pb", "variables.data-00000-of-00001", "variables.index", "heads.json"} <= names
    assert kills > 5
    assert exit_code(trainings.export, folders) == 0, folders.output
    assert versions(shared.models.folder) == [1, 2]
    assert folders.output.splitlines()[-1] == str(model / "2")
    assert trainings.written(shared.models.folder) == set()
    until(lambda: shared.server.versions(NAME).get(2) == "available")
    assert answers(shared, 2)
