"""Listed files -> `Catalog`: every picture is decoded once and ends as a record, readable or with its reason.

Reads only; nothing is ever written beside the pictures. Pictures are decoded in worker processes (`reader.py`), so
that one that crashes its decoder is a record with a reason too. Damaged pictures stay in the catalog as unreadable
records, never replaced by a neighbour. It does not judge the pictures: that is for the checks.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budwood.data.decode import read_picture_bytes
from budwood.data.fact_records import records_of
from budwood.data.fact_row import PACKED, Facts
from budwood.data.facts import FACTS, Rows
from budwood.data.heif import INSTALL
from budwood.data.inputs.folders import EXPECTED
from budwood.data.inputs.listing import Listing
from budwood.data.inputs.sources import open_source
from budwood.data.reader import Job, read_files
from budwood.data.records import Catalog, ImageRecord
from budwood.data.store import Found, PictureStore
from budwood.data.worker_answers import Batch
from budwood.errors import DataError, UnreadableImage
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent

_STAMP = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns")
_TOGETHER_BYTES, _TOGETHER = 1 << 20, 16  # batches that are stored together: until they have so much, or are so many
_TELL_COUNT, _TELL_SECONDS = 32, 0.2  # the listener is told after so many pictures, or so long


def scan(
    photos: str | Path,
    *,
    store: PictureStore | None = None,
    listen: Listener = silent,
    workers: int = 2,
    min_classes: int = 2,
) -> Catalog:
    """Read every picture once and describe it.

    Args:
        photos: any input that `sources.open_source` knows, such as a folder with one folder per class.
        store: where decoded pictures are kept; known files that did not change are not decoded again.
        listen: hears of the step ``scan``.
        workers: processes that decode; the result does not depend on it.
        min_classes: fewer are an error; pictures that are only to be scored may all be of one class.

    Raises:
        UsageError: ``photos`` is missing, or of no kind that can be read.
        DataError: there are no pictures, no classes, or too few.
        BudwoodError: no process can be started to decode pictures.
    """
    started = time.monotonic()
    listing = open_source(Path(photos), listen=listen)
    listen(StepStarted(step="scan", total=len(listing.entries)))
    with store.writing() if store is not None else nullcontext():
        records = _Scan(listing, store, listen).run(workers)
    classes = tuple(sorted(set(map(attrgetter("label"), records))))
    catalog = Catalog(root=listing.root, records=records, classes=classes, ignored=listing.ignored)
    _check_usable(catalog, photos, min_classes=min_classes)
    unreadable = sum(map("unreadable".__eq__, map(attrgetter("state"), records)))
    note = f"{len(records)} pictures, {len(classes)} classes, {unreadable} unreadable"
    listen(StepFinished(step="scan", seconds=time.monotonic() - started, note=note))
    return catalog


class _Scan:
    """One scan under way: a row of facts for each entry, filled from the store and by the workers."""

    def __init__(self, listing: Listing, store: PictureStore | None, listen: Listener) -> None:
        self._root, self._entries = listing.root, listing.entries
        self._paths = [entry.path for entry in listing.entries]
        self._store = store
        self._waiting: list[Batch] = []  # for the store
        self._listen = listen
        self._told_at = time.monotonic()
        self._untold = 0

    def run(self, workers: int) -> tuple[ImageRecord, ...]:
        """All records, in the order of the entries."""
        self._rows, current = self._unchanged()
        self._advance(int(current.sum()))
        jobs = list(self._jobs(np.flatnonzero(~current).tolist()))
        side = self._store.side if self._store is not None else 0
        try:
            for batch in read_files(jobs, side=side, workers=workers):
                self._keep(batch)
                self._advance(len(batch.numbers))
        finally:
            self._remember()
        self._advance(0, last=True)
        if self._store is not None:
            self._store.retain(self._root, self._paths)
        return records_of(self._entries, self._rows, reasons=self._reasons)

    def _unchanged(self) -> tuple[Rows, NDArray[np.bool_]]:
        """Facts of the entries that the store knows and that did not change, and which those are."""
        self._reasons: dict[int, str] = {}
        if self._store is None:
            return np.zeros(len(self._entries), FACTS), np.zeros(len(self._entries), bool)
        known, current, reasons = self._store.known(self._root, self._paths)
        positions = np.flatnonzero(current)
        stamps = _stamps([self._entries[i].place for i in positions.tolist()])
        for column, name in enumerate(("size", "mtime", "ctime")):
            current[positions] &= known[name][positions] == stamps[:, column]
        for i, reason in reasons.items():
            current[i] &= INSTALL not in reason  # what was missing may be there now
        rows = np.zeros(len(self._entries), FACTS)
        rows[current] = known[current]
        self._reasons = {i: reason for i, reason in reasons.items() if current[i]}
        return rows, current

    def _jobs(self, positions: list[int]) -> Iterator[Job]:
        """What the workers are to read; names that no system would open are settled here."""
        for i in positions:
            try:
                name = os.fsencode(self._entries[i].place)
            except UnicodeEncodeError:
                name = b""
            if name and b"\0" not in name:
                yield Job(i, name)
            else:
                self._reasons[i] = "cannot be opened"
                self._advance(1)

    def _keep(self, batch: Batch) -> None:
        if batch.ended:
            self._blame(batch.numbers[0], batch.ended)
            return
        self._rows[batch.numbers] = batch.rows
        self._reasons |= batch.reasons
        if self._store is not None:
            self._waiting.append(batch)
            held = sum(len(one.pictures) + len(one.planes) for one in self._waiting)
            if held >= _TOGETHER_BYTES or len(self._waiting) >= _TOGETHER:
                self._remember()

    def _remember(self) -> None:
        """Hand what waits to the store."""
        batches, self._waiting = self._waiting, []
        if self._store is None or not batches:
            return
        paths = [self._paths[number] for batch in batches for number in batch.numbers]
        reasons = {self._paths[number]: why for batch in batches for number, why in batch.reasons.items()}
        rows = np.concatenate([batch.rows for batch in batches])
        pictures, planes = [batch.pictures for batch in batches], [batch.planes for batch in batches]
        self._store.remember(self._root, Found(paths, rows, reasons, pictures, planes))

    def _blame(self, number: int, reason: str) -> None:
        """A file that ended its worker: its bytes are digested, but it is not remembered, so it is tried again."""
        try:
            data = read_picture_bytes(self._entries[number].place)
        except UnreadableImage:
            data = b""
        facts = Facts(num_bytes=len(data), file_digest=hashlib.sha256(data).digest() if data else b"")
        self._rows[number] = np.frombuffer(PACKED.pack(*facts), FACTS)[0]
        self._reasons[number] = reason

    def _advance(self, count: int, *, last: bool = False) -> None:
        self._untold += count
        now = time.monotonic()
        if self._untold and (last or self._untold >= _TELL_COUNT or now - self._told_at > _TELL_SECONDS):
            told, self._untold, self._told_at = self._untold, 0, now
            self._listen(StepAdvanced(step="scan", count=told))


def _stamps(places: list[str]) -> NDArray[np.int64]:
    """Size and times of each file, ``[N, 3]``; -1 for those that are gone."""
    try:  # in one sweep, which is half of the time of a scan that finds nothing changed
        flat = np.fromiter(chain.from_iterable(map(_STAMP, map(os.stat, places))), np.int64, 3 * len(places))
    except (OSError, ValueError):
        flat = np.array([_stamp(place) for place in places], np.int64)
    return flat.reshape(-1, 3)


def _stamp(place: str) -> tuple[int, int, int]:
    try:
        return _STAMP(os.stat(place))
    except (OSError, ValueError):
        return (-1, -1, -1)  # it went away since the walk; reading it will say so


def _check_usable(catalog: Catalog, photos: str | Path, *, min_classes: int) -> None:
    names = catalog.classes
    if len(names) < min_classes:
        raise DataError(
            f'{photos} holds one class, "{names[0]}"; a classifier needs at least two. {EXPECTED}'
            " (is the folder one level too high?)"
        )
    if not catalog.usable().records:
        raise DataError(f"none of the {len(catalog)} pictures in {photos} can be read ({catalog.records[0].reason})")
