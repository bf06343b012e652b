"""What the command line prints on a terminal: the models that are served, and predictions."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.lifecycle.manager import Manager

MAX_ROWS = 5
MAX_VALUES = 8


def print_models(console: Console, manager: Manager, url: str) -> None:
    """A table of the models and their heads, the address, and a request to try."""
    table = Table("model", "version", "heads, the default first", title=f"headserve on {url}", title_justify="left")
    specs = {spec.name: spec for spec in manager.specs}
    for status in manager.statuses.values():
        spec = specs.get(status.name)
        heads = Text(", ".join(head.name for head in spec.heads)) if spec else Text(f"failed: {status.error}", "red")
        table.add_row(Text(status.name), str(status.version), heads)
    console.print(table)
    for spec in specs.values():
        body = json.dumps({"instances": [spec.example], "heads": "*"}, ensure_ascii=False)
        console.print(
            f"curl -s {url}/models/{shlex.quote(spec.name)}/predict -d {shlex.quote(body)}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
        break
    console.print(f"Documentation: {url}/docs", soft_wrap=True)


def print_predictions(console: Console, answer: Mapping[str, Any]) -> None:
    """A table with a line for every head and key, and a column for each of the first rows."""
    predictions = answer["predictions"]
    rows = max((len(value) for keys in predictions.values() for value in keys.values() if isinstance(value, list)), default=1)
    shown = min(rows, MAX_ROWS)
    more = f"; the first {shown} of {rows} rows" if rows > shown else ""
    table = Table(title=f"{answer['model']}, version {answer['version']}{more}", title_justify="left")
    for column in ("head", "key", *(f"row {row}" for row in range(shown))):
        table.add_column(column)
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
