"""Logging to stderr, one line per event: readable text on a terminal, JSON otherwise; includes the logs of libraries."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import structlog

_DROP_LINES = """
import sys
for line in sys.stdin.buffer:
    if not line.startswith(tuple(map(str.encode, sys.argv[1:]))):
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
"""


@contextmanager
def without_lines(*beginnings: str) -> Iterator[None]:
    """Drop lines on stderr with these beginnings, also those of C++ libraries, which bypass Python's logging."""
    # In another process, so that the last lines are written even if a library aborts this one.
    command = [sys.executable, "-ISc", _DROP_LINES, *beginnings]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as lines:  # noqa: S603
        stderr = os.dup(2)
        os.dup2(lines.stdin.fileno(), 2)  # type: ignore[union-attr] # it is a pipe
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def configure(level: str, log_format: Literal["auto", "json", "console"]) -> None:
    """Send the events of structlog and of the standard library's logging to stderr in one format."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[structlog.typing.Processor] = (
        [_printable, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dumps)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level != "debug":
        logging.getLogger("absl").setLevel(logging.WARNING)  # TensorFlow logs every step
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # and, with every load, that there is a newer loader
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _printable(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape characters that would break the line or move a terminal's cursor: paths and names come from clients."""
    return {name: _escaped(value, ascii) if isinstance(value, str) else value for name, value in event.items()}


def _dumps(event: Any, **options: Any) -> str:
    """Return JSON of printable characters only; `json` keeps some control characters and lone surrogates."""
    return _escaped(json.dumps(event, ensure_ascii=False, **options), json.dumps)


def _escaped(text: str, quote: Callable[[str], str]) -> str:
    """Return the text with every unprintable character as `quote` writes it, without the quotes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else quote(char)[1:-1] for char in text)
