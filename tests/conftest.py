"""What all tests share: a quiet TensorFlow, and logs that no test mistakes for what it printed."""

import logging
import os
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Servers of tests remember nothing for other servers, and load without trials, except in tests that are about these.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="headserve-tests-")
os.environ["HEADSERVE_TRIALS"] = "false"

# No test is about time: on a busy machine, any example may take long.
hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")

# structlog prints to stdout until it is configured, and a server that runs beside a test logs whenever it likes.
structlog.configure(
    processors=[structlog.contextvars.merge_contextvars, structlog.processors.KeyValueRenderer(["event"])],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A test that configures logging, as `headserve serve` does, leaves the next one no stream that pytest has closed."""
    root, configuration = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**configuration)
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
    root.setLevel(level)
