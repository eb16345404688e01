"""``.budwood/`` in the working folder: what a person decided about some pictures, and what must outlive the cache.

One folder for each PHOTOS, named after it and after a digest of where it lies. Nothing is ever written beside the
pictures themselves.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from budwood.errors import OutputError
from budwood.files import sha256_bytes

FOLDER = ".budwood"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The names of the files kept for one PHOTOS; the folder is made when something is first written."""

    path: Path

    @property
    def catalog(self) -> Path:
        """The ledger: every picture with its state and why, as of the last command."""
        return self.path / "catalog.csv"

    @property
    def decisions(self) -> Path:
        """What a person decided, one line each, never rewritten."""
        return self.path / "decisions.jsonl"

    @property
    def quarantine(self) -> Path:
        """Where ``clean --apply`` moves files to; its log lies beside it."""
        return self.path / "quarantine"

    @property
    def quarantine_log(self) -> Path:
        """Each move, written before it is made."""
        return self.path / "quarantine.jsonl"


def writable_workspace(photos: Path) -> Workspace:
    """`workspace`, for a command that is going to write into it.

    Raises:
        OutputError: the current folder lies inside ``photos``.
    """
    if photos.is_dir() and Path.cwd().is_relative_to(photos.expanduser().resolve()):
        raise OutputError(
            f"{Path.cwd()} lies inside {photos}, which is never written to; run the command from another folder:"
            f" what it keeps goes to {FOLDER} there"
        )
    return workspace(photos)


def workspace(photos: Path) -> Workspace:
    """The workspace of ``photos`` below the current folder; the same words for PHOTOS give the same one."""
    place = photos.expanduser().resolve()
    name = re.sub(r"[^-.0-9A-Za-z]+", "_", place.name)[:40].strip("._") or "photos"
    return Workspace(Path(FOLDER) / f"{name}-{sha256_bytes(os.fsencode(place))[:12]}")
