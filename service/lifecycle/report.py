"""Logs changes of versions and problems, each once and not at every scan."""

from collections.abc import Iterable

import structlog

from service.lifecycle.record import Record
from service.lifecycle.served_models import Problem, State
from service.types import ModelSpec, TensorSpec

log = structlog.get_logger("headserve.lifecycle")


class Reporter:
    """Logs what has changed since the last call."""

    def __init__(self) -> None:
        self._errors: dict[str, str | None] = {}
        self._unreadable: frozenset[str] = frozenset()
        self._problems: frozenset[Problem] = frozenset()

    def available(self, record: Record, previous: Record | None) -> None:
        """Log that a version is served from now on; `previous` is the newest one until now."""
        log.info(
            "model loaded",
            model=record.disk.model,
            version=record.id.version,
            load_s=round(record.times[State.AVAILABLE] - record.times[State.VERIFYING], 3),
            resident_bytes=record.resident_bytes,
        )
        if record.loaded is None or previous is None or previous.loaded is None or record.id < previous.id:
            return
        changes = incompatible_changes(previous.loaded.spec, record.loaded.spec)
        if changes:
            log.warning(
                "inputs or heads changed: clients of the previous version may fail",
                model=record.disk.model,
                version=record.id.version,
                previous=previous.id.version,
                changes=changes,
            )

    def models_folder(self, error: str | None) -> None:
        """Log that the models folder cannot be read, or (None) can be read again."""
        self._error("folder", error, "versions stay as they are", "the models folder can be read again")

    def unreadable(self, names: frozenset[str]) -> None:
        """Log which folders that may be models cannot be read."""
        for name in sorted(names - self._unreadable):
            log.warning("a folder cannot be read; a model in it stays as it is", folder=name)
        self._unreadable = names

    def models_file(self, error: str | None) -> None:
        """Log that `models.toml` is invalid, or (None) is in force again."""
        self._error("file", error, "models.toml is not in force; its last valid contents are", "models.toml is in force again")

    def problems(self, problems: Iterable[Problem]) -> None:
        """Log the present problems; failed versions are left out, because the loader logs them."""
        now = frozenset(problem for problem in problems if problem.kind != "version")
        for problem in sorted(now - self._problems, key=lambda problem: (problem.model, problem.message)):
            event = "folder not served" if problem.kind == "folder" else "configuration not satisfied"
            log.warning(event, model=problem.model, problem=problem.message)
        self._problems = now

    def _error(self, what: str, error: str | None, event: str, event_after: str) -> None:
        if error == self._errors.get(what):
            return
        self._errors[what] = error
        if error is None:
            log.info(event_after)
        else:
            log.error(event, error=error)


def incompatible_changes(before: ModelSpec, after: ModelSpec) -> list[str]:
    """Return which inputs, heads and keys of `before` are missing or different in `after`, and its new required inputs."""
    inputs = {tensor.name: tensor for tensor in after.inputs}
    heads = {head.name: {key.name: key for key in head.keys} for head in after.heads}
    changes = [_change("input", tensor.name, tensor, inputs.get(tensor.name)) for tensor in before.inputs]
    known = set(before.input_names)
    changes += [f"input {name!r} is new and required" for name, new in inputs.items() if name not in known and new.required]
    for head in before.heads:
        keys = heads.get(head.name)
        if keys is None:
            changes.append(f"head {head.name!r} is missing")
        else:
            changes += [_change("key", f"{head.name}/{key.name}", key, keys.get(key.name)) for key in head.keys]
    return [change for change in changes if change is not None]


def _change(what: str, name: str, before: TensorSpec, after: TensorSpec | None) -> str | None:
    if after is None:
        return f"{what} {name!r} is missing"
    if (before.dtype, before.shape) != (after.dtype, after.shape):
        return f"{what} {name!r} was {_shown(before)} and is {_shown(after)}"
    return None


def _shown(tensor: TensorSpec) -> str:
    return f"{tensor.dtype} {'of any shape' if tensor.shape is None else list(tensor.shape)}"
