"""Whether the files of a version are the ones that were exported and signed."""

from pathlib import Path, PurePosixPath

from service.errors import ModelLoadError
from service.models.card import Card, read_card
from service.models.signing import VersionFiles, check
from service.runtime.saved_model import BINARY, TEXT

GUARDED_FOLDERS = ("assets", "variables")
"""Folders from which a graph may read files; a card that lists files must list all files in them."""


def verify(folder: Path, public_keys: Path | None = None) -> VersionFiles:
    """Check the files of a version, and return them. Raises ModelLoadError, which names the first wrong file.

    - The folder, `<models>/<model>/<version>`, may be a link into the models folder; its contents must be files, not links.
    - With `public_keys`, one of them has signed all files as those of this model and version.
    - With a card that lists files, they are as listed, and neither graph, variables nor assets have unlisted files.
    """
    models = folder.parent.parent.resolve()
    if not folder.resolve().is_relative_to(models):
        raise ModelLoadError(f"{folder} is a link that leads out of the models folder, to {folder.resolve()}. Copy it there.")
    files = VersionFiles(folder)
    if public_keys is not None:
        check(files, public_keys)
    card = read_card(folder)
    if card is not None and card.files:
        _compare_with_card(files, card)
    return files


def _compare_with_card(files: VersionFiles, card: Card) -> None:
    for name, expected in sorted(card.files.items()):
        path = files.folder / name
        if not path.resolve().is_relative_to(files.folder.resolve()):
            raise ModelLoadError(f"The model card lists {name!r}, which is not in the version's folder.")
        size = files.size(name, "the model card")
        if size != expected.bytes:
            raise ModelLoadError(f"{path} has {size} bytes; the model card says {expected.bytes}. Copy the version again.")
        if files.sha256(name, "the model card") != expected.sha256:
            raise ModelLoadError(
                f"{path} is not the file that was exported: its sha256 differs from the model card's. Copy the version again."
            )
    for name in files.names:
        if name not in card.files and (name in {BINARY, TEXT} or PurePosixPath(name).parts[0] in GUARDED_FOLDERS):
            raise ModelLoadError(
                f"{files.folder / name} is not listed in the model card; remove it, or copy the version again."
            )
