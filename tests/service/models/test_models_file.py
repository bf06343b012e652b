import os

import pytest

from service.errors import ConfigError
from service.models.models_file import Reader, parse
from service.models.options import ModelOptions


def test_a_model_that_is_not_named_has_the_defaults():
    assert parse("", "models.toml").of("films") == ModelOptions()


def test_everything_can_be_set():
    text = """
    [models.films]
    versions = { latest = 2 }
    labels = { stable = 3, canary = 5 }
    transition = "resource"
    batching = { max_batch_size = 8, allowed_batch_sizes = [2, 8], batch_timeout_micros = 100 }
    compute = { devices = ["GPU:0"], jit_compile = true }
    trusted = true
    """
    films = parse(text, "models.toml").of("films")
    assert films.versions.latest == 2
    assert films.labels == {"stable": 3, "canary": 5}
    assert films.transition == "resource"
    assert films.batching.allowed_batch_sizes == (2, 8)
    assert films.compute.devices == ("GPU:0",)
    assert films.trusted
    assert not ModelOptions().trusted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[model.films]", r"model: there is no such key; there are models\. Did you mean 'models'", id="top"),
        pytest.param("[models.films]\nlabel = {}", r"models\.films\.label: .*Did you mean 'labels'", id="option"),
        pytest.param("[models.f.batching]\nmax_batchsize = 1", "Did you mean 'max_batch_size'", id="batching"),
        pytest.param("[models.f.versions]\nlatest = 0", r"models\.f\.versions\.latest: .*; got 0", id="value"),
        pytest.param(
            "[models.f.versions]\nlatest = 1\nall = true", "one of latest, all and specific, but got latest and", id="two"
        ),
        pytest.param("[models.f.labels]\nstable = 'x'", r"labels\.stable: .*integer.*got 'x'", id="label"),
        pytest.param("[models", "this is no TOML", id="no TOML"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text, "models.toml")


def test_the_last_good_contents_stay(tmp_path):
    path = tmp_path / "models.toml"
    reader = Reader(path, required=False)
    assert (reader.read().models, reader.error) == ({}, None)
    path.write_text("[models.films]\nlabels = { stable = 1 }")
    assert reader.read().of("films").labels == {"stable": 1}
    path.write_text("broken")
    assert reader.read().of("films").labels == {"stable": 1}
    assert "no TOML" in reader.error
    path.unlink()
    assert (reader.read().models, reader.error) == ({}, None)


def test_a_file_that_was_named_must_be_there(tmp_path):
    reader = Reader(tmp_path / "models.toml", required=True)
    assert reader.read().models == {}
    assert "There is no file" in reader.error
    reader.path.write_text("")
    reader.read()
    assert reader.error is None


def test_a_file_that_is_being_edited_is_left_alone(tmp_path):
    path = tmp_path / "models.toml"
    path.write_text("[models.films]\nlabels = { stable = 1 }")
    reader = Reader(path, required=False, settle_s=60)
    assert reader.read().of("films").labels == {"stable": 1}
    path.write_text("")
    assert reader.read().of("films").labels == {"stable": 1}
    os.utime(path, (0, 0))
    assert reader.read().models == {}
