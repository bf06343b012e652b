"""Settings: command-line flags over environment variables `HEADSERVE_…` over a TOML file over the defaults."""

import os
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from service.errors import ConfigError


class Settings(BaseSettings):
    """What the server can be told; frozen. A unit stands in the name."""

    model_config = SettingsConfigDict(env_prefix="HEADSERVE_", frozen=True, extra="forbid")

    models: Path = Field(default=Path("models"), description="Folder of models: <models>/<name>/<version>/saved_model.pb.")
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for every network.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    max_body_bytes: int = Field(default=32 * 2**20, ge=1, description="Largest request body, in bytes.")
    compute_threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Predictions computed at a time; default: cores."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Lowest level that is logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, JSON lines elsewhere."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, strongest first."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(config: Path | None = None, **flags: Any) -> Settings:
    """The settings from flags (None: not given), environment and the TOML file `config`. Raises ConfigError."""
    if config is not None and not config.is_file():
        raise ConfigError(f"--config: expected a TOML file, but there is no file {str(config)!r}.")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    try:
        return FromFile(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise ConfigError("; ".join(_problem(item["loc"], item["msg"], item["input"]) for item in error.errors())) from None
    except TOMLDecodeError as error:
        raise ConfigError(f"{config}: this is no TOML: {error}.") from None


def _problem(loc: tuple[int | str, ...], message: str, value: Any) -> str:
    name = ".".join(str(part) for part in loc)
    if name not in Settings.model_fields:
        return f"{name}: there is no such setting; there are {', '.join(Settings.model_fields)}"
    return f"{name} (--{name.replace('_', '-')}, HEADSERVE_{name.upper()}): {message}; got {value!r}"
