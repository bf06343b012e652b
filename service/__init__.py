"""Serve SavedModels with several heads over HTTP: `create_app(settings)` returns the application."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.app import create_app
    from service.settings import Settings

__all__ = ["Settings", "create_app"]

_MODULES = {"Settings": "service.settings", "create_app": "service.app"}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: the command line imports this package, and must start quickly."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
