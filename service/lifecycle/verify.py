"""Compares a version's files with what its model card says about them."""

import hashlib
from pathlib import Path

from service.card import read_card
from service.errors import ModelLoadError


def verify(folder: Path) -> None:
    """Raises ModelLoadError, naming the first file that is missing, cut short or altered. No card, nothing to compare."""
    card = read_card(folder)
    for name, expected in sorted(card.files.items()) if card is not None else ():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelLoadError(f"The model card lists {name!r}, which is not in the version's folder.")
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                if size != expected.bytes:
                    raise ModelLoadError(
                        f"{path} has {size} bytes; the model card says {expected.bytes}. Copy the version again."
                    )
                if hashlib.file_digest(file, "sha256").hexdigest() != expected.sha256:
                    raise ModelLoadError(
                        f"{path} is not the file that was exported: its sha256 differs from the model card's. "
                        "Copy the version again."
                    )
        except OSError as error:
            raise ModelLoadError(f"{path}, which the model card lists, cannot be read: {error.strerror}.") from error
