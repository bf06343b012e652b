"""The options of each model, from `models.toml`, which is read again whenever it changes.

    [models.films]
    versions = { latest = 2 }            # or { all = true }, or { specific = [3, 5] }; default: the latest
    labels = { stable = 3, canary = 5 }
    transition = "resource"              # unload before loading; default: "availability", load before unloading
    batching = { max_batch_size = 256 }
    heads.mpaa = { outputs = "output_1", kind = "multi_class", classes = ["G", "PG", "R"] }   # or: heads = "outputs"

A model that is not named has the defaults. An unknown key is an error, so that a typing error is not silent.
"""

import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from service.errors import ConfigError
from service.messages import did_you_mean

FILE_NAME = "models.toml"

Version: TypeAlias = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""A version number: a positive int64, as in TensorFlow Serving."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BatchingOptions(_Table):
    """How concurrent requests are batched; the names are TensorFlow Serving's.

    Attributes:
        max_batch_size: rows in one run; a larger request is split and its results are joined.
        batch_timeout_micros: how long the first request of a batch waits for others; 0: no wait when a device is idle.
        max_enqueued_batches: how many full batches may wait before requests are refused.
        allowed_batch_sizes: sizes that batches are padded to, ascending, the last being `max_batch_size`; none: no padding.
        pad_variable_length_inputs: whether inputs whose inner shapes differ are padded to the largest.
    """

    max_batch_size: int = Field(default=1024, ge=1)
    batch_timeout_micros: int = Field(default=0, ge=0)
    max_enqueued_batches: int = Field(default=64, ge=1)
    allowed_batch_sizes: tuple[int, ...] | None = None
    pad_variable_length_inputs: bool = False

    @model_validator(mode="after")
    def _check_sizes(self) -> "BatchingOptions":
        sizes = self.allowed_batch_sizes
        if sizes is not None and (
            list(sizes) != sorted(set(sizes)) or not sizes or sizes[0] < 1 or sizes[-1] != self.max_batch_size
        ):
            raise ValueError(
                f"allowed_batch_sizes must ascend and end with max_batch_size, {self.max_batch_size}. Given: {list(sizes)}"
            )
        return self


class ComputeOptions(_Table):
    """The devices and the precision that a model is computed with.

    Attributes:
        devices: such as `GPU:0`, with a replica of the model on each; none: every GPU, else the CPU.
        mixed_precision: compute in the device's 16-bit floats where that is safe.
        jit_compile: compile with XLA, for every allowed batch size, during warm-up.
    """

    devices: tuple[str, ...] | None = None
    mixed_precision: bool = False
    jit_compile: bool = False


