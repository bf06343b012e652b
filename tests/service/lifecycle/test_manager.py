from types import SimpleNamespace

import pytest

from service.errors import ModelLoadError, UnknownModelError, UnknownVersionError
from service.lifecycle.manager import Manager


@pytest.fixture
def models(tmp_path):
    for path in ("films/1", "films/2", "broken/5", "worse/1"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "saved_model.pb").touch()
    return tmp_path


def load(name, version, folder):
    if name == "broken":
        raise ModelLoadError("The card is broken.")
    if name == "worse":
        raise RuntimeError("nobody expects this")
    return SimpleNamespace(name=name, version=version, folder=folder)


@pytest.fixture
def manager(models):
    manager = Manager(models, load)
    manager.start()
    return manager


def test_the_newest_version_is_loaded(manager, models):
    with manager.acquire("films") as servable:
        assert servable.folder == models / "films" / "2"
    with manager.acquire("films", 2) as servable:
        assert servable.version == 2
    assert manager.status("films").versions == (1, 2)


def test_a_model_that_fails_does_not_stop_the_others(manager):
    assert {name: status.state for name, status in manager.statuses.items()} == {
        "broken": "failed",
        "films": "available",
        "worse": "failed",
    }
    assert manager.status("broken").error == "The card is broken."
    assert manager.status("worse").error == "RuntimeError: nobody expects this"


@pytest.mark.parametrize(
    ("model", "version", "error", "message"),
    [
        pytest.param("film", None, UnknownModelError, "no model 'film'.*Did you mean 'films'", id="unknown model"),
        pytest.param("films", 1, UnknownVersionError, "version 2 is. It is on disk, but not loaded", id="older version"),
        pytest.param("films", 9, UnknownVersionError, "no version 9 to serve; version 2 is.$", id="unknown version"),
        pytest.param("broken", None, ModelLoadError, "version 5, failed to load: The card is broken", id="failed"),
    ],
)
def test_what_cannot_be_acquired(manager, model, version, error, message):
    with pytest.raises(error, match=message), manager.acquire(model, version):
        pass


def test_an_empty_folder(tmp_path):
    manager = Manager(tmp_path, load)
    manager.start()
    assert manager.statuses == {}
    with pytest.raises(UnknownModelError, match="there are none"):
        manager.status("films")
