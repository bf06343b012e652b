import pytest

from service.errors import ConfigError
from service.models.options import ModelOptions, Reader, parse


def test_a_model_that_is_not_named_has_the_defaults():
    assert parse("", "models.toml").of("films") == ModelOptions()


def test_all_options():
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
    ("heads", "keys"),
    [
        pytest.param('"outputs"', {}, id="every output"),
        pytest.param('{ a = { outputs = "x" } }', {"a": {"predictions": "x"}}, id="one output"),
        pytest.param('{ a = { outputs = "x", kind = "regression" } }', {"a": {"predictions": "x"}}, id="of a regression"),
        pytest.param('{ a = { outputs = "x", kind = "multi_class" } }', {"a": {"probabilities": "x"}}, id="of classes"),
        pytest.param('{ a = { outputs = "x", kind = "binary_class" } }', {"a": {"logistic": "x"}}, id="of two classes"),
        pytest.param(
            '{ b = { outputs = ["y", "x"] }, a = { outputs = ["z"] } }',
            {"b": {"y": "y", "x": "x"}, "a": {"z": "z"}},
            id="order",
        ),
        pytest.param('{ a = { outputs = { logits = "x" } } }', {"a": {"logits": "x"}}, id="keys"),
    ],
)
def test_heads(heads, keys):
    found = parse(f"[models.films]\nheads = {heads}", "models.toml").of("films").heads
    assert {name: head.keys for name, head in found.items()} == keys
    assert list(found) == list(keys)


@pytest.mark.parametrize("heads", [None, "outputs", {"a": {"outputs": "x"}}])
def test_options_survive_json(heads):
    """The process for trials gets them so."""
    options = ModelOptions(heads=heads)
    assert ModelOptions.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('[models.f]\nheads = "output"', r"models\.f\.heads: expected a table of heads, or 'outputs'", id="heads"),
        pytest.param('[models.f.heads.a]\noutput = "x"', r"heads\.a\.output: .*Did you mean 'outputs'", id="heads, key"),
        pytest.param('[models.f.heads.a]\noutputs = "x"\nkind = "class"', r"heads\.a\.kind: .*multi_class", id="heads, kind"),
        pytest.param("[models.f.heads.a]\nkind = 'custom'", r"heads\.a\.outputs: Field required", id="heads, outputs"),
        pytest.param("[model.films]", r"model: unknown key; valid are models\. Did you mean 'models'", id="top"),
        pytest.param("[models.films]\nlabel = {}", r"models\.films\.label: .*Did you mean 'labels'", id="option"),
        pytest.param("[models.f.batching]\nmax_batchsize = 1", "Did you mean 'max_batch_size'", id="batching"),
        pytest.param("[models.f.versions]\nlatest = 0", r"models\.f\.versions\.latest: .*; got 0", id="value"),
        pytest.param(
            "[models.f.versions]\nlatest = 1\nall = true", "one of latest, all and specific, but got latest and", id="two"
        ),
        pytest.param("[models.f.labels]\nstable = 'x'", r"labels\.stable: .*integer.*got 'x'", id="label"),
        pytest.param(
            f"[models.f.labels]\nstable = {2**63}", r"labels\.stable: .*9223372036854775807; got", id="label, too large"
        ),
        pytest.param(f"[models.f.versions]\nspecific = [{2**64}]", r"specific\.0: .*; got 18446744073709551616", id="version"),
        pytest.param("[models", "not valid TOML", id="not TOML"),
    ],
)
def test_errors_name_the_place_and_the_value(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text, "models.toml")


def test_the_last_valid_contents_stay_in_force(tmp_path):
    path = tmp_path / "models.toml"
    reader = Reader(path, required=False)
    assert (reader.read().models, reader.error) == ({}, None)
    path.write_text("[models.films]\nlabels = { stable = 1 }")
    assert reader.read().of("films").labels == {"stable": 1}
    path.write_text("broken")
    assert reader.read().of("films").labels == {"stable": 1}
    assert "not valid TOML" in reader.error
    path.unlink()
    assert (reader.read().models, reader.error) == ({}, None)


def unreadable(path):
    path.write_bytes(b"\xff")


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("break_file", [unreadable, a_folder])
def test_an_error_ends_when_the_same_text_can_be_read_again(tmp_path, break_file):
    path, text = tmp_path / "models.toml", "[models.films]\nlabels = { stable = 1 }"
    path.write_text(text)
    reader = Reader(path, required=False)
    reader.read()
    break_file(path)
    assert reader.read().of("films").labels == {"stable": 1}
    assert "cannot be read" in reader.error
    if path.is_dir():
        path.rmdir()
    path.write_text(text)
    assert reader.read().of("films").labels == {"stable": 1}
    assert reader.error is None


def test_an_invalid_file_stays_invalid_when_it_can_be_read_again(tmp_path):
    path = tmp_path / "models.toml"
    path.write_text("broken")
    reader = Reader(path, required=False)
    reader.read()
    path.write_bytes(b"\xff")
    reader.read()
    path.write_text("broken")
    reader.read()
    assert "not valid TOML" in reader.error


def test_a_configured_file_must_exist(tmp_path):
    reader = Reader(tmp_path / "models.toml", required=True)
    assert reader.read().models == {}
    assert "There is no file" in reader.error
    reader.path.write_text("")
    reader.read()
    assert reader.error is None


def test_a_file_that_is_being_edited_is_left_alone(tmp_path):
    path = tmp_path / "models.toml"
    path.write_text("[models.films]\nlabels = { stable = 1 }")
    now_s = path.stat().st_mtime
    reader = Reader(path, required=False, settle_s=60, clock=lambda: now_s)
    assert reader.read().of("films").labels == {"stable": 1}
    path.write_text("")
    now_s = path.stat().st_mtime + 59
    assert reader.read().of("films").labels == {"stable": 1}
    now_s += 1
    assert reader.read().models == {}
