"""One server of every protocol, which all files of its tests ask."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conformance.protocols import models, v2_server
from tests.conformance.protocols.server import exported, running


@pytest.fixture(scope="package")
def v1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server of TensorFlow Serving's own test models, and of small ones for single facts."""
    with running(exported(tmp_path_factory, models.export_all)) as client:
        yield client


@pytest.fixture(scope="package")
def v2_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the models that `v2` serves."""
    return exported(tmp_path_factory, v2_server.export_all)


@pytest.fixture(scope="package")
def v2(v2_models: Path) -> Iterator[httpx.Client]:
    """A client of a server of those models."""
    with running(v2_models, **v2_server.SETTINGS) as client:
        yield client
