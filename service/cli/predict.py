"""The command `headserve predict`."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.cli.client import CA, DEFAULT_URL, JSON, KEY, TIMEOUT, URL, Server, call, read_body

MAX_ROWS = 5
MAX_VALUES = 8


def predict(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    data: Annotated[
        str | None,
        typer.Argument(
            help="JSON, a file, or - for standard input: a request, a list of rows, or one row. Default: the model's example."
        ),
    ] = None,
    url: URL = DEFAULT_URL,
    key: KEY = None,
    ca: CA = None,
    heads: Annotated[str | None, typer.Option(help="Heads, separated by commas, or '*' for all. Default: the first.")] = None,
    keys: Annotated[str | None, typer.Option(help="Prediction keys, separated by commas. Default: all.")] = None,
    as_json: JSON = False,
    timeout_s: TIMEOUT = 30.0,
) -> None:
    """Send a prediction request to a running server and print the predictions as a table."""
    body = None if data is None else read_body(data, sys.stdin.buffer)
    selection: dict[str, Any] = {}
    if heads is not None:
        selection["heads"] = "*" if heads == "*" else heads.split(",")
    if keys is not None:
        selection["keys"] = keys.split(",")
    answer = call(Server(url, timeout_s, key, ca), model, body, selection)
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        print_predictions(Console(), answer)


def print_predictions(console: Console, answer: Mapping[str, Any]) -> None:
    """Print a table with a line for every head and key, and a column for each of the first rows."""
    predictions = answer["predictions"]
    rows = max((len(value) for keys in predictions.values() for value in keys.values() if isinstance(value, list)), default=1)
    shown = min(rows, MAX_ROWS)
    more = f"; the first {shown} of {rows} rows" if rows > shown else ""
    columns = ("head", "key", *(f"row {row}" for row in range(shown)))
    table = Table(*columns, title=f"{answer['model']}, version {answer['version']}{more}", title_justify="left")
    for head, keys in predictions.items():
        for key, value in keys.items():
            cells = value[:shown] if isinstance(value, list) else [value]
            table.add_row(*map(Text, (head, key, *map(_cell, cells))))
        table.add_section()
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        more = [f"… {len(value)} in all"] if len(value) > MAX_VALUES else []
        return ", ".join([*map(_cell, value[:MAX_VALUES]), *more])
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
