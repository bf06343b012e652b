"""All versions of one model: those on disk, those wanted and those loaded."""

import math
import time
from collections.abc import Callable

from service.lifecycle.disk import VersionOnDisk
from service.lifecycle.policy import Action, Id, aspired, next_action
from service.lifecycle.record import Record
from service.lifecycle.routing import Route
from service.lifecycle.served_models import IN_MEMORY, LabelStatus, ModelStatus, Problem, State, VersionStatus
from service.models.options import ModelOptions

MIN_WAIT_S = 0.01


class ModelVersions:
    """The records of one model. The manager's thread owns it."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic):
        self.name = name
        self.records: dict[Id, Record] = {}
        self.wanted: frozenset[Id] = frozenset()
        self.unloaded: str | None = None
        """Why the model is out of service although it is on disk; None if it is not."""
        self.on_demand = False
        """Whether a request loads the model."""
        self._clock = clock
        self._options = ModelOptions()
        self._disk: tuple[VersionOnDisk, ...] = ()
        self._published_requests = 0
        self._current: dict[int, Record] = {}
        """For each version on disk, the record with its present folder and options."""

    def update(self, disk: tuple[VersionOnDisk, ...], options: ModelOptions) -> bool:
        """Apply the versions on disk and the options. Returns whether anything may have to be done or published."""
        unchanged = (disk, options) == (self._disk, self._options) and self.requests == self._published_requests
        if unchanged and not any(map(_waits, self._wanted_records)):
            return False
        self._disk, self._options = disk, options
        self._current = {version.version: self._current_record(version, options) for version in disk}
        return True

    def plan(self, settle_s: float) -> None:
        """Determine which versions are wanted; check the folders of those that wait to be loaded, and drop removed ones."""
        current = {record.id for record in self._current.values()}
        self.records = {
            key: record for key, record in sorted(self.records.items()) if key in current or record.state in IN_MEMORY
        }
        candidates = [
            record.snapshot
            for record in self.records.values()
            if record.id in current or (record.state is State.AVAILABLE and record.id.version in self._current)
        ]
        options = self._options
        self.wanted = aspired(candidates, options.versions, options.labels.values(), unloaded=self.unloaded is not None)
        for record in self._wanted_records:
            if record.state is State.END:
                record.enter(State.START)
                record.settled = False
            if _waits(record):
                record.check_folder(settle_s)

    def _current_record(self, disk: VersionOnDisk, options: ModelOptions) -> Record:
        """Return the record of a version on disk; a new one, beside the loaded one, if it must be loaded again."""
        newest = max((key for key in self.records if key.version == disk.version), default=None)
        if newest is None:
            record = Record(Id(disk.version), disk, options, self._clock)
        elif self.records[newest].replaced_by(disk, options):
            revision = Id(disk.version, newest.revision + 1)
            record = Record(revision, disk, options, self._clock, counts=self.records[newest].counts)
        else:
            return self.records[newest]
        self.records[record.id] = record
        return record

    @property
    def _wanted_records(self) -> list[Record]:
        return [self.records[key] for key in sorted(self.wanted)]

    @property
    def available(self) -> list[Record]:
        """The records that are served, oldest first."""
        return [record for _, record in sorted(self.records.items()) if record.state is State.AVAILABLE]

    @property
    def action(self) -> Action | None:
        """The next step."""
        return next_action([record.snapshot for record in self.records.values()], self.wanted, self._options.transition)

    @property
    def settled(self) -> bool:
        """Whether everything wanted is served or has failed."""
        return all(record.state in {State.AVAILABLE, State.FAILED} for record in self._wanted_records)

    @property
    def decided(self) -> bool:
        """Whether everything wanted is served, or has failed since the last `retry_now`."""
        return all(record.decided for record in self._wanted_records)

    def wait_s(self, settle_s: float) -> float:
        """Return the seconds until the next step that nothing else triggers: a folder settles, or a retry is due."""
        waits = [float("inf")]
        for record in self._wanted_records:
            if record.pending and not record.settled:
                waits.append(settle_s)
            elif record.state is State.FAILED:
                waits.append(record.retry_at - self._clock())
        return max(min(waits), MIN_WAIT_S)

    @property
    def requests(self) -> int:
        """Number of times that a version in memory was taken."""
        return sum(record.handle.requests for record in self.records.values() if record.handle is not None)

    def route(self) -> Route:
        """Return the model's entry in the routing table, which the caller publishes."""
        self._published_requests = self.requests
        handles = {record.id.version: record.handle for record in self.available if record.handle is not None}
        status = self.status
        return Route(status, handles, self._options, self.on_demand and status.state in {"unloaded", "loading"})

    @property
    def used_s(self) -> float:
        """When a version was last taken or loaded, in seconds of `time.monotonic`; infinite if none is served."""
        return max((record.handle.used_s for record in self.available if record.handle is not None), default=math.inf)

    @property
    def memory_bytes(self) -> int:
        """Memory of the versions that are in memory."""
        return sum(record.memory_bytes for record in self.records.values() if record.state in IN_MEMORY)

    @property
    def status(self) -> ModelStatus:
        """The model's status."""
        newest_first = sorted(self.records.values(), key=lambda record: record.id, reverse=True)
        served = self.available[::-1]
        wanted = [record for record in newest_first if record.id in self.wanted]
        failing = [record for record in wanted if record.snapshot.failing]
        pending = [record for record in wanted if record not in failing and record not in served]
        first = (served or pending or failing or newest_first)[0]
        failed = not served and not pending
        nothing = "The version policy matches no version on disk." if self._current else "It has been removed."
        error = self.unloaded or first.error or nothing
        return ModelStatus(
            self.name,
            first.id.version,
            "available" if served else "unloaded" if self.unloaded else "failed" if failed else "loading",
            error if failed else None,
            tuple(_version_status(record, record.id in self.wanted) for record in reversed(newest_first)),
            {
                label: LabelStatus(version, any(record.id.version == version for record in served))
                for label, version in self._options.labels.items()
            },
            tuple(problem.message for problem in self.problems if served or problem.kind != "version"),
        )

    @property
    def problems(self) -> list[Problem]:
        """Versions that failed, and versions in `models.toml` that are not served."""
        failing = [(record.id.version, record.error) for record in reversed(self._wanted_records) if record.snapshot.failing]
        found = [
            Problem("version", self.name, f"Version {number} failed: {error}", version=number) for number, error in failing
        ]
        served = {record.id.version for record in self.available}
        for label, version in self._options.labels.items():
            if version not in served:
                there = "is not loaded" if version in self._current else "is not on disk"
                found.append(Problem("options", self.name, f"Label {label!r} points to version {version}, which {there}."))
        for version in self._options.versions.specific or ():
            if version not in self._current:
                message = f"Version {version}, which the policy names, is not on disk."
                found.append(Problem("options", self.name, message))
        return found


def _waits(record: Record) -> bool:
    """Whether a wanted version waits for its folder to settle, for its files to change or for a retry."""
    return record.state is State.FAILED or (record.state is State.START and not record.settled)


def _version_status(record: Record, wanted: bool) -> VersionStatus:
    began, served = record.times.get(State.VERIFYING.value), record.times.get(State.AVAILABLE.value)
    handle = record.handle
    return VersionStatus(
        record.id.version,
        record.state.value,
        wanted,
        record.error,
        record.attempts,
        dict(record.times),
        round(served - began, 6) if began is not None and served is not None and served >= began else None,
        record.file_bytes,
        record.resident_bytes,
        handle.requests if handle is not None else 0,
        record.counts.loads,
        record.counts.failures,
    )
