"""The model card of a version folder, `assets.extra/heads.json`; its schema is docs/model-card.md."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.errors import ModelLoadError
from service.types import HeadSpec, InputSpec, TensorSpec

CARD_PATH = Path("assets.extra") / "heads.json"
SCHEMA_VERSION = 1


class JsonObject(BaseModel):
    """A JSON object; unknown members are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _filled(tensor: InputSpec) -> InputSpec:
    """Return the input. Raises ValueError if it is not required and its missing rows cannot be filled."""
    if tensor.required:
        return tensor
    if tensor.missing is None:
        raise ValueError("an input that is not required needs a value for 'missing'")
    if tensor.shape is None or -1 in tensor.shape[1:]:
        raise ValueError("an input that is not required needs a fixed shape after the batch")
    if tensor.dtype != "string":
        try:
            float(tensor.missing)
        except ValueError:
            raise ValueError(f"'missing' is {tensor.missing!r}, which is not a {tensor.dtype}") from None
    return tensor


class CardHead(JsonObject):
    """A head, as training described it."""

    name: str
    kind: str
    logits_dimension: int
    classes: tuple[str, ...] | None = None
    keys: tuple[TensorSpec, ...] = Field(min_length=1)
    metrics: dict[str, float | str] = {}


class ListedFile(JsonObject):
    """Size in bytes and checksum of a file of the version."""

    bytes: int
    sha256: str


class Card(JsonObject):
    """The members of the card that serving uses; other members are ignored."""

    schema_version: Literal[1]
    name: str
    version: int
    created_at: str | None = None
    headserve_version: str | None = None
    tensorflow_version: str | None = None
    default_head: str
    inputs: tuple[Annotated[InputSpec, AfterValidator(_filled)], ...] = Field(min_length=1)
    heads: tuple[CardHead, ...] = Field(min_length=1)
    metrics: dict[str, float | str] = {}
    example: dict[str, Any] | None = None
    files: dict[str, ListedFile] = {}

    @model_validator(mode="after")
    def _default_is_first(self) -> "Card":
        if self.default_head != self.heads[0].name:
            raise ValueError(f"'default_head' is {self.default_head!r}, but the first head is {self.heads[0].name!r}")
        return self

    @property
    def head_specs(self) -> tuple[HeadSpec, ...]:
        """The heads, in order."""
        return tuple(HeadSpec(**vars(head)) for head in self.heads)


def read_card(version_folder: Path) -> Card | None:
    """Return the model card, or None if there is none. Raises ModelLoadError if it is broken or too new."""
    path = version_folder / CARD_PATH
    if not path.exists():
        return None
    try:
        text = path.read_bytes()
        newer = _SchemaVersion.model_validate_json(text).schema_version
        if newer > SCHEMA_VERSION:
            raise ModelLoadError(
                f"{path} has schema_version {newer}; this headserve reads {SCHEMA_VERSION} and older. "
                "Serve it with a newer headserve."
            )
        return Card.model_validate_json(text)
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelLoadError(f"{path} is not a model card: {where}: {first['msg']}. See docs/model-card.md.") from None


class _SchemaVersion(JsonObject):
    schema_version: int