class VersionPolicy(_Table):
    """The versions to serve: the latest n, all, or specific ones. At most one is given."""

    latest: int | None = Field(default=None, ge=1)
    all: bool = False
    specific: tuple[Version, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check_one(self) -> "VersionPolicy":
        given = [name for name in ("latest", "all", "specific") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"expected one of latest, all and specific, but got {' and '.join(given)}")
        return self


HeadKind: TypeAlias = Literal["binary_class", "multi_class", "multi_label", "regression", "custom"]

KEYS: dict[HeadKind, str] = {"binary_class": "logistic", "multi_class": "probabilities", "multi_label": "probabilities"}
"""The prediction key of a head's only output, by kind; `predictions` for other kinds."""


class HeadOptions(_Table):
    """A head of a SavedModel that has no model card.

    Attributes:
        outputs: an output of the default signature, whose prediction key follows from the kind; several outputs, which are the
            keys; or key → output.
        kind: the kind of head.
        classes: names of the classes by class id.
    """

    outputs: str | Annotated[tuple[str, ...], Field(min_length=1)] | Annotated[dict[str, str], Field(min_length=1)]
    kind: HeadKind = "custom"
    classes: tuple[str, ...] | None = None

    @property
    def keys(self) -> dict[str, str]:
        """The output of each prediction key."""
        if isinstance(self.outputs, str):
            return {KEYS.get(self.kind, "predictions"): self.outputs}
        return dict(self.outputs) if isinstance(self.outputs, dict) else {output: output for output in self.outputs}


EACH_OUTPUT = "outputs"
"""The value of `heads` with which every output of the default signature is a head."""


class ModelOptions(_Table):
    """All options of one model.

    Attributes:
        versions: which versions on disk are served.
        labels: label → version.
        transition: `availability` loads the next version before it unloads the last one, `resource` after.
        batching: how requests are batched.
        compute: devices and precision.
        heads: the heads of a SavedModel without a model card, the default first; empty, which the file writes as `"outputs"`:
            every output is a head. None: they are read from the signatures.
        trial: load in a process with limits first, unless the model is trusted.
        trusted: load without a scan: its operations may do anything, including files and Python.
    """

    versions: VersionPolicy = VersionPolicy()
    labels: dict[str, Version] = Field(default_factory=dict)
    transition: Literal["availability", "resource"] = "availability"
    batching: BatchingOptions = BatchingOptions()
    compute: ComputeOptions = ComputeOptions()
    heads: dict[str, HeadOptions] | None = None
    trial: bool = True
    trusted: bool = False

    @field_validator("heads", mode="before")
    @classmethod
    def _each_output(cls, value: Any) -> Any:
        if value == EACH_OUTPUT:
            return {}
        if value is not None and not isinstance(value, dict):
            raise ValueError(f"expected a table of heads, or {EACH_OUTPUT!r}, which makes every output a head")
        return value


class ModelsFile(_Table):
    """The options of each model that the file names."""

    models: dict[str, ModelOptions] = Field(default_factory=dict)

    def of(self, model: str) -> ModelOptions:
        """Return the model's options; the defaults if the file does not name the model."""
        return self.models.get(model, _DEFAULTS)


_DEFAULTS = ModelOptions()


def parse(text: str, name: str) -> ModelsFile:
    """Parse the file's text. Raises ConfigError, which names the place, what was expected and what came."""
    try:
        return ModelsFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}.") from None
    except ValidationError as error:
        raise ConfigError(f"{name}: {' '.join(map(_problem, error.errors()))}") from None


class Reader:
    """Reads the file when it has changed, and keeps the last valid contents while it is broken.

    Args:
        path: the file.
        required: whether a missing file is an error.
        settle_s: how long an edited file is not read: an editor may have emptied it before it writes the contents.
        clock: seconds since 1970, compared with the file's time.
    """

    def __init__(self, path: Path, required: bool, settle_s: float = 0.0, clock: Callable[[], float] = time.time):
        self.path = path
        self._required = required
        self._settle_s = settle_s
        self._clock = clock
        self._text: str | None = None
        self._read_once = False
        self._contents = ModelsFile()
        self._unreadable: str | None = None
        self._invalid: str | None = None

    @property
    def error(self) -> str | None:
        """Why the file's present contents are not in force; None if they are."""
        return self._unreadable or self._invalid

    def read(self) -> ModelsFile:
        """Return the last valid contents, by default those of an empty file."""
        try:
            age_s = self._clock() - self.path.stat().st_mtime
            text: str | None = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            age_s, text = 0.0, None
        except (OSError, UnicodeDecodeError) as error:
            self._unreadable = f"{self.path} cannot be read: {error}"
            return self._contents
        self._unreadable = None
        being_edited = text is not None and self._read_once and 0 <= age_s < self._settle_s
        if not being_edited and (text != self._text or not self._read_once):
            self._text, self._read_once = text, True
            self._apply(text)
        return self._contents

    def _apply(self, text: str | None) -> None:
        if text is None and self._required:
            self._invalid = f"There is no file {str(self.path)!r}."
            return
        try:
            self._contents = parse(text or "", str(self.path))
            self._invalid = None
        except ConfigError as error:
            self._invalid = error.message


def _problem(error: ErrorDetails) -> str:
    loc = error["loc"]
    where = ".".join(map(str, loc))
    if error["type"] == "extra_forbidden":
        names = _names_at(loc[:-1])
        return f"{where}: unknown key; valid are {', '.join(names)}.{did_you_mean(str(loc[-1]), names)}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}; got {error['input']!r}."


def _names_at(loc: tuple[int | str, ...]) -> list[str]:
    """Return the valid keys of the file, of a model in it (`models.films`), or of one of a model's tables."""
    if not loc:
        return list(ModelsFile.model_fields)
    if loc[2:3] == ("heads",):
        return list(HeadOptions.model_fields)
    table = getattr(_DEFAULTS, str(loc[2])) if len(loc) > 2 else _DEFAULTS
    return list(type(table).model_fields)
