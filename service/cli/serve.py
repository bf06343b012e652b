"""The command `headserve serve`; its flags are derived from the settings, so that a new setting needs no further code."""

import inspect
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import structlog
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from service.settings import Settings, as_toml, load_settings, misspelled_variables

if TYPE_CHECKING:
    from service.lifecycle.served_models import ModelStatus
    from service.types import ModelSpec

FOLDER = Annotated[Path | None, typer.Argument(help="Folder of the models; the same as --models.", show_default=False)]
CONFIG = Annotated[Path | None, typer.Option(envvar="HEADSERVE_CONFIG", help="TOML file with settings.")]
PRINT_CONFIG = Annotated[bool, typer.Option("--print-config", help="Print the settings in use as TOML, and exit.")]

log = structlog.get_logger("headserve.server")


def serve(folder: Path | None = None, config: Path | None = None, print_config: bool = False, **flags: Any) -> None:
    """Serve all models of a folder over HTTP.

    A flag overrides its environment variable HEADSERVE_…, which overrides the file of --config.
    """
    if folder is not None:
        if flags.get("models") is not None:
            raise typer.BadParameter("Give the folder of the models once: as an argument or as --models.")
        flags["models"] = folder
    settings = load_settings(config, **flags)
    if print_config:
        typer.echo(as_toml(settings), nl=False)
        return
    with _exit_on_signals():
        _serve(settings)


def _serve(settings: Settings) -> None:
    # TensorFlow's C++ half logs information as errors at import; errors of a model are raised as exceptions anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if settings.log_level == "debug" else "3")
    from service import logs
    from service.app import create_app
    from service.lifecycle.disk import scan
    from service.runtime.devices import check_gpu
    from service.server.run import run

    logs.configure(settings.log_level, settings.log_format)
    for problem in misspelled_variables(os.environ):
        log.warning("environment variable is ignored", problem=problem)
    scan(settings.models)  # a wrong folder is reported immediately, before TensorFlow is imported
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
def _exit_on_signals() -> Iterator[None]:
    """Exit with status 0 on SIGTERM, SIGINT and SIGHUP, until `service.server.run` installs its own handlers.

    Without a handler, the first process of a container ignores these signals. Under `nohup`, SIGHUP stays ignored.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.insert(0, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: os._exit(0)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def print_models(console: Console, statuses: Mapping[str, "ModelStatus"], models: Iterable["ModelSpec"], url: str) -> None:
    """Print a table of the models and their heads, the address, and a request to try."""
    table = Table("model", "version", "heads, the default first", title=f"headserve on {url}", title_justify="left")
    specs = {spec.name: spec for spec in models}
    for status in statuses.values():
        spec = specs.get(status.name)
        style = "red" if status.state == "failed" else "yellow"
        heads = Text(", ".join(head.name for head in spec.heads)) if spec else Text(f"{status.state}: {status.error}", style)
        table.add_row(Text(status.name), str(status.version), heads)
    console.print(table)
    for spec in list(specs.values())[:1]:
        body = json.dumps({"instances": [spec.example], "heads": "*"}, ensure_ascii=False)
        example = f"curl -s {url}/models/{shlex.quote(spec.name)}/predict -d {shlex.quote(body)}"
        console.print(example, soft_wrap=True, markup=False, highlight=False)
    console.print(f"Documentation: {url}/docs", soft_wrap=True)


def _add_flags() -> None:
    """Add a parameter for each setting to the signature of `serve` that typer reads."""
    types = {"folder": FOLDER, "config": CONFIG, "print_config": PRINT_CONFIG}
    types |= {name: _option(name) for name in Settings.model_fields}
    defaults = {"print_config": False}
    serve.__annotations__ = types
    serve.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # `inspect` reads it
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name), annotation=annotation)
            for name, annotation in types.items()
        ]
    )


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return f"--{name.replace('_', '-')}"


def description(name: str) -> str:
    """Return the description of a setting on one line."""
    return " ".join((Settings.model_fields[name].description or "").split())


def has_opposite(name: str) -> bool:
    """Return whether a flag `--no-…` switches the setting off; settings named `no_…` have none."""
    return Settings.model_fields[name].annotation is bool and not name.startswith("no_")


def _option(name: str) -> Any:
    setting = Settings.model_fields[name]
    unset = setting.default in (None, ()) or setting.default is False or setting.default_factory is not None
    default = "" if unset else f" Default: {setting.default}."
    names = flag(name)
    if has_opposite(name):
        names += f"/--no-{name.replace('_', '-')}"
    # The type without `| None`; `Settings` checks the choices of a Literal together with the other settings.
    kinds = (str,) if get_origin(setting.annotation) is Literal else get_args(setting.annotation) or (setting.annotation,)
    option = typer.Option(names, help=escape(f"{description(name)}{default}"), show_default=False)
    return Annotated[kinds[0] | None, option]


_add_flags()
