"""Servers of models that are exported for these tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import Settings, create_app
from tests.service.conftest import _serving


def exported(tmp_path_factory: pytest.TempPathFactory, export: Callable[[Path], None]) -> Path:
    """A new folder with what the function puts there."""
    folder = tmp_path_factory.mktemp("models")
    export(folder)
    return folder


@contextmanager
def running(models: Path, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a server of that folder."""
    with _serving(create_app(Settings(models=models, compute_threads=2, **settings))) as client:
        yield client
