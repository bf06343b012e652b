"""What server and template send each other: a request for a trial, and the report of how it ended. Both are JSON."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.models.options import ModelOptions


class Limits(BaseModel):
    """Limits of a trial.

    Attributes:
        seconds: from its begin to its end, and of processor time on each CPU.
        memory_bytes: memory that it may use in addition to TensorFlow itself.
        threads: threads that it may start.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float
    memory_bytes: int
    threads: int


class Request(BaseModel):
    """A version to load and to warm up."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: int
    folder: Path
    options: ModelOptions
    compute_threads: int
    limits: Limits


class Report(BaseModel):
    """How a trial ended.

    Attributes:
        outcome: `passed`; `refused`: an error that was raised; `ended`: by a signal or an exit; `exceeded`: a limit.
        step: what the trial did last.
        error: the error's message, the signal, or the limit; empty if it passed.
        transient: whether the next trial of the same files may pass.
        operations: the operations of the graph that began last, the latest one first, as `name (type)`.
    """

    model_config = ConfigDict(frozen=True)

    outcome: Literal["passed", "refused", "ended", "exceeded"]
    step: str = "it started"
    error: str = ""
    transient: bool = False
    operations: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The reason for which the version is not served; a refusal is the model's own error."""
        if self.outcome == "refused":
            return self.error
        how = f"was ended by {self.error}" if self.outcome == "ended" else f"exceeded {self.error}"
        operations = f"; the last operations were {', '.join(self.operations)}" if self.operations else ""
        fix = "or raise the limit" if self.outcome == "exceeded" else "or with another version of TensorFlow"
        return (
            f"Its trial in a separate process {how} while {self.step}{operations}. It is not loaded into the server. "
            f"Export the model without the operations that cause this, {fix}."
        )
