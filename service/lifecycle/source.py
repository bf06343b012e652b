"""What is on disk: `<models>/<name>/<version>/saved_model.pb`. Stateless: every scan looks anew."""

from dataclasses import dataclass
from pathlib import Path

from service.errors import ConfigError

SAVED_MODEL = "saved_model.pb"


@dataclass(frozen=True, order=True)
class VersionOnDisk:
    """A version folder that holds a SavedModel."""

    model: str
    version: int
    folder: Path


def scan(models: Path) -> dict[str, tuple[VersionOnDisk, ...]]:
    """Every model with its versions, oldest first; a model has at least one.

    Versions are folders named by a positive whole number. Everything else, hidden and temporary folders among it, is no
    model. Raises ConfigError when the folder cannot be read, or is a model rather than a folder of models.
    """
    try:
        folders = sorted(folder for folder in models.iterdir() if folder.is_dir())
        found = {folder.name: tuple(sorted(_versions(folder))) for folder in folders if folder.name[0] not in "._"}
    except OSError as error:
        raise ConfigError(f"The models folder {str(models)!r} cannot be read: {error.strerror}.") from error
    found = {name: versions for name, versions in found.items() if versions}
    if not found and _versions(models):
        raise ConfigError(f"{str(models)!r} is one model's folder; give the folder above it, {str(models.parent)!r}.")
    return found


def _versions(model: Path) -> list[VersionOnDisk]:
    return [
        VersionOnDisk(model.name, int(folder.name), folder)
        for folder in model.iterdir()
        if folder.name.isascii() and folder.name.isdigit() and int(folder.name) > 0 and (folder / SAVED_MODEL).is_file()
    ]
