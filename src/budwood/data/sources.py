"""What the user gave as PHOTOS -> `Listing`, whatever kind of input it is. Nothing is decoded here."""

from __future__ import annotations

from pathlib import Path

from budwood.data.folders import EXPECTED, list_folder
from budwood.data.listing import Listing
from budwood.errors import UsageError
from budwood.events import Listener, silent


def open_source(photos: Path, *, listen: Listener = silent) -> Listing:
    """List the pictures of ``photos``.

    Raises:
        UsageError: it is missing, or of no kind that can be read. DataError: it holds nothing to train on.
    """
    if not photos.exists():
        raise UsageError(f"{photos} does not exist; give a folder of class folders")
    if not photos.is_dir():
        raise UsageError(f"{photos} is a file; a folder of class folders is expected. {EXPECTED}")
    return list_folder(photos)
