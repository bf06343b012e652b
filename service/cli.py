"""The commands `headserve serve`, `predict` and `models`, as functions for typer. TensorFlow is not imported here."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console

from service.config import Settings, as_toml, load_settings
from service.flags import flagged

log = structlog.get_logger("headserve.server")


def serve(config: Path | None = None, print_config: bool = False, **flags: Any) -> None:
    """Serve every model of a folder over HTTP.

    A flag is stronger than its environment variable HEADSERVE_…, and that is stronger than the file.
    """
    settings = load_settings(config, **flags)
    if print_config:
        typer.echo(as_toml(settings), nl=False)
        return
    with _ending_at_once():
        _serve(settings)


def _serve(settings: Settings) -> None:
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


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Has SIGTERM and SIGINT end the process, and that is fine, until `service.server` knows better.

    The first process of a container would not even notice them without this.
    """
    before = {number: signal.signal(number, lambda *_: os._exit(0)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


flagged(serve)


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
