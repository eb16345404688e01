"""A folder of class folders, or of train, val and test folders that hold them -> `Listing`.

Names only: no file is opened, nothing is written. Links are not followed out of the folder, junk of operating
systems is passed over and said so.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from budwood.data.inputs.listing import Entry, Listing
from budwood.data.inputs.parts import PARTS, check_parts, part_of_word
from budwood.errors import DataError, UsageError
from budwood.files import escape_name

# HEIC, AVIF and JPEG 2000 are pictures to their owner: they are listed as unreadable, not passed over.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif", ".jp2"}
)
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})
PART_NAMES = frozenset(PARTS)
_NAME = attrgetter("name")
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


def list_folder(root: Path, *, name: str = "") -> Listing:
    """Every possible picture below ``root``; deeper folders belong to the class folder that holds them.

    Args:
        root: the folder.
        name: what messages call it, where the user gave something else; else ``root``.

    Raises:
        UsageError: ``root`` cannot be read. DataError: it holds no pictures, or no class folders, or parts that
            cannot be used (see `check_parts`).
    """
    name = name or str(root)
    found = _walk(root)
    found.files.sort()
    parts = _part_folders(found)
    if parts:
        return _list_parts(root, found, parts, name=name)
    entries = tuple(Entry(path=path, place=place, label=path.split("/", 1)[0]) for path, place in found.files)
    _check_classes(entries, found, name=name)
    empty = sorted(set(found.classes) - {entry.label for entry in entries})
    ignored = [*found.ignored, *(f"{folder}: a folder without any picture is no class" for folder in empty)]
    return Listing(root=root, entries=entries, classes=tuple(sorted(found.classes)), ignored=tuple(sorted(ignored)))


def _check_classes(entries: tuple[Entry, ...], found: _Found, *, name: str) -> None:
    if not entries and found.loose:
        raise DataError(f"{name} holds {found.loose} pictures directly, and no class folders. {EXPECTED}")
    if not entries:
        what = f"no pictures ({len(found.ignored)} other entries)" if found.ignored else "nothing: it is empty"
        raise DataError(f"{name} holds {what}. {EXPECTED}")
    labels = sorted({entry.label for entry in entries})
    parts = {part_of_word(label) for label in labels}
    if None not in parts and ("train" in parts or any(entry.path.count("/") > 1 for entry in entries)):
        raise DataError(
            f"{name} holds the parts {', '.join(labels)} and not classes. For a division of your own, put class"
            f" folders into train and at least one of val and test; else give one of them, such as"
            f" {os.path.join(name, labels[-1])}, or put all pictures of a class into one folder"
        )


def _part_folders(found: _Found) -> dict[str, str]:
    """Top folder -> part, where train holds class folders and another part is beside it; else empty."""
    parts = {folder: part for folder in found.classes if (part := part_of_word(folder))}
    with_classes = {path.split("/", 1)[0] for path, _ in found.files if path.count("/") > 1}
    divided = any(parts.get(folder) == "train" for folder in with_classes) and len(set(parts.values())) > 1
    return parts if divided else {}


def _list_parts(root: Path, found: _Found, parts: dict[str, str], *, name: str) -> Listing:
    entries = []
    unlabelled: Counter[str] = Counter()
    beside: Counter[str] = Counter()
    for path, place in found.files:
        top, _, rest = path.partition("/")
        if top not in parts:
            beside[top] += 1
        elif "/" not in rest:
            unlabelled[top] += 1
        else:
            entries.append(Entry(path=path, place=place, label=rest.split("/", 1)[0], part=parts[top]))
    if {entry.part for entry in entries} == {"train"}:  # the test pictures have no labels: nothing is divided
        entries = [entry._replace(part="") for entry in entries]
    else:
        check_parts(entries, where=name)
    ignored = [
        *found.ignored,
        *(f"{top}: {n} pictures without a class folder have no labels; name them with budwood predict"
          for top, n in unlabelled.items()),
        *(f"{top}: lies beside {', '.join(sorted(parts))}; its {n} pictures are passed over"
          for top, n in beside.items()),
    ]  # fmt: skip
    classes = tuple(sorted({entry.label for entry in entries}))
    return Listing(root=root, entries=tuple(entries), classes=classes, ignored=tuple(sorted(ignored)))


def _walk(root: Path) -> _Found:
    found = _Found()
    top, inside = str(root), os.path.realpath(root)
    folders: deque[str] = deque([""])
    while folders:
        folder = folders.popleft()
        try:
            entries = sorted(os.scandir(os.path.join(top, folder)), key=_NAME)
        except OSError as error:
            if not folder:
                raise UsageError(f"{root} cannot be read ({error.strerror}); check its permissions") from error
            found.ignore(folder, f"the folder cannot be read ({(error.strerror or 'error').lower()})")
            continue
        before, place = f"{folder}/" if folder else "", os.path.join(top, folder, "")
        for entry in entries:
            name = before + entry.name
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
                found.files.append((escape_name(name), place + entry.name))
    return found


def _passed_over(entry: os.DirEntry[str], *, inside: str) -> str | None:
    """Why an entry is neither a folder to enter nor a possible picture; None when it is one of both."""
    name = entry.name
    if name[0] == ".":
        return "hidden"
    if name.lower() in JUNK:
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
    _, dot, suffix = name.rpartition(".")
    if dot + suffix.lower() not in SUFFIXES:
        return "not a picture file"
    return None if entry.is_file() else "not a plain file"
