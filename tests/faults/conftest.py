"""A folder of models, the real server on it, and the account of every test's requests."""

import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults import model
from tests.faults.server import Server, serving
from tests.faults.traffic import Counts

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # The tests were started by `nohup`. A handler is not inherited by the servers, other than that it is ignored.
    signal.signal(signal.SIGHUP, lambda *_: None)

ACCOUNTS = pytest.StashKey[dict[str, Counts]]()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The folders of two contents of the echo model."""
    folder = tmp_path_factory.mktemp("exported")
    for content in (1, 2):
        model.export(folder / str(content), content)
    return {content: folder / str(content) for content in (1, 2)}


class Models:
    """A models folder."""

    def __init__(self, folder: Path, exported: dict[int, Path]):
        self.folder = folder
        self._exported = exported
        folder.mkdir()

    def version(self, number: int, name: str = model.NAME) -> Path:
        return self.folder / name / str(number)

    def aside(self, content: int, steps: int = 0) -> Path:
        """A whole copy that nobody looks at yet; with `steps`, it takes long to warm up."""
        aside = self.folder / f".{content}"
        shutil.copytree(self._exported[content], aside)
        if steps:
            model.write_card(aside, steps)
        return aside

    def add(self, number: int, content: int, name: str = model.NAME, steps: int = 0) -> Path:
        """A version, renamed into place."""
        self.version(number, name).parent.mkdir(parents=True, exist_ok=True)
        return self.aside(content, steps).rename(self.version(number, name))


@pytest.fixture
def models(tmp_path: Path, exported: dict[int, Path]) -> Models:
    """A folder with version 1 of the echo model, of content 1."""
    models = Models(tmp_path / "models", exported)
    models.add(1, content=1)
    return models


Start = Callable[..., Server]


@pytest.fixture
def start(models: Models, tmp_path: Path) -> Iterator[Start]:
    """Starts a server on the folder; it is gone after the test."""
    with ExitStack() as stack:

        def start(settings: Mapping[str, Any] | None = None, before: tuple[str, ...] = ()) -> Server:
            return stack.enter_context(serving(models.folder, tmp_path / "server.log", settings, before))

        yield start


class Shared(NamedTuple):
    """One server and its folder for all tests of a file; each test has a model of its own there."""

    models: Models
    server: Server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, exported: dict[int, Path]) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("shared")
    models = Models(folder / "models", exported)
    models.add(1, content=1)
    # Clients that are slow on purpose, or as the machine is busy, are not to be dropped.
    with serving(models.folder, folder / "server.log", {"header_timeout_ms": 600_000}) as server:
        server.until_ready()
        yield Shared(models, server)


@pytest.fixture
def counts(request: pytest.FixtureRequest) -> Counts:
    """The account of this test's requests; all accounts are shown at the end."""
    accounts = request.config.stash.setdefault(ACCOUNTS, {})
    return accounts.setdefault(request.node.nodeid.rpartition("/")[2], Counts())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    accounts = {name: counts for name, counts in config.stash.get(ACCOUNTS, {}).items() if counts.sent}
    if accounts:
        terminalreporter.section("what became of the requests")
    for name, counts in accounts.items():
        terminalreporter.write_line("\n    ".join([f"{counts}  {name}", *counts.notes]))
