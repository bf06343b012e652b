"""Loads and unloads versions as the version policy decides, and gives each request a handle of the version it uses.

One thread decides: it scans the disk, computes each model's next step, and passes slow work to the loader. Requests never
wait: they read one immutable routing table. A version enters the table after it is warm, and leaves it before it is retired.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from service.errors import ConfigError
from service.lifecycle.disk import VersionOnDisk
from service.lifecycle.loader import Guard, Load, Loader
from service.lifecycle.manual import ManualLoads
from service.lifecycle.model_versions import MIN_WAIT_S, ModelVersions
from service.lifecycle.models_folder import ModelsFolder, Watcher
from service.lifecycle.policy import Unload
from service.lifecycle.record import Record
from service.lifecycle.report import Reporter
from service.lifecycle.routing import Table, VersionHandle
from service.lifecycle.served_models import BUSY, FileStatus, Loaded, ModelStatus, Problem, State
from service.messages import did_you_mean
from service.models.options import FILE_NAME, ModelOptions, Reader
from service.types import ModelSpec

log = structlog.get_logger("headserve.lifecycle")


@dataclass(frozen=True)
class Timing:
    """How often the folder is scanned, and how many versions load at a time.

    Attributes:
        poll_interval_ms: between two scans when nothing else triggers one.
        settle_ms: how long files must be unchanged before they are used.
        load_threads: number of versions that load at a time.
        load_timeout_ms: how long a step of a load, such as the warm-up, may take.
        watch: scan also when the system announces a change.
    """

    poll_interval_ms: int = 500
    settle_ms: int = 300
    load_threads: int = 1
    load_timeout_ms: int = 300_000
    watch: bool = True


class Manager:
    """The models of a folder.

    Args:
        models: the folder.
        load: loads a version into memory.
        guard: decides whether a version may be loaded; None: every one may be.
        models_config: `models.toml`; by default the one in the folder, which is optional.
        timing: how often to scan.
        public_keys: PEM file; a version that none of the keys has signed is refused. None: signatures are not required.
        clock: seconds, of which differences are taken.
    """

    def __init__(
        self,
        models: Path,
        load: Load,
        models_config: Path | None = None,
        timing: Timing | None = None,
        public_keys: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        guard: Guard | None = None,
    ):
        self._path = models
        timing = timing or Timing()
        self._poll_s, self._settle_s = timing.poll_interval_ms / 1000, timing.settle_ms / 1000
        self._clock = clock
        self._options = Reader(models_config or models / FILE_NAME, models_config is not None, self._settle_s)
        timeout_s = timing.load_timeout_ms / 1000
        self._loader = Loader(load, timing.load_threads, self.wake, public_keys, guard=guard, timeout_s=timeout_s, clock=clock)
        self._watcher = Watcher(models, self.wake) if timing.watch else None
        self._models: dict[str, ModelVersions] = {}
        self._manual = ManualLoads()
        self._table = Table()
        self._awake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="lifecycle", daemon=True)
        self._reporter = Reporter()
        self._folder = ModelsFolder(models, self._reporter, self._settle_s, clock)
        self._on_settled: list[Callable[[], None]] = []
        self.settled = False
        """Whether every model that was there at the start has been loaded or has failed."""
        self.draining = False
        """Whether the server is about to stop and gets no new requests."""
        self.problems: tuple[Problem, ...] = ()
        """Folders, versions and options that are not served as configured."""

    def start(self) -> None:
        """Scan the folder, begin to load its models, and return. Raises ConfigError."""
        self._step(self._folder.scan())
        if not self._models:
            log.warning("no models found", models=str(self._path), expected="<models>/<name>/<version>/saved_model.pb")
        self._thread.start()
        if self._watcher is not None:
            self._watcher.start()

    def stop(self) -> None:
        """Stop the threads and close the loaded versions, without waiting for running requests."""
        self._stopping = True
        self.wake()
        if self._watcher is not None:
            self._watcher.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._manual.cancel()
        self._loader.stop()
        self._table = Table()
        for record in self._records:
            if record.state is State.AVAILABLE and record.loaded is not None:
                record.loaded.close()

    def wake(self) -> None:
        """Let the manager's thread scan now."""
        self._awake.set()

    def load(self, model: str) -> "Future[None]":
        """Serve the model's wanted versions, also after `unload`; failed versions are retried at once.

        The future is done when they are served; it fails with ModelLoadError or UnknownModelError.
        """
        future = self._manual.request(model, unload=False)
        self.wake()
        return future

    def unload(self, model: str) -> "Future[None]":
        """Take the model out of service until `load`: running requests are finished, then its memory is freed.

        The future is done when no new request gets the model; it fails with UnknownModelError.
        """
        future = self._manual.request(model, unload=True)
        self.wake()
        return future

    def on_settled(self, call: Callable[[], None]) -> None:
        """Call `call` in the manager's thread once `settled` is true."""
        self._on_settled.append(call)
        self.wake()

    @property
    def statuses(self) -> Mapping[str, ModelStatus]:
        """The status of every model, by name, in alphabetical order."""
        return {name: route.status for name, route in self._table.routes.items()}

    @property
    def specs(self) -> list[ModelSpec]:
        """The specs of the versions that are served by default."""
        routes = self._table.routes.values()
        default = [route.available.get(route.status.version) for route in routes]
        return [handle.loaded.spec for handle in default if handle is not None]

    @property
    def served(self) -> list[Loaded]:
        """Every version that is served."""
        return [handle.loaded for route in self._table.routes.values() for handle in route.available.values()]

    def knows(self, model: str) -> bool:
        """Return whether there is a model of that name."""
        return model in self._table.routes

    @property
    def models_file(self) -> FileStatus:
        """Path and error of `models.toml`."""
        return FileStatus(str(self._options.path), self._options.error)

    def options(self, model: str) -> ModelOptions:
        """Return the model's options. Raises UnknownModelError."""
        return self._table.route(model).options

    def status(self, model: str) -> ModelStatus:
        """Return the model's status. Raises UnknownModelError."""
        return self._table.route(model).status

    def acquire(self, model: str, version: int | None = None, label: str | None = None) -> AbstractContextManager[Loaded]:
        """Return a version to hold for one request; without version and label, the newest available one.

        Raises what `Table.find` does.
        """
        handle = self._table.find(model, version, label)
        while not handle.take():  # retired since, and therefore no longer in the table
            handle = self._table.find(model, version, label)
        return handle

    def lookup(self, model: str, version: int | None = None, label: str | None = None) -> Loaded:
        """Return a version without holding it, for its description and statistics. Raises what `Table.find` does."""
        return self._table.find(model, version, label).loaded

    def _run(self) -> None:
        while not self._stopping:
            self._awake.wait(self._wait_s)
            self._awake.clear()
            self._manual.accept()  # before the scan, which is then newer than the requests
            try:
                self._step(self._folder.scan())
                self._reporter.models_folder(None)
            except ConfigError as error:  # a folder that cannot be read for a while takes no model down
                self._reporter.models_folder(error.message)
                self._step(None)
            except Exception:
                log.exception("scan failed; the next one follows")

    @property
    def _wait_s(self) -> float:
        waits = [versions.wait_s(self._settle_s) for versions in self._models.values()]
        return min([self._poll_s, *waits, *([] if self._folder.settled else [max(self._settle_s, MIN_WAIT_S)])])

    def _step(self, found: Mapping[str, tuple[VersionOnDisk, ...]] | None) -> None:
        """Take every step that is possible now. `found`: the versions on disk; None if the folder cannot be read."""
        options = self._options.read()
        self._reporter.models_file(self._options.error)
        self._loader.abandon_overdue()
        for record in self._records:
            record.finish()
        if found is not None:
            for name in sorted(found.keys() - self._models.keys()):
                self._models[name] = ModelVersions(name, self._clock)
            self._manual.begin(self._models)
            for name, versions in self._models.items():
                versions.update(found.get(name, ()), options.of(name), self._settle_s)
        for versions in self._models.values():
            self._serve_warm(versions)
        retired = [handle for versions in self._models.values() for handle in self._act(versions)]
        self._models = {name: versions for name, versions in sorted(self._models.items()) if versions.records}
        self._table = Table({name: versions.route for name, versions in self._models.items()})
        for handle in retired:
            handle.retire()
        for record in self._records:
            if record.state is State.UNLOADING and record.idle:
                record.idle = False
                self._loader.unload(record)
        self._manual.finish(self._models, self._table)
        self._publish_problems(options.models)
        if all(versions.settled for versions in self._models.values()):
            self.settled = True
            while self._on_settled:
                self._on_settled.pop()()

    @property
    def _records(self) -> list[Record]:
        return [record for versions in self._models.values() for record in versions.records.values()]

    def _serve_warm(self, versions: ModelVersions) -> None:
        """Serve each wanted version that has become warm; unload the others."""
        for record in versions.records.values():
            if record.warm and record.loaded is not None:
                previous = max(versions.available, key=lambda other: other.id, default=None)
                record.serve(record.loaded, partial(self._on_idle, record), wanted=record.id in versions.wanted)
                if record.state is State.AVAILABLE:
                    self._reporter.available(record, previous)

    def _act(self, versions: ModelVersions) -> list[VersionHandle]:
        """Take every possible step. Returns the handles to retire once the new table is published."""
        retired = []
        while (action := versions.action) is not None:
            record = versions.records[action.id]
            if isinstance(action, Unload):
                retired.append(record.unload())
            elif sum(other.state in BUSY for other in self._records) < self._loader.at_a_time:
                self._loader.load(record)
            else:
                break
        return [handle for handle in retired if handle is not None]

    def _on_idle(self, record: Record) -> None:
        """Note that the last request has released the version. Called in the thread of that request."""
        record.idle = True
        self.wake()

    def _publish_problems(self, options: Mapping[str, ModelOptions]) -> None:
        problems = [*self._folder.problems, *(problem for versions in self._models.values() for problem in versions.problems)]
        for name in sorted(options):
            if not self._folder.has(name):
                message = f"models.toml has options for {name!r}, but there is no such model.{did_you_mean(name, self._models)}"
                problems.append(Problem("options", name, message))
        self.problems = tuple(problems)
        self._reporter.problems(self.problems)
