"""Listed files -> `Catalog`: every picture is decoded once and ends as a record, readable or with its reason.

Reads only; nothing is ever written beside the pictures. Damaged pictures stay in the catalog as unreadable
records, never replaced by a neighbour. It does not judge the pictures: that is `checks.py`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budwood.data.decode import decode, read_picture_bytes
from budwood.data.folders import EXPECTED
from budwood.data.listing import Entry
from budwood.data.measures import measure
from budwood.data.picture_index import Stamp
from budwood.data.preprocess import reduce_to
from budwood.data.records import Catalog, ImageRecord
from budwood.data.sources import open_source
from budwood.data.store import PictureStore, pixel_digest
from budwood.errors import DataError, UnreadableImage
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.files import sha256_bytes


def scan(
    photos: str | Path,
    *,
    store: PictureStore | None = None,
    listen: Listener = silent,
    workers: int = 2,
    min_classes: int = 2,
) -> Catalog:
    """Read every picture below ``root`` once and describe it.

    Args:
        photos: any input that `sources.open_source` knows, such as a folder with one folder per class.
        store: where decoded pictures are kept; known files that did not change are not decoded again.
        listen: hears of the step ``scan``.
        workers: threads that decode; the result does not depend on it.
        min_classes: fewer are an error; pictures that are only to be scored may all be of one class.

    Raises:
        UsageError: ``photos`` is missing, or of no kind that can be read.
        DataError: there are no pictures, no classes, or too few.
    """
    started = time.monotonic()
    listing = open_source(Path(photos), listen=listen)
    root = listing.root
    listen(StepStarted(step="scan", total=len(listing.entries)))
    with store.writing() if store is not None else nullcontext():
        records = tuple(_records(root, listing.entries, store=store, listen=listen, workers=workers))
        if store is not None:
            store.retain(root, (record.path for record in records))
    classes = tuple(sorted({record.label for record in records}))
    catalog = Catalog(root=root, records=records, classes=classes, ignored=listing.ignored)
    _check_usable(catalog, min_classes=min_classes)
    unreadable = sum(record.state == "unreadable" for record in records)
    note = f"{len(records)} pictures, {len(classes)} classes, {unreadable} unreadable"
    listen(StepFinished(step="scan", seconds=time.monotonic() - started, note=note))
    return catalog


def _records(
    root: Path,
    entries: tuple[Entry, ...],
    *,
    store: PictureStore | None,
    listen: Listener,
    workers: int,
) -> Iterator[ImageRecord]:
    """The records in the order of ``entries``; at most a few decoded pictures are held at a time."""
    side = store.side if store is not None else 0
    pending: deque[tuple[Stamp | None, ImageRecord | Future[_Read]]] = deque()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for entry in entries:
                stamp = _stamp(Path(entry.place))
                known = store.known(root, entry.path, stamp) if store is not None and stamp else None
                if known is not None:
                    known = replace(known, label=entry.label, group=entry.group, part=entry.part)
                pending.append((stamp, known or pool.submit(_read, entry, side=side)))
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


def _read(entry: Entry, *, side: int) -> _Read:
    """Read and decode one file; ``side`` 0: the pixels are not kept."""
    data = b""
    given = ImageRecord(path=entry.path, label=entry.label, group=entry.group, part=entry.part)
    try:
        data = read_picture_bytes(Path(entry.place))
        decoded = decode(data)
    except UnreadableImage as error:
        digest = sha256_bytes(data) if data else ""
        record = replace(
            given,
            state="unreadable",
            reason=str(error),
            num_bytes=len(data),
            file_digest=digest,
        )
        return _Read(record, None)
    image = decoded.image
    record = replace(
        given,
        num_bytes=len(data),
        file_digest=sha256_bytes(data),
        pixel_digest=pixel_digest(image),
        width=image.shape[1],
        height=image.shape[0],
        mode=decoded.mode,
        format=decoded.format,
        **measure(image)._asdict(),
    )
    return _Read(record, reduce_to(image, side) if side else None)


def _stamp(place: Path) -> Stamp | None:
    try:
        return Stamp.of(place)
    except OSError:
        return None  # it went away since the walk; reading it will say so


def _check_usable(catalog: Catalog, *, min_classes: int) -> None:
    root, names = catalog.root, catalog.classes
    if len(names) < min_classes:
        raise DataError(
            f'{root} holds one class, "{names[0]}"; a classifier needs at least two. {EXPECTED}'
            " (is the folder one level too high?)"
        )
    if not catalog.usable().records:
        raise DataError(f"none of the {len(catalog)} pictures in {root} can be read ({catalog.records[0].reason})")
