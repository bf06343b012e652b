"""The models as requests find them, in one immutable routing table."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from service.lifecycle.routing import Table
from service.lifecycle.served_models import Loaded, ModelStatus
from service.models.options import ModelOptions
from service.types import ModelSpec


class RoutedModels:
    """What requests read of the models; every method may be called from any thread.

    Subclasses replace `_table` whenever something has changed.
    """

    def __init__(self) -> None:
        self._table = Table()

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

    def loads_on_demand(self, model: str) -> bool:
        """Return whether the model is loaded at its first request, which waits for it."""
        return model in self._table.routes and self._table.routes[model].on_demand

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
