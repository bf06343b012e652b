"""Logging: one line an event on stderr, for people on a terminal and as JSON elsewhere; other libraries' logs, too."""

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

import structlog


def configure(level: str, log_format: Literal["auto", "json", "console"]) -> None:
    """Sends structlog and the standard library's logging to stderr in one format."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[structlog.typing.Processor] = (
        [_visible, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
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
        logging.getLogger("absl").setLevel(logging.WARNING)  # TensorFlow tells its every step
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # and, each time, that there is a newer loader
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


def _visible(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The event without what would break a line, or move a terminal's cursor: clients write paths and names of models."""
    return {name: _escaped(value, _in_python) if isinstance(value, str) else value for name, value in event.items()}


def _dumps(event: Any, **options: Any) -> str:
    """JSON in which everything can be seen; `json` leaves control characters, and halves of signs that no file takes."""
    return _escaped(json.dumps(event, ensure_ascii=False, **options), _in_json)


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    """The text, with escapes for what cannot be seen."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else escape(sign) for sign in text)


def _in_python(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def _in_json(sign: str) -> str:
    return json.dumps(sign)[1:-1]
