"""A folder of class folders -> `Catalog`: every file ends as a record or, with its reason, as ignored.

Reads only; nothing is ever written into the folder. Damaged pictures stay in the catalog as unreadable
records, never replaced by a neighbour. It does not judge the pictures: that is `checks.py`.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budwood.data.decode import decode, read_picture_bytes
from budwood.data.picture_index import Stamp
from budwood.data.preprocess import reduce_to
from budwood.data.records import Catalog, ImageRecord
from budwood.data.store import PictureStore, pixel_digest
from budwood.errors import DataError, UnreadableImage, UsageError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.files import escape_name, sha256_bytes

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
    """What the walk found, escaped names: ``files`` holds (path, where) of possible pictures."""

    files: list[tuple[str, Path]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    loose: int = 0

    def ignore(self, name: str, reason: str) -> None:
        self.ignored.append(f"{escape_name(name)}: {reason}")


def scan(
    root: str | Path,
    *,
    store: PictureStore | None = None,
    listen: Listener = silent,
    workers: int = 2,
    min_classes: int = 2,
) -> Catalog:
    """Read every picture below ``root`` once and describe it.

    Args:
        root: a folder with one folder per class; deeper folders belong to the class folder that holds them.
        store: where decoded pictures are kept; known files that did not change are not decoded again.
        listen: hears of the step ``scan``.
        workers: threads that decode; the result does not depend on it.
        min_classes: fewer are an error; pictures that are only to be scored may all be of one class.

    Raises:
        UsageError: ``root`` is missing or not a folder.
        DataError: there are no pictures, no class folders, or too few classes.
    """
    started = time.monotonic()
    root = Path(root)
    found = _walk(_checked_root(root))
    found.files.sort()
    listen(StepStarted(step="scan", total=len(found.files)))
    with store.writing() if store is not None else nullcontext():
        records = tuple(_records(root, found.files, store=store, listen=listen, workers=workers))
        if store is not None:
            store.retain(root, (record.path for record in records))
    classes = tuple(sorted({record.label for record in records}))
    for name in sorted(set(found.classes) - set(classes)):
        found.ignored.append(f"{name}: a folder without any picture is no class")
    catalog = Catalog(root=root, records=records, classes=classes, ignored=tuple(sorted(found.ignored)))
    _check_usable(catalog, loose=found.loose, min_classes=min_classes)
    unreadable = sum(record.state == "unreadable" for record in records)
    note = f"{len(records)} pictures, {len(classes)} classes, {unreadable} unreadable"
    listen(StepFinished(step="scan", seconds=time.monotonic() - started, note=note))
    return catalog


def _checked_root(root: Path) -> Path:
    if not root.exists():
        raise UsageError(f"{root} does not exist; give a folder of class folders")
    if not root.is_dir():
        raise UsageError(f"{root} is a file; a folder of class folders is expected. {EXPECTED}")
    return root


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
                found.files.append((escape_name(name), Path(root, name)))
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


def _records(
    root: Path,
    files: list[tuple[str, Path]],
    *,
    store: PictureStore | None,
    listen: Listener,
    workers: int,
) -> Iterator[ImageRecord]:
    """The records in the order of ``files``; at most a few decoded pictures are held at a time."""
    side = store.side if store is not None else 0
    pending: deque[tuple[Stamp | None, ImageRecord | Future[_Read]]] = deque()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for path, place in files:
                stamp = _stamp(place)
                known = store.known(root, path, stamp) if store is not None and stamp else None
                pending.append((stamp, known or pool.submit(_read, path, place, side=side)))
                if len(pending) > 4 * workers:
                    yield _settled(*pending.popleft(), root=root, store=store, listen=listen)
            while pending:
                yield _settled(*pending.popleft(), root=root, store=store, listen=listen)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@dataclass(frozen=True, slots=True)
class _Read:
    record: ImageRecord
    image: NDArray[np.uint8] | None


def _settled(
    stamp: Stamp | None,
    result: ImageRecord | Future[_Read],
    *,
    root: Path,
    store: PictureStore | None,
    listen: Listener,
) -> ImageRecord:
    listen(StepAdvanced(step="scan"))
    if isinstance(result, ImageRecord):
        return result
    read = result.result()
    if store is not None and stamp:
        store.remember(root, read.record, stamp=stamp, image=read.image)
    return read.record


def _read(path: str, place: Path, *, side: int) -> _Read:
    """Read and decode one file; ``side`` 0: the pixels are not kept."""
    data = b""
    label = path.split("/", 1)[0]
    try:
        data = read_picture_bytes(place)
        decoded = decode(data)
    except UnreadableImage as error:
        digest = sha256_bytes(data) if data else ""
        record = ImageRecord(
            path=path,
            label=label,
            state="unreadable",
            reason=str(error),
            num_bytes=len(data),
            file_digest=digest,
        )
        return _Read(record, None)
    image = decoded.image
    record = ImageRecord(
        path=path,
        label=label,
        num_bytes=len(data),
        file_digest=sha256_bytes(data),
        pixel_digest=pixel_digest(image),
        width=image.shape[1],
        height=image.shape[0],
        mode=decoded.mode,
        format=decoded.format,
        brightness=_brightness(image),
    )
    return _Read(record, reduce_to(image, side) if side else None)


def _brightness(image: NDArray[np.uint8]) -> float:
    counts = Image.fromarray(image).convert("L").histogram()
    return round(sum(value * count for value, count in enumerate(counts)) / sum(counts), 3)


def _stamp(place: Path) -> Stamp | None:
    try:
        return Stamp.of(place)
    except OSError:
        return None  # it went away since the walk; reading it will say so


def _check_usable(catalog: Catalog, *, loose: int, min_classes: int) -> None:
    root, names = catalog.root, catalog.classes
    if not catalog.records and loose:
        raise DataError(f"{root} holds {loose} pictures directly, and no class folders. {EXPECTED}")
    if not catalog.records:
        what = f"no pictures ({len(catalog.ignored)} other entries)" if catalog.ignored else "nothing: it is empty"
        raise DataError(f"{root} holds {what}. {EXPECTED}")
    if len(names) < min_classes:
        raise DataError(
            f'{root} holds one class, "{names[0]}"; a classifier needs at least two. {EXPECTED}'
            " (is the folder one level too high?)"
        )
    if "train" in names and {name.lower() for name in names} <= PART_NAMES:
        raise DataError(
            f"{root} holds the parts {', '.join(names)} and not classes; give one of them,"
            f" such as {root / 'train'}, or put all pictures of a class into one folder"
        )
    if not catalog.usable().records:
        raise DataError(f"none of the {len(catalog)} pictures in {root} can be read ({catalog.records[0].reason})")
