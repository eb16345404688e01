"""A folder of class folders -> `Listing`. Names only: no file is opened, nothing is written.

Links are not followed out of the folder, junk of operating systems is passed over and said so.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from budwood.data.listing import Entry, Listing
from budwood.errors import DataError, UsageError
from budwood.files import escape_name

# HEIC, AVIF and JPEG 2000 are pictures to their owner: they are listed as unreadable, not passed over.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif", ".jp2"}
)
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})
PART_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
EXPECTED = "Budwood expects one folder per class: PHOTOS/class/picture.jpg"


@dataclass(slots=True)
class _Found:
    """What the walk found, escaped names: ``files`` holds (path, place) of possible pictures."""

    files: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    loose: int = 0

    def ignore(self, name: str, reason: str) -> None:
        self.ignored.append(f"{escape_name(name)}: {reason}")


def list_folder(root: Path) -> Listing:
    """Every possible picture below ``root``; deeper folders belong to the class folder that holds them.

    Raises:
        UsageError: ``root`` cannot be read. DataError: it holds no pictures, or no class folders.
    """
    found = _walk(root)
    found.files.sort()
    entries = tuple(Entry(path=path, place=place, label=path.split("/", 1)[0]) for path, place in found.files)
    _check_classes(root, entries, found)
    empty = sorted(set(found.classes) - {entry.label for entry in entries})
    ignored = [*found.ignored, *(f"{name}: a folder without any picture is no class" for name in empty)]
    return Listing(root=root, entries=entries, classes=tuple(sorted(found.classes)), ignored=tuple(sorted(ignored)))


def _check_classes(root: Path, entries: tuple[Entry, ...], found: _Found) -> None:
    if not entries and found.loose:
        raise DataError(f"{root} holds {found.loose} pictures directly, and no class folders. {EXPECTED}")
    if not entries:
        what = f"no pictures ({len(found.ignored)} other entries)" if found.ignored else "nothing: it is empty"
        raise DataError(f"{root} holds {what}. {EXPECTED}")
    names = {entry.label for entry in entries}
    if "train" in names and {name.lower() for name in names} <= PART_NAMES:
        raise DataError(
            f"{root} holds the parts {', '.join(sorted(names))} and not classes; give one of them,"
            f" such as {root / 'train'}, or put all pictures of a class into one folder"
        )


def _walk(root: Path) -> _Found:
    found = _Found()
    inside = os.path.realpath(root)
    folders: deque[str] = deque([""])
    while folders:
        folder = folders.popleft()
        try:
            entries = sorted(os.scandir(os.path.join(root, folder)), key=lambda entry: entry.name)
        except OSError as error:
            if not folder:
                raise UsageError(f"{root} cannot be read ({error.strerror}); check its permissions") from error
            found.ignore(folder, f"the folder cannot be read ({(error.strerror or 'error').lower()})")
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if (reason := _passed_over(entry, inside=inside)) is not None:
                found.ignore(name, reason)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(name)
                if not folder:
                    found.classes.append(escape_name(name))
            elif not folder:
                found.loose += 1
                found.ignore(name, "lies beside the class folders, so it has no class")
            else:
                found.files.append((escape_name(name), os.path.join(root, name)))
    return found


def _passed_over(entry: os.DirEntry[str], *, inside: str) -> str | None:
    """Why an entry is neither a folder to enter nor a possible picture; None when it is one of both."""
    if entry.name.startswith("."):
        return "hidden"
    if entry.name.lower() in JUNK:
        return "made by an operating system, not a picture"
    if entry.is_symlink():
        if not os.path.exists(entry.path):
            return "a broken symbolic link"
        if os.path.isdir(entry.path):
            return "a symbolic link to a folder is not followed"
        if os.path.commonpath([inside, os.path.realpath(entry.path)]) != inside:
            return "a symbolic link out of the folder"
    if entry.is_dir(follow_symlinks=False):
        return None
    if os.path.splitext(entry.name)[1].lower() not in SUFFIXES:
        return "not a picture file"
    return None if entry.is_file() else "not a plain file"
