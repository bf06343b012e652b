"""A models folder, or something in it, that is out of reach for a while, or that nobody lets the server read."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults import model
from tests.faults.conftest import Models, Shared, Start
from tests.faults.traffic import Counts, Traffic
from tests.waiting import until

pytestmark = pytest.mark.e2e


@contextmanager
def gone(folder: Path) -> Iterator[None]:
    """It is moved away, and back."""
    folder.rename(folder.with_name("away"))
    yield
    folder.with_name("away").rename(folder)


@contextmanager
def unmounted(folder: Path) -> Iterator[None]:
    """There is an empty folder in its place, as where a disk is mounted."""
    with gone(folder):
        folder.mkdir()
        yield
        folder.rmdir()


@pytest.mark.parametrize("away", [gone, unmounted])
def test_the_models_folder_vanishes_and_comes_back(
    shared: Shared, counts: Counts, away: Callable[[Path], "contextmanager[None]"]
) -> None:
    models, server = shared
    version = max(server.versions(model.NAME))
    with Traffic(server.address, counts, contents={1, 2}, clients=2) as traffic:
        before = len(server.logged("versions stay as they are"))
        with away(models.folder):
            until(lambda: len(server.logged("versions stay as they are")) > before)
            answered = counts.right
            until(lambda: counts.right > answered + 50)
            assert server.versions(model.NAME)[version] == "available"
        content = 2 if max(traffic.contents) == 1 else 1
        answered = traffic.contents[content]
        models.add(version + 1, content)
        until(lambda: traffic.contents[content] > answered)
    counts.none_lost()
    assert not counts.refused


def test_an_empty_folder_that_was_emptied_holds_no_models(shared: Shared) -> None:
    """Who deletes a model means it."""
    models, server = shared
    models.add(1, content=1, name="other")
    until(lambda: server.versions("other") == {1: "available"})
    shutil.rmtree(models.folder / "other")
    until(lambda: server.versions("other") == {})


WITHOUT_PRIVILEGES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
"""As any other user, root may read then what the file says, and no more."""
needs_setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, of util-linux, for that")


@needs_setpriv
def test_what_cannot_be_read_is_told_and_disturbs_nobody(start: Start, models: Models, counts: Counts) -> None:
    (models.folder / "lost+found").mkdir(mode=0)
    server = start(before=WITHOUT_PRIVILEGES)
    server.until_ready()
    with Traffic(server.address, counts, clients=2):
        for number, path in enumerate((".", "saved_model.pb", model.CARD, model.VARIABLES), 2):
            aside = models.aside(content=1)
            mode = (aside / path).stat().st_mode
            (aside / path).chmod(0)
            version = aside.rename(models.version(number))
            until(lambda number=number: server.versions(model.NAME).get(number) == "failed")
            assert "ermission denied" in server.error(model.NAME, number)
            (version / path).chmod(mode)
            until(lambda number=number: server.versions(model.NAME)[number] == "available")
    counts.none_lost()
    assert not counts.refused


@needs_setpriv
def test_a_model_whose_folder_cannot_be_read_any_more_is_served_on(start: Start, models: Models, counts: Counts) -> None:
    server = start(before=WITHOUT_PRIVILEGES)
    server.until_ready()
    with Traffic(server.address, counts, clients=2):
        folder = models.folder / model.NAME
        mode = folder.stat().st_mode
        folder.chmod(0)
        server.until_logged("a folder cannot be read; a model in it stays as it is", folder=model.NAME)
        models.add(1, content=1, name="other")
        until(lambda: server.versions("other") == {1: "available"})
        folder.chmod(mode)
        models.add(2, content=1)
        until(lambda: server.versions(model.NAME).get(2) == "available")
    counts.none_lost()
    assert not counts.refused
