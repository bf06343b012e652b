from pathlib import Path

import numpy as np
import pytest

from service.errors import ModelLoadError
from service.models.options import BatchingOptions, ModelOptions, VersionPolicy
from service.models.signing import VersionFiles
from service.trials.guard import Guard, digest_of, tensorflow_version
from service.trials.ledger import Ledger, Memory


class Recorded:
    """Trials that all versions come through, in the order in which they begin."""

    def __init__(self) -> None:
        self.tried: list[int] = []

    def run(self, model: str, version: int, folder: Path, options: ModelOptions) -> None:
        self.tried.append(version)

    def stop(self) -> None: ...


@pytest.fixture
def files(tmp_path):
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"graph")
    return VersionFiles(tmp_path / "3")


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "cache")
    ledger.open()
    yield ledger
    ledger.close()


def admit(guard, files, options=ModelOptions(), again=False):  # noqa: B008 - frozen
    begun = []
    guard.admit("shop", 3, options, files, lambda: begun.append(3), again=again)
    return begun


def test_a_version_is_tried_out_once(ledger, files):
    trials = Recorded()
    assert admit(Guard(ledger, trials, prepare=lambda: None), files) == [3]
    assert admit(Guard(ledger, trials, prepare=lambda: None), files) == []
    assert trials.tried == [3]


@pytest.mark.parametrize("options", [ModelOptions(trusted=True), ModelOptions(trial=False)])
def test_a_trial_can_be_left_out(ledger, files, options):
    guard = Guard(ledger, Recorded(), prepare=lambda: None)
    assert admit(guard, files, options) == []


@pytest.mark.parametrize("options", [ModelOptions(trusted=True), ModelOptions(trial=False)])
def test_a_trial_is_not_left_out_of_a_version_with_which_a_server_has_ended(ledger, files, options):
    ledger.remember(digest_of(options, files), Memory(model="shop", version=3, ended_loading=1))
    assert admit(Guard(ledger, Recorded(), prepare=lambda: None), files, options) == [3]


def test_a_version_that_is_set_aside_is_loaded_only_if_an_operator_asks_for_it(ledger, files):
    digest = digest_of(ModelOptions(), files)
    ledger.remember(digest, Memory(model="shop", version=3, set_aside="The server ended."))
    guard = Guard(ledger, Recorded(), prepare=lambda: None)
    with pytest.raises(ModelLoadError, match=r"The server ended\. It is set aside: replace its files, or load it by hand"):
        admit(guard, files)
    assert admit(guard, files, again=True) == [3]
    assert admit(guard, files) == []


def test_without_trials(ledger, files):
    assert admit(Guard(ledger, None, prepare=lambda: None), files) == []


def test_what_another_trial_is_needed_for(tmp_path, files):
    before = digest_of(ModelOptions(), files)
    assert digest_of(ModelOptions(versions=VersionPolicy(latest=2)), files) == before
    assert digest_of(ModelOptions(batching=BatchingOptions(max_batch_size=2)), files) != before
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"other")
    assert digest_of(ModelOptions(), VersionFiles(tmp_path / "3")) != before


def test_the_version_of_tensorflow():
    import tensorflow as tf

    assert tensorflow_version() == tf.__version__


def test_a_distribution_without_the_usual_name(monkeypatch):
    monkeypatch.setattr("service.trials.guard.DISTRIBUTIONS", ("no-such-distribution", "numpy"))
    assert tensorflow_version() == np.__version__
    monkeypatch.setattr("service.trials.guard.DISTRIBUTIONS", ("no-such-distribution",))
    assert tensorflow_version() == ""
