"""Loads and unloads versions as the version policy decides, and gives each request a handle of the version it uses.

One thread decides: it scans the disk, computes the next step of each model that has changed, and passes slow work to the
loader. After each step of the loader it visits only the models in work, so that many models load as fast as few. Requests never
wait: they read one immutable routing table. A version enters the table after it is warm, and leaves it before it is retired.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from service.errors import ConfigError
from service.lifecycle import loader
from service.lifecycle.disk import VersionOnDisk
from service.lifecycle.loader import Guard, Loader
from service.lifecycle.manual import ManualLoads
from service.lifecycle.memory_budget import MemoryBudget
from service.lifecycle.model_versions import MIN_WAIT_S, ModelVersions
from service.lifecycle.models_folder import ModelsFolder, Watcher
from service.lifecycle.policy import Load, Unload
from service.lifecycle.record import Record
from service.lifecycle.report import Reporter
from service.lifecycle.routed_models import RoutedModels
from service.lifecycle.routing import Table, VersionHandle
from service.lifecycle.served_models import BUSY, FileStatus, Problem, State
from service.messages import did_you_mean
from service.models.options import FILE_NAME, ModelOptions, Reader

CHECK_RUNS_S = 1.0
"""Time between two checks for runs that do not return."""
MEMORY_WAIT_S = 0.1
"""How long a load waits for memory before it looks for models to unload again."""

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


class Manager(RoutedModels):
    """The models of a folder.

    Args:
        models: the folder.
        load: loads a version into memory.
        guard: decides whether a version may be loaded; None: every one may be.
        models_config: `models.toml`; by default the one in the folder, which is optional.
        timing: how often to scan.
        public_keys: PEM file; a version that none of the keys has signed is refused. None: signatures are not required.
        clock: seconds, of which differences are taken.
        memory_bytes: a model is loaded at its first request, and the least recently used ones are unloaded when those in memory
            take more than this. None: every model is loaded at once.
    """

    def __init__(
        self,
        models: Path,
        load: loader.Load,
        models_config: Path | None = None,
        timing: Timing | None = None,
        public_keys: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        guard: Guard | None = None,
        memory_bytes: int | None = None,
    ):
        super().__init__()
        self._path = models
        timing = timing or Timing()
        self._poll_s, self._settle_s = timing.poll_interval_ms / 1000, timing.settle_ms / 1000
        self._clock = clock
        self._options = Reader(models_config or models / FILE_NAME, models_config is not None, self._settle_s)
        self._awake = threading.Event()
        self._scan_requested = False
        self._visit_all = False
        """Whether the last step was interrupted by an error, so that models may have been left out."""
        self._scan_at_s = 0.0
        """When the next scan is due without a request, in seconds of `time.monotonic`."""
        timeout_s = timing.load_timeout_ms / 1000
        self._loader = Loader(
            load, timing.load_threads, self._awake.set, public_keys, guard=guard, timeout_s=timeout_s, clock=clock
        )
        self._watcher = Watcher(models, self.wake) if timing.watch else None
        self._models: dict[str, ModelVersions] = {}
        self._in_work: list[Record] = []
        """Records that the loader works on, or that are being unloaded."""
        self._to_load: dict[str, ModelVersions] = {}
        """Models with versions to load for which the loader has no place yet, in this order."""
        self._check_runs_at_s = 0.0
        self._broken: list[tuple[Record, str]] = []
        """Served versions that cannot be served any more, each with the reason."""
        self._unsettled: set[str] = set()
        """Names of the models of which a wanted version is neither served nor failed."""
        self._problems: dict[str, list[Problem]] = {}
        self._option_problems: list[Problem] = []
        self._budget = None if memory_bytes is None else MemoryBudget(memory_bytes)
        self._manual = ManualLoads(on_demand=memory_bytes is not None)
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
        self._scan_at_s = time.monotonic() + self._poll_s
        self._update(self._folder.scan())
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
        for versions in self._models.values():
            for record in versions.available:
                if record.loaded is not None:
                    record.loaded.close()

    def wake(self) -> None:
        """Let the manager's thread scan now."""
        self._scan_requested = True
        self._awake.set()

    def load(self, model: str) -> "Future[None]":
        """Serve the model's wanted versions, also after `unload`; failed versions are retried at once.

        The future is done when they are served; it fails with ModelLoadError or UnknownModelError.
        """
        future = self._manual.request(model, "load")
        self.wake()
        return future

    def unload(self, model: str) -> "Future[None]":
        """Take the model out of service until `load`: running requests are finished, then its memory is freed.

        The future is done when no new request gets the model; it fails with UnknownModelError.
        """
        future = self._manual.request(model, "unload")
        self.wake()
        return future

    def demand(self, model: str) -> "Future[None]":
        """Load a model that `loads_on_demand`.

        The future is done when it is served; it fails with ModelLoadError or UnknownModelError.
        """
        future = self._manual.request(model, "demand")
        self.wake()
        return future

    def on_settled(self, call: Callable[[], None]) -> None:
        """Call `call` in the manager's thread once `settled` is true."""
        self._on_settled.append(call)
        self.wake()

    @property
    def models_file(self) -> FileStatus:
        """Path and error of `models.toml`."""
        return FileStatus(str(self._options.path), self._options.error)

    def _run(self) -> None:
        while not self._stopping:
            self._wait()
            self._awake.clear()
            try:
                if self._scan_requested or time.monotonic() >= self._scan_at_s:
                    self._scan()
                else:
                    self._step([])
            except Exception:
                log.exception("scan failed; the next one follows")
                self._visit_all = True

    def _wait(self) -> None:
        """Wait until the next scan is due, or a version cannot be served any more."""
        while (left_s := self._scan_at_s - time.monotonic()) > 0 and not self._awake.wait(min(left_s, CHECK_RUNS_S)):
            self._check_runs()
            if self._broken:
                return

    def _scan(self) -> None:
        self._scan_requested, self._scan_at_s = False, time.monotonic() + self._poll_s
        self._manual.accept()  # before the scan, which is then newer than the requests
        try:
            found = self._folder.scan()
            self._reporter.models_folder(None)
        except ConfigError as error:  # a folder that cannot be read for a while takes no model down
            self._reporter.models_folder(error.message)
            self._step([])
        else:
            self._update(found)

    def _update(self, found: Mapping[str, tuple[VersionOnDisk, ...]]) -> None:
        """Apply the versions on disk and `models.toml`, and take every step that is possible now."""
        options = self._options.read()
        self._reporter.models_file(self._options.error)
        if new := found.keys() - self._models.keys():
            self._models |= {name: ModelVersions(name, self._clock) for name in new}
            self._models = dict(sorted(self._models.items()))
        requested = self._manual.begin(self._models)
        changed = {name for name, versions in self._models.items() if versions.update(found.get(name, ()), options.of(name))}
        if self._visit_all:
            self._visit_all, requested = False, {*self._models}
        self._option_problems = self._unknown_models(options.models)
        if not self._folder.settled:
            self._scan_within(max(self._settle_s, MIN_WAIT_S))
        self._step([versions for name, versions in self._models.items() if name in changed or name in requested])

    def _step(self, changed: Iterable[ModelVersions]) -> None:
        """Take every step that is possible now for the models that have changed, and for those in work."""
        self._loader.abandon_overdue()
        for record in self._in_work:
            record.finish()
        self._check_runs()
        retired = [self._give_up(*self._broken.pop()) for _ in range(len(self._broken))]
        visited = {versions.name: versions for versions in changed}
        visited |= {record.disk.model: self._models[record.disk.model] for record in self._in_work}
        for versions in visited.values():
            versions.plan(self._settle_s)
            if self._serve_warm(versions):
                versions.plan(self._settle_s)
            retired += self._unload_unwanted(versions)
        self._to_load |= visited
        for versions in self._make_room():
            retired += self._unload_unwanted(versions)
            visited[versions.name] = versions
        visited |= self._load_waiting()
        self._publish(visited)
        for handle in retired:
            if handle is not None:
                handle.retire()
        for record in self._in_work:
            if record.state is State.UNLOADING and record.idle:
                record.idle = False
                self._loader.unload(record)
        self._in_work = [record for record in self._in_work if record.state in BUSY or record.state is State.UNLOADING]
        self._manual.finish(self._models, self._table)
        self._scan_within(min((versions.wait_s(self._settle_s) for versions in visited.values()), default=math.inf))
        if not self._unsettled:
            self.settled = True
            while self._on_settled:
                self._on_settled.pop()()

    def _scan_within(self, wait_s: float) -> None:
        self._scan_at_s = min(self._scan_at_s, time.monotonic() + wait_s)

    def _serve_warm(self, versions: ModelVersions) -> bool:
        """Serve each wanted version that has become warm; unload the others. Returns whether there was one."""
        warm = [record for record in versions.records.values() if record.warm]
        for record in warm:
            if record.loaded is not None:
                previous = max(versions.available, key=lambda other: other.id, default=None)
                record.serve(record.loaded, partial(self._on_idle, record), wanted=record.id in versions.wanted)
                if record.state is State.AVAILABLE:
                    self._reporter.available(record, previous)
        return bool(warm)

    def _unload_unwanted(self, versions: ModelVersions) -> list[VersionHandle | None]:
        """Begin to unload versions. Returns the handles to retire once the new table is published."""
        retired: list[VersionHandle | None] = []
        while isinstance(action := versions.action, Unload):
            record = versions.records[action.id]
            retired.append(record.unload())
            self._in_work.append(record)
        return retired

    def _give_up(self, record: Record, reason: str) -> VersionHandle | None:
        """Begin to unload a version that cannot be served any more. Returns the handle to retire."""
        log.error("model failed", model=record.disk.model, version=record.id.version, error=reason, retry=False)
        self._in_work.append(record)
        return record.give_up(reason)

    def _check_runs(self) -> None:
        """Find the served versions that cannot be served any more; once a second, because it visits all models."""
        if time.monotonic() < self._check_runs_at_s:
            return
        self._check_runs_at_s = time.monotonic() + CHECK_RUNS_S
        served = [record for versions in self._models.values() for record in versions.available]
        checked = [(record, record.loaded.check_runs()) for record in served if record.loaded is not None]
        self._broken = [(record, reason) for record, reason in checked if reason is not None]

    def _next_load(self) -> Record | None:
        """Return the version that is loaded next."""
        for versions in self._to_load.values():
            if isinstance(action := versions.action, Load):
                return versions.records[action.id]
        return None

    def _make_room(self) -> list[ModelVersions]:
        """Put back models whose memory the next one needs. Returns them."""
        if self._budget is None:
            return []
        put_back = self._budget.to_unload(self._models.values(), self._next_load())
        for versions in put_back:
            self._manual.put_back(versions)
            versions.plan(self._settle_s)
        return put_back

    def _load_waiting(self) -> dict[str, ModelVersions]:
        """Begin to load versions while the loader has places. Returns the models of which a version was considered."""
        busy = sum(record.state in BUSY for record in self._in_work)
        considered = {}
        for name, versions in list(self._to_load.items()):
            while busy < self._loader.at_a_time and isinstance(action := versions.action, Load):
                considered[name] = versions
                record = versions.records[action.id]
                record.check_folder(self._settle_s)  # it may have changed while it waited
                if record.settled and self._budget is not None and not self._budget.fits(self._models.values(), record):
                    self._scan_within(MEMORY_WAIT_S)
                    return considered
                if record.settled:
                    self._loader.load(record)
                    self._in_work.append(record)
                    busy += 1
            if busy >= self._loader.at_a_time:
                break
            del self._to_load[name]
        return considered

    def _on_idle(self, record: Record) -> None:
        """Note that the last request has released the version. Called in the thread of that request."""
        record.idle = True
        self._awake.set()

    def _publish(self, visited: Mapping[str, ModelVersions]) -> None:
        """Publish the routes and problems of the visited models, and remove those without versions."""
        removed = [name for name, versions in visited.items() if not versions.records]
        for name in removed:
            for known in (self._models, self._to_load, self._problems):
                known.pop(name, None)
        kept = {name: versions for name, versions in visited.items() if versions.records}
        routes = self._table.routes
        self._table = Table({name: kept[name].route() if name in kept else routes[name] for name in self._models})
        self._unsettled -= visited.keys()
        self._unsettled |= {name for name, versions in kept.items() if not versions.settled}
        self._problems |= {name: versions.problems for name, versions in kept.items()}
        of_models = (problem for name in self._models for problem in self._problems[name])
        self.problems = (*self._folder.problems, *of_models, *self._option_problems)
        self._reporter.problems(self.problems)

    def _unknown_models(self, options: Mapping[str, ModelOptions]) -> list[Problem]:
        """Return a problem for each model in `models.toml` that does not exist."""
        message = "models.toml has options for {!r}, but there is no such model.{}"
        unknown = [name for name in sorted(options) if not self._folder.has(name)]
        return [Problem("options", name, message.format(name, did_you_mean(name, self._models))) for name in unknown]
