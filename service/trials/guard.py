"""Whether a version may be loaded into the server: it comes through a trial, and has not ended a server before."""

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from service.errors import ModelLoadError
from service.models.options import ModelOptions
from service.models.signing import VersionFiles
from service.trials.ledger import Ledger, Mark
from service.trials.trials import Trials

DISTRIBUTIONS = (
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-rocm",
    "tensorflow-macos",
    "tensorflow-intel",
    "tf-nightly",
    "tf-nightly-cpu",
)
"""Distributions that contain the package `tensorflow`."""


class Guard:
    """Decides with the ledger and, for versions that it does not know, by a trial.

    Args:
        ledger: what is remembered of versions.
        trials: None: no version is tried out.
        prepare: imports TensorFlow into this process; also called beside the first trial. For any thread.
    """

    def __init__(self, ledger: Ledger, trials: Trials | None, prepare: Callable[[], None]):
        self._ledger = ledger
        self._trials = trials
        self._prepare = prepare
        self._prepares_beside = False

    def start(self) -> None:
        """Open the ledger; call it before versions are loaded."""
        self._ledger.open()

    def admit(
        self,
        model: str,
        version: int,
        options: ModelOptions,
        files: VersionFiles,
        on_trial: Callable[[], None],
        *,
        again: bool,
    ) -> Mark:
        """Return the mark of a version that may be loaded. Blocks during a trial; `on_trial` is called before one.

        With `again`, because an operator asks for it, a version that was set aside is tried as well.

        Raises:
            ModelLoadError: the version has not come through its trial, or was set aside.
        """
        digest = digest_of(options, files)
        memory = self._ledger.of(digest, model, version)
        if memory.set_aside is not None and not again:
            raise ModelLoadError(
                f"{memory.set_aside} It is set aside: replace its files, or load it by hand "
                f"(POST /v2/repository/models/{model}/load) to try it again."
            )
        memory.set_aside = None
        suspect = memory.ended_loading or memory.ended_running
        skipped = options.trusted or not options.trial
        if self._trials is not None and not memory.passed and (suspect or not skipped):
            on_trial()
            self.prepare_beside()
            self._trials.run(model, version, files.folder, options)
            memory.passed = True
        self._ledger.remember(digest, memory)
        return self._ledger.mark(digest)

    def prepare(self) -> None:
        """Import TensorFlow into this process; a version whose load begins before would take the time for its own."""
        self._prepare()

    def prepare_beside(self) -> None:
        """Begin to import TensorFlow, in a thread."""
        if not self._prepares_beside:
            self._prepares_beside = True
            threading.Thread(target=_suppressed, args=(self._prepare,), name="prepare", daemon=True).start()

    def watch_signals(self) -> None:
        """Write the stacks of all threads to a file when a signal such as SIGSEGV ends the process."""
        self._ledger.watch_signals()

    def stop(self) -> None:
        """End the process for trials, and close the ledger, because the server ends as it should."""
        self._ledger.close()
        if self._trials is not None:
            self._trials.stop()


def tensorflow_version() -> str:
    """Return the installed version of TensorFlow without importing it; empty if its distribution is not known."""
    for distribution in DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            return version_of(distribution)
    return ""


def _suppressed(prepare: Callable[[], None]) -> None:
    with suppress(Exception):  # the load raises it again
        prepare()


def digest_of(options: ModelOptions, files: VersionFiles) -> str:
    """Return the sha256 of all that decides how a version behaves: its files, its options, and the version of TensorFlow."""
    content = {
        "files": {name: files.sha256(name, "the version's folder") for name in files.names},
        "options": options.model_dump(mode="json", include={"batching", "compute", "trusted"}),
        "tensorflow": tensorflow_version(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
