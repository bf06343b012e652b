"""A models folder, a loader of versions that take no time to load, and a manager that scans often."""

import threading
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.errors import ModelLoadError
from service.lifecycle.manager import Manager, Timing
from service.models.options import ModelOptions
from service.types import HeadSpec, InputSpec, ModelSpec, TensorSpec
from tests.waiting import GENEROUS_S, until

NEVER_MS = 10**9
"""An interval after which no test waits any more."""


class FakeModel:
    """A loaded version, which records the calls of its methods."""

    def __init__(self, name: str, version: int, folder: Path, options: ModelOptions, width: int):
        self.name, self.version, self.folder, self.options = name, version, folder, options
        self.spec = ModelSpec(
            name,
            version,
            (InputSpec("x", "float32", (-1, width)),),
            (HeadSpec("sum", (TensorSpec("value", "float32", (-1, 1)),)),),
            signatures={},
            example={},
        )
        self.done: list[str] = []
        self.broken: str | None = None

    def check_runs(self) -> str | None:
        return self.broken

    def mark_runs(self, mark: Any) -> None:
        self.mark = mark

    def warm_up(self) -> None:
        self.done.append("warm_up")

    def close(self) -> None:
        self.done.append("close")


class FakeLoader:
    """Loads a version according to the text of its `saved_model.pb`; any other text is a model that loads.

    `fail: …` raises an unexpected error, `unreadable: …` an error of the system, `refuse: …` one that lasts until the files
    change, `fail warm-up: …` an error during warm-up; `width: n` is a model with inputs of n values.
    `gate(version)` returns an event that loads of the version wait for.
    """

    def __init__(self) -> None:
        self.loaded: list[FakeModel] = []
        self.attempts: list[int] = []
        self.order: list[str] = []
        self._gates: dict[int, threading.Event] = {}

    def gate(self, version: int) -> threading.Event:
        return self._gates.setdefault(version, threading.Event())

    def open_gates(self) -> None:
        for gate in self._gates.values():
            gate.set()

    def __call__(self, name: str, version: int, folder: Path, options: ModelOptions) -> Any:
        text = (folder / "saved_model.pb").read_text()
        self.attempts.append(version)  # from here on, a test may remove the folder
        if version in self._gates:
            assert self._gates[version].wait(GENEROUS_S)
        command, _, argument = text.partition(": ")
        if command == "fail":
            raise RuntimeError(argument)
        if command == "refuse":
            raise ModelLoadError(argument)
        if command == "unreadable":
            raise ModelLoadError(argument) from PermissionError(13, "Permission denied")
        model = FakeModel(name, version, folder, options, int(argument) if command == "width" else 2)
        self.order.append(f"load {version}")
        model.close = lambda: (model.done.append("close"), self.order.append(f"close {version}"))
        if command == "fail warm-up":
            model.warm_up = lambda: exec(f"raise ValueError({argument!r})")
        self.loaded.append(model)
        return model


def close_slowly(model: FakeModel) -> tuple[list[str], threading.Event]:
    """Let the model's `close` wait. Returns the calls of it, and the event that ends the wait."""
    calls, closed = [], threading.Event()

    def close() -> None:
        calls.append("close")
        assert closed.wait(GENEROUS_S)

    model.close = close  # type: ignore[method-assign] # of this model only
    return calls, closed


def put(models: Path, path: str, text: str = "") -> Path:
    """Rename a version into place."""
    aside = models / f".{path.replace('/', '-')}"
    aside.mkdir(parents=True)
    (aside / "saved_model.pb").write_text(text)
    target = models / path
    target.parent.mkdir(exist_ok=True)
    return aside.rename(target)


def replace(models: Path, path: str, text: str = "") -> None:
    """Rename another version into the place of one; the manager must not scan meanwhile."""
    (models / path).rename(models / f".replaced-{len(list(models.iterdir()))}")
    put(models, path, text)


def write(models: Path, text: str) -> None:
    """Rename a `models.toml` into place."""
    (models / ".models.toml").write_text(text)
    (models / ".models.toml").rename(models / "models.toml")


def served(manager: Manager, model: str = "films", **which: Any) -> int:
    """The version that a request gets."""
    with manager.acquire(model, **which) as loaded:
        return loaded.version


def states(manager: Manager, model: str = "films") -> dict[int, str]:
    """The state of each version."""
    return {version.version: version.state for version in manager.status(model).versions}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def loader() -> FakeLoader:
    return FakeLoader()


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def start(models: Path, loader: FakeLoader, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Manager]]:
    """Starts a manager of the folder, and waits until what is there is loaded."""
    monkeypatch.setattr("service.lifecycle.loader.give_back", lambda: None)
    started: list[Manager] = []

    def start(wait: bool = True, **options: Any) -> Manager:
        known = ("models_config", "public_keys", "clock", "memory_bytes")
        arguments = {name: options.pop(name) for name in known if name in options}
        timing = Timing(**{"poll_interval_ms": 10, "settle_ms": 0, "watch": False} | options)
        manager = Manager(models, loader, timing=timing, **arguments)
        started.append(manager)
        manager.start()
        until(lambda: manager.settled or not wait)
        return manager

    yield start
    loader.open_gates()
    for manager in started:
        manager.stop()


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s
