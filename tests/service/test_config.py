from pathlib import Path

import pytest
from pydantic import ValidationError

from service.config import Settings, load_settings
from service.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "headserve.toml"
    path.write_text("port = 1000\nmax_body_bytes = 10\nhost = 'file'\n")
    return path


def test_flags_are_stronger_than_environment_than_file_than_default(file, monkeypatch):
    monkeypatch.setenv("HEADSERVE_PORT", "2000")
    monkeypatch.setenv("HEADSERVE_MAX_BODY_BYTES", "20")
    settings = load_settings(file, port=3000, host=None)
    assert settings.port == 3000
    assert settings.max_body_bytes == 20
    assert settings.host == "file"
    assert settings.log_level == "info"


def test_defaults():
    settings = load_settings()
    assert (settings.host, settings.port, settings.models) == ("127.0.0.1", 8000, Path("models"))
    assert settings.compute_threads >= 1


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param({"port": 70000}, r"port \(--port, HEADSERVE_PORT\).*65535; got 70000", id="port"),
        pytest.param({"max_body_bytes": 0}, "--max-body-bytes", id="body"),
        pytest.param({"log_level": "loud"}, "log_level.*'debug'.*got 'loud'", id="log level"),
    ],
)
def test_bad_values_say_where_they_are_set(flags, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(**flags)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("prot = 1", "prot: there is no such setting; there are models, models_config, host,", id="unknown key"),
        pytest.param("port = ", "this is no TOML", id="no TOML"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "headserve.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        load_settings(tmp_path / "nix.toml")
