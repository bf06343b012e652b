"""A models folder, versions that take no time to load, and a manager that looks often."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.lifecycle.manager import Manager, Timing
from service.models.options import ModelOptions
from tests.waiting import GENEROUS_S


class FakeModel:
    """What a loader gives; it remembers what was done to it."""

    def __init__(self, name: str, version: int, folder: Path, options: ModelOptions):
        self.name, self.version, self.folder, self.options = name, version, folder, options
        self.done: list[str] = []

    def warm_up(self) -> None:
        self.done.append("warm_up")

    def close(self) -> None:
        self.done.append("close")


class FakeLoader:
    """Loads what is in the folder's `saved_model.pb`: `fail: …` and `fail warm-up: …` raise, everything else is fine.

    `gate(version)` makes loads of that version wait until the event is set.
    """

    def __init__(self) -> None:
        self.loaded: list[FakeModel] = []
        self.attempts: list[int] = []
        self.order: list[str] = []
        self._gates: dict[int, threading.Event] = {}

    def gate(self, version: int) -> threading.Event:
        return self._gates.setdefault(version, threading.Event())

    def __call__(self, name: str, version: int, folder: Path, options: ModelOptions) -> Any:
        self.attempts.append(version)
        text = (folder / "saved_model.pb").read_text()
        if version in self._gates:
            assert self._gates[version].wait(GENEROUS_S)
        if text.startswith("fail: "):
            raise RuntimeError(text.removeprefix("fail: "))
        model = FakeModel(name, version, folder, options)
        self.order.append(f"load {version}")
        model.close = lambda: (model.done.append("close"), self.order.append(f"close {version}"))
        if text.startswith("fail warm-up: "):
            model.warm_up = lambda: exec("raise ValueError('cold')")
        self.loaded.append(model)
        return model


def put(models: Path, path: str, text: str = "") -> Path:
    """A version, renamed into place."""
    aside = models / f".{path.replace('/', '-')}"
    aside.mkdir(parents=True)
    (aside / "saved_model.pb").write_text(text)
    target = models / path
    target.parent.mkdir(exist_ok=True)
    return aside.rename(target)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def loader() -> FakeLoader:
    return FakeLoader()


@pytest.fixture
def start(models: Path, loader: FakeLoader, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Manager]]:
    """Starts a manager of the folder, and waits until what is there is loaded."""
    monkeypatch.setattr("service.lifecycle.loader.give_back", lambda: None)
    started: list[Manager] = []

    def start(wait: bool = True, **timing: Any) -> Manager:
        manager = Manager(models, loader, timing=Timing(**{"poll_interval_ms": 10, "settle_ms": 0, "watch": False} | timing))
        started.append(manager)
        manager.start()
        assert not wait or manager.wait_until_settled(GENEROUS_S)
        return manager

    yield start
    for manager in started:
        manager.stop()
