"""Loads the models at start and lends them out, one handle a request."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from service.errors import (
    HeadserveError,
    ModelLoadError,
    UnknownModelError,
    UnknownVersionError,
    did_you_mean,
    listed,
)
from service.lifecycle.source import VersionOnDisk, scan
from service.servable import Servable
from service.types import ModelSpec

Load = Callable[[str, int, Path], Servable]

log = structlog.get_logger("headserve.lifecycle")


@dataclass(frozen=True)
class ModelStatus:
    """A model that was found: the version that is, or should be, served, and all that are on disk."""

    name: str
    version: int
    state: Literal["available", "failed"]
    error: str | None
    versions: tuple[int, ...]


class Manager:
    """The newest version of every model in a folder."""

    def __init__(self, models: Path, load: Load):
        self._models = models
        self._load = load
        self._loaded: dict[str, Servable] = {}
        self._statuses: dict[str, ModelStatus] = {}

    def start(self) -> None:
        """Loads every model; one that fails is reported and does not stop the others. Raises ConfigError."""
        found = scan(self._models)
        if not found:
            log.warning("no models found", models=str(self._models), expected="<models>/<name>/<version>/saved_model.pb")
        for versions in found.values():
            self._start(versions)

    def _start(self, versions: tuple[VersionOnDisk, ...]) -> None:
        newest = versions[-1]
        error: str | None = None
        try:
            self._loaded[newest.model] = self._load(newest.model, newest.version, newest.folder)
            log.info("model loaded", model=newest.model, version=newest.version)
        except HeadserveError as failure:
            error = failure.message
            log.error("model failed", model=newest.model, version=newest.version, error=error)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            log.exception("model failed", model=newest.model, version=newest.version, error=error)
        self._statuses[newest.model] = ModelStatus(
            newest.model,
            newest.version,
            "failed" if error else "available",
            error,
            tuple(version.version for version in versions),
        )

    @property
    def statuses(self) -> Mapping[str, ModelStatus]:
        """Every model that was found, by name, in alphabetical order."""
        return self._statuses

    @property
    def specs(self) -> list[ModelSpec]:
        """What the loaded models are."""
        return [servable.spec for servable in self._loaded.values()]

    def status(self, model: str) -> ModelStatus:
        """That model's status. Raises UnknownModelError."""
        if model not in self._statuses:
            raise UnknownModelError(
                f"There is no model {model!r}; there are {listed(self._statuses)}.{did_you_mean(model, self._statuses)}",
                model=model,
                expected=list(self._statuses),
            )
        return self._statuses[model]

    @contextmanager
    def acquire(self, model: str, version: int | None = None) -> Iterator[Servable]:
        """The model, held for the length of one request; no version means the one that is loaded.

        Raises:
            UnknownModelError, UnknownVersionError: naming what there is.
            ModelLoadError: it is on disk but failed to load.
        """
        status = self.status(model)
        if version is not None and version != status.version:
            on_disk = " It is on disk, but not loaded." if version in status.versions else ""
            raise UnknownVersionError(
                f"Model {model!r} has no version {version} to serve; version {status.version} is.{on_disk}",
                model=model,
                version=version,
                expected=[status.version],
            )
        if model not in self._loaded:
            raise ModelLoadError(f"Model {model!r}, version {status.version}, failed to load: {status.error}", model=model)
        yield self._loaded[model]
