"""What a server in this process logs."""

import io
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from service import logs


@contextmanager
def logged(log_format: str) -> Iterator[io.StringIO]:
    """What the server logs."""
    root, before, stream = logging.getLogger(), structlog.get_config(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        # without pytest's own handlers among them: the configuration would close them
        root.handlers = []
        logs.configure("info", log_format)
    structlog.configure(cache_logger_on_first_use=False)  # other tests configure it otherwise
    try:
        yield stream
    finally:
        structlog.configure(**before)
        root.handlers, root.level = handlers, level


def lines_of(stream: io.StringIO, request_id: str, count: int = 1) -> list[dict[str, Any]]:
    """The log's lines with this id; the access log's is written after the client has its answer."""
    until = time.monotonic() + 60
    while True:
        written = [line for line in stream.getvalue().splitlines(keepends=True) if request_id in line and line.endswith("\n")]
        lines = [line for line in map(json.loads, written) if line["logger"].startswith("headserve.")]
        if len(lines) >= count or time.monotonic() > until:
            return lines
        time.sleep(0.01)
