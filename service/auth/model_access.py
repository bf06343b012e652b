"""Access to models by key: with keys configured, routes and protocols see the manager through `AuthorizedManager`.

Each protocol reads the model's name from the path in its own way. All of them get the model from here, so that no route can
omit the check, and no second interpretation of the path can differ.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TypeVar

from service.auth.keys import Key
from service.errors import InsufficientScopeError, UnauthorizedError, UnknownModelError
from service.inference.request_context import current
from service.lifecycle.served_models import FileStatus, Loaded, ModelStatus, Problem, ServedModels
from service.messages import listed
from service.models.options import ModelOptions
from service.types import ModelSpec

T = TypeVar("T")


def caller() -> Key | None:
    """Return the key of the current request; None on open paths, whose responses name no model."""
    request = current.get(None)
    return None if request is None else request.key


def current_key() -> Key:
    """Return the key of the current request. Raises UnauthorizedError if there is none."""
    key = caller()
    if key is None:
        raise UnauthorizedError("This needs a key.")
    return key


class AuthorizedManager:
    """`ServedModels` restricted to the models that the current request's key permits.

    `Manager` documents the methods. Those with a model's name raise InsufficientScopeError if the key is not for that model.
    """

    def __init__(self, manager: ServedModels):
        self._all = manager

    def loads_on_demand(self, model: str) -> bool:
        return _is_visible(model) and self._all.loads_on_demand(model)

    def demand(self, model: str) -> "Future[None]":
        return _filtered_future(self._all.demand, model)

    def load(self, model: str) -> "Future[None]":
        return _filtered_future(self._all.load, model)

    def unload(self, model: str) -> "Future[None]":
        return _filtered_future(self._all.unload, model)

    def options(self, model: str) -> ModelOptions:
        return _call(self._all.options, model)

    def status(self, model: str) -> ModelStatus:
        return _call(self._all.status, model)

    def acquire(self, model: str, version: int | None = None, label: str | None = None) -> AbstractContextManager[Loaded]:
        return _call(self._all.acquire, model, version, label)

    def lookup(self, model: str, version: int | None = None, label: str | None = None) -> Loaded:
        return _call(self._all.lookup, model, version, label)

    @property
    def statuses(self) -> Mapping[str, ModelStatus]:
        """The statuses of the models that the key is for."""
        return {name: status for name, status in self._all.statuses.items() if _is_visible(name)}

    @property
    def specs(self) -> list[ModelSpec]:
        """The specs of the models that the key is for."""
        return [spec for spec in self._all.specs if _is_visible(spec.name)]

    @property
    def served(self) -> list[Loaded]:
        """All served versions, for metrics. Raises InsufficientScopeError for a key that is restricted to some models."""
        if current_key().models is not None:
            raise InsufficientScopeError("Metrics cover all models, but this key is for some of them only.")
        return self._all.served

    def knows(self, model: str) -> bool:
        """Return whether there is such a model, for any key: it is called to count a request that has ended."""
        return self._all.knows(model)

    @property
    def models_file(self) -> FileStatus:
        """See `Manager.models_file`; only a key for all models sees the error text, which may name any model."""
        status, key = self._all.models_file, caller()
        if status.error is None or key is None or key.models is None:
            return status
        return FileStatus(status.path, "models.toml has errors and is not in force; a key for all models sees them.")

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems of the models that the key is for; a problem of a missing model may suggest the name of any model."""
        key, found = caller(), self._all.problems
        if key is None or key.models is None:
            return found
        return tuple(each for each in found if key.sees(each.model) and (each.kind != "options" or self._all.knows(each.model)))

    @property
    def settled(self) -> bool:
        return self._all.settled

    @property
    def draining(self) -> bool:
        return self._all.draining


def _key_for(model: str) -> Key:
    """Return the key of the current request if it is for the model. The key's scope was checked before."""
    key = current_key()
    key.permit_model(model)
    return key


def _is_visible(model: str) -> bool:
    key = caller()
    return key is None or key.sees(model)


def _call(method: Callable[..., T], model: str, *arguments: object) -> T:
    """Return the method's result if the key is for the model. An UnknownModelError names only models of the key."""
    key = _key_for(model)
    try:
        return method(model, *arguments)
    except UnknownModelError as error:
        raise _filtered(error, key) from None


def _filtered_future(method: Callable[[str], "Future[None]"], model: str) -> "Future[None]":
    key = _key_for(model)
    filtered: Future[None] = Future()

    def copy_outcome(done: "Future[None]") -> None:
        if filtered.set_running_or_notify_cancel():
            error = done.exception()
            if error is None:
                filtered.set_result(None)
            else:
                filtered.set_exception(_filtered(error, key) if isinstance(error, UnknownModelError) else error)

    method(model).add_done_callback(copy_outcome)
    return filtered


def _filtered(error: UnknownModelError, key: Key) -> UnknownModelError:
    """Return the error, which lists the existing models, with only the models of the key."""
    if key.models is None:
        return error
    details = error.details | {"expected": sorted(key.models)}
    return UnknownModelError(
        f"There is no model {details['model']!r}; this key is for {listed(details['expected'])}.", **details
    )
