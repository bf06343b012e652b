"""Settings of the server: flags override environment variables `HEADSERVE_…`, which override a TOML file and the defaults."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from service.errors import ConfigError
from service.messages import did_you_mean

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]

_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")

OTHER_VARIABLES = frozenset({"ca", "config", "key", "url"})
"""Variables `HEADSERVE_…` that commands read and that are not settings of the server."""


class Settings(BaseSettings):
    """The settings of the server; a name ends in its unit."""

    model_config = SettingsConfigDict(env_prefix="HEADSERVE_", frozen=True, extra="forbid", use_attribute_docstrings=True)

    models: Path = Path("models")
    """Folder of the models: <models>/<name>/<version>/saved_model.pb."""
    models_config: Path | None = None
    """TOML file with the options of each model. Default: <models>/models.toml, if it exists."""
    require_signature: Path | None = None
    """PEM file of Ed25519 public keys. Only versions that are signed with one of the keys are loaded."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 listens on all IPv4 networks."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 selects a free port."""
    keys_file: Path | None = None
    """File with API keys, written by 'headserve keys'. If set, every request except health checks needs a key."""
    no_auth: bool = False
    """Allow listening on other addresses than loopback without keys."""
    tls_certificate: Path | None = None
    """PEM file with the certificate and its chain. If set, the server accepts https only. Read again when it changes."""
    tls_key: Path | None = None
    """PEM file with the certificate's private key. Default: the key is in the file of tls_certificate."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins allowed to call the API from a browser (CORS), separated by commas: https://a.example; * allows all. Default:
    none."""
    max_body_bytes: Positive = 32 * 2**20
    """Maximum size of a request body, before and after decompression."""
    max_total_request_bytes: int = Field(default_factory=lambda settings: 32 * settings["max_body_bytes"], ge=1)
    """Maximum memory of all requests together, in bytes: bodies, their arrays and responses, each above 64 KiB; further
    requests get 429. Default: 32 times max_body_bytes."""
    max_rows: Positive = 1_000_000
    """Maximum number of rows in a request."""
    max_header_bytes: int = Field(default=32 * 2**10, ge=256)
    """Maximum size of a request's first line and headers together."""
    max_connections: Positive = 4000
    """Maximum number of concurrent connections; further ones get 503."""
    header_timeout_ms: Positive = 10_000
    """Maximum time to receive a request's first line and headers, and to complete a TLS handshake."""
    body_timeout_ms: Positive = 60_000
    """Maximum time to receive a request's whole body."""
    write_timeout_ms: Positive = 30_000
    """Period over which a response must progress by at least 1 KiB per second; otherwise the connection is cut."""
    idle_timeout_ms: Positive = 5000
    """How long an idle connection is kept open."""
    compute_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    """Number of predictions computed at the same time. Default: the number of CPUs."""
    request_timeout_ms: Positive = 60_000
    """Deadline of requests without the header X-Request-Timeout-Ms."""
    gpu_memory_growth: bool = True
    """Allocate GPU memory as it is needed."""
    gpu_memory_limit_mb: int | None = Field(default=None, ge=1)
    """Maximum memory to use of each GPU, in MiB."""
    require_gpu: bool = False
    """Refuse to start without a GPU."""
    poll_interval_ms: int = Field(default=500, ge=10)
    """Time between two scans of the models folder."""
    settle_ms: NotNegative = 300
    """How long a version's files must stay unchanged before the version is loaded."""
    watch: bool = True
    """Scan immediately when the operating system reports a change; works on local disks only."""
    load_threads: Positive = 1
    """Number of versions loaded at the same time."""
    load_timeout_ms: Positive = 300_000
    """Maximum duration of each step of loading a version: trial, loading, warm-up."""
    lazy: bool = False
    """Load a model at its first request, which waits for it, and unload the least recently used ones beyond lazy_memory_mb."""
    lazy_memory_mb: int | None = Field(default=None, ge=1)
    """Memory of all loaded models together with lazy, in MiB. Default: half of what is available at the start."""
    trials: bool = True
    """Load every new version in a process with limits first, so that it cannot end the server."""
    cache: Path = Field(default_factory=lambda: Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headserve")
    """Folder for what the server remembers of versions, such as the results of their trials. Default: ~/.cache/headserve."""
    drain_delay_ms: NotNegative = 1000
    """Time after SIGTERM or SIGHUP in which the server still answers new requests while /readyz is 503."""
    drain_timeout_ms: NotNegative = 30_000
    """Time after drain_delay_ms for running requests to finish before they are cut."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level of log lines that are written."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: console format on a terminal, JSON lines otherwise."""
    access_log: bool = False
    """Write one log line per request, at level info; reduces throughput."""
    traces: bool = False
    """Send OpenTelemetry traces of predictions, configured with OTEL_… variables; needs the extra headserve[otel]."""

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and _ORIGIN.fullmatch(origin) is None:
                raise ValueError(f"expected origins such as https://a.example or http://localhost:3000, but got {origin!r}")
        return value

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        if self.keys_file is not None and self.no_auth:
            raise ValueError(
                "keys_file and no_auth are both set; keys_file requires keys, no_auth allows requests without: set one of them"
            )
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError(
                "tls_key is set without tls_certificate; set both, or tls_certificate alone if its file also has the key"
            )
        if self.max_total_request_bytes < self.max_body_bytes:
            raise ValueError(
                "max_total_request_bytes must be at least max_body_bytes, or the largest allowed body would always be rejected"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in the order of their priority, the highest first."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(config: Path | None = None, **flags: Any) -> Settings:
    """Return the settings from flags (None: not given), environment and the TOML file `config`. Raises ConfigError."""
    if config is not None and not config.is_file():
        raise ConfigError(f"--config: expected a TOML file, but there is no file {str(config)!r}.")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    try:
        return FromFile(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        # A default that depends on an invalid value is not a second problem.
        problems = [item for item in error.errors() if item["type"] != "default_factory_not_called"]
        raise ConfigError("; ".join(_problem(item["loc"], item["msg"], item["input"]) for item in problems)) from None
    except TOMLDecodeError as error:
        raise ConfigError(f"{config}: not valid TOML: {error}.") from None


def misspelled_variables(environment: Iterable[str]) -> list[str]:
    """Return a message for each variable `HEADSERVE_…` that resembles a setting.

    Others are ignored: compose and Kubernetes set variables with the same beginning.
    """
    messages = []
    for variable in sorted(environment):
        name = variable.removeprefix("HEADSERVE_").lower()
        if name != variable.lower() and name not in Settings.model_fields and name not in OTHER_VARIABLES:
            suggestion = did_you_mean(name, Settings.model_fields)
            messages += [f"{variable}: there is no such setting.{suggestion}"] if suggestion else []
    return messages


def as_toml(settings: Settings) -> str:
    """Return the settings as TOML that `load_settings` reads; unset ones are comments."""
    lines = [
        f"# {name} =" if value is None else f"{name} = {json.dumps(value, default=str, ensure_ascii=False)}"
        for name, value in settings
    ]
    return "\n".join(lines) + "\n"


def _problem(loc: tuple[int | str, ...], message: str, value: Any) -> str:
    if not loc:  # from the validator of several settings
        return message.removeprefix("Value error, ")
    name = ".".join(str(part) for part in loc)
    known = list(Settings.model_fields)
    if name not in known:
        return f"{name}: there is no such setting.{did_you_mean(name, known)} The settings are {', '.join(known)}."
    return f"{name} (--{name.replace('_', '-')}, HEADSERVE_{name.upper()}): {message}; got {value!r}"
