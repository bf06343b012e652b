"""A server of TensorFlow Serving's own test models, and of small ones for single facts."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service import Settings, create_app
from tests.conformance.protocols.models import export_all
from tests.service.conftest import _serving


@pytest.fixture(scope="package")
def tfserving_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the models."""
    folder = tmp_path_factory.mktemp("tfserving")
    export_all(folder)
    return folder


@pytest.fixture(scope="package")
def v1(tfserving_models: Path) -> Iterator[httpx.Client]:
    """A client of the server."""
    with _serving(create_app(Settings(models=tfserving_models, compute_threads=2))) as client:
        yield client
