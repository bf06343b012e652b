"""The commands `headserve serve`, `predict` and `models`, as functions for typer. TensorFlow is not imported here."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console

from service.config import Settings, load_settings

log = structlog.get_logger("headserve.server")


def _flag(name: str) -> Any:
    """The command-line option of a setting."""
    setting = Settings.model_fields[name]
    default = "" if setting.default_factory else f" Default: {setting.default}."
    return typer.Option(f"--{name.replace('_', '-')}", help=f"{setting.description}{default}", show_default=False)


def serve(
    config: Annotated[Path | None, typer.Option(envvar="HEADSERVE_CONFIG", help="TOML file with settings.")] = None,
    models: Annotated[Path | None, _flag("models")] = None,
    models_config: Annotated[Path | None, _flag("models_config")] = None,
    host: Annotated[str | None, _flag("host")] = None,
    port: Annotated[int | None, _flag("port")] = None,
    max_body_bytes: Annotated[int | None, _flag("max_body_bytes")] = None,
    compute_threads: Annotated[int | None, _flag("compute_threads")] = None,
    poll_interval_ms: Annotated[int | None, _flag("poll_interval_ms")] = None,
    settle_ms: Annotated[int | None, _flag("settle_ms")] = None,
    load_threads: Annotated[int | None, _flag("load_threads")] = None,
    drain_delay_ms: Annotated[int | None, _flag("drain_delay_ms")] = None,
    drain_timeout_ms: Annotated[int | None, _flag("drain_timeout_ms")] = None,
    log_level: Annotated[str | None, _flag("log_level")] = None,
    log_format: Annotated[str | None, _flag("log_format")] = None,
) -> None:
    """Serve every model of a folder over HTTP.

    A flag is stronger than its environment variable HEADSERVE_…, and that is stronger than the file.
    """
    settings = load_settings(
        config,
        models=models,
        models_config=models_config,
        host=host,
        port=port,
        max_body_bytes=max_body_bytes,
        compute_threads=compute_threads,
        poll_interval_ms=poll_interval_ms,
        settle_ms=settle_ms,
        load_threads=load_threads,
        drain_delay_ms=drain_delay_ms,
        drain_timeout_ms=drain_timeout_ms,
        log_level=log_level,
        log_format=log_format,
    )
    # TensorFlow's C++ half logs chatter as errors at import; what is wrong with a model comes as an exception anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if settings.log_level == "debug" else "3")
    from service import logs
    from service.app import create_app
    from service.console import print_models
    from service.devices import check_gpu
    from service.lifecycle.source import scan
    from service.server import run

    logs.configure(settings.log_level, settings.log_format)
    scan(settings.models)  # a wrong folder is said at once, before TensorFlow is imported
    if settings.require_gpu:
        check_gpu()
    app = create_app(settings)

    manager = app.state.manager

    def announce(url: str) -> None:
        log.info("listening", url=url)
        if sys.stdout.isatty():
            manager.on_settled(lambda: print_models(Console(), manager.statuses, manager.specs, url))

    run(app, settings, announce)


def models(
    url: Annotated[str, typer.Option(envvar="HEADSERVE_URL", help="Address of the server.")] = "http://127.0.0.1:8000",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer's JSON instead of a table.")] = False,
    timeout_s: Annotated[float, typer.Option(help="Longest wait for the server, in seconds.")] = 30.0,
) -> None:
    """Show the models of a running server: versions with states, times, memory, labels and errors."""
    import orjson

    from service.client import list_models
    from service.console import print_versions

    answer = list_models(url, timeout_s)
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        print_versions(Console(), answer, url)


def predict(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    data: Annotated[
        str | None,
        typer.Argument(help="JSON, a file, or - for standard input: a request, rows, or one row. None: the model's example."),
    ] = None,
    url: Annotated[str, typer.Option(envvar="HEADSERVE_URL", help="Address of the server.")] = "http://127.0.0.1:8000",
    heads: Annotated[str | None, typer.Option(help="Heads, joined by commas, or '*' for all.")] = None,
    keys: Annotated[str | None, typer.Option(help="Prediction keys, joined by commas.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer's JSON instead of a table.")] = False,
    timeout_s: Annotated[float, typer.Option(help="Longest wait for the server, in seconds.")] = 30.0,
) -> None:
    """Ask a running server for predictions and print them as a table."""
    import orjson

    from service.client import call, read_body
    from service.console import print_predictions

    body = None if data is None else read_body(data, sys.stdin.buffer)
    choice: dict[str, Any] = {}
    if heads is not None:
        choice["heads"] = "*" if heads == "*" else heads.split(",")
    if keys is not None:
        choice["keys"] = keys.split(",")
    answer = call(url, model, body, choice, timeout_s)
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        print_predictions(Console(), answer)
