"""`multiply`: a folder of more training pictures, made after the split, each copy tied to its original.

Only training pictures are multiplied; val and test hold originals, byte for byte. The folder appears as a whole or not
at all. Whether more copies help is another question: `fit` changes pictures anew in every epoch, which costs no disk.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budwood.augment.copies import Change, CopySpec, change_of, changed, copies_of_each, shares
from budwood.cache import pictures_folder
from budwood.data.audit import audit
from budwood.data.cleaning.decisions import DecisionJournal, apply_decisions
from budwood.data.copy_names import CopyNames
from budwood.data.decode import decode, read_picture_bytes
from budwood.data.leaks import tied_groups
from budwood.data.records import Catalog, ImageRecord
from budwood.data.scan import scan
from budwood.data.split import check_split, read_split, split
from budwood.data.split_nouns import PARTS, Split
from budwood.data.store import PictureStore
from budwood.errors import DataError, OutputError, UsageError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.files import escape_name, refuse_inside, sha256_bytes, unescape_name, write_text
from budwood.whole_folder import whole_folder
from budwood.workspace import workspace

TABLE = "copies.csv"
_SIDE = 320
_WORKERS = 2
_STEP = "multiply"
_MARK = ".budwood-multiply"  # in a folder that is being made; also its lock
_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiplied:
    """What was made in ``folder``. ``before`` and ``after`` hold pictures of each class by part.

    most_copies: for each class, how many pictures its most copied original has become.
    left_out: usable pictures that the split left out.
    """

    folder: Path
    table: Path
    classes: tuple[str, ...]
    before: dict[str, tuple[int, ...]]
    after: dict[str, tuple[int, ...]]
    most_copies: tuple[int, ...]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """One picture and all files that come from it: its own, and one for each change."""

    record: ImageRecord
    part: str
    group: str
    name: str
    copies: tuple[tuple[str, Change], ...]


def multiply(
    photos: str | Path,
    *,
    out: str | Path,
    times: int | None = None,
    to: int | None = None,
    balanced: bool = False,
    seed: int = 0,
    split_file: str | Path | None = None,
    spec: CopySpec | None = None,
    listen: Listener = silent,
) -> Multiplied:
    """Split, then write ``out/train``, ``out/val``, ``out/test`` with class folders, and ``out/copies.csv``.

    Args:
        photos: any input that `scan` reads.
        out: a new or empty folder outside the photos; it can be used as PHOTOS, and so can its ``copies.csv``.
        times: so many times as many training pictures, 2 or more; or
        to: so many training pictures in all.
        balanced: equally many of each class, as far as no class has more already; else each class keeps its share.
        seed: of the split and of the copies.
        split_file: a split made before, instead of a new one; refused when it leaks.
        spec: which changes.
        listen: hears of the steps ``scan``, ``audit`` and ``multiply``.

    Raises:
        UsageError: not one of ``times`` and ``to``, or too small. OutputError: ``out`` is taken or inside the photos.
        DataError: the pictures cannot be used, a class cannot be a folder, or a file was changed meanwhile.
        SplitError: see `split`.
    """
    photos, folder = Path(photos).expanduser(), Path(out).expanduser()
    _check_wish(times, to)
    _check_place(folder, photos)
    store = PictureStore(pictures_folder(photos, side=_SIDE), side=_SIDE)
    scanned = scan(photos, store=store, listen=listen)
    decided = apply_decisions(scanned, DecisionJournal(workspace(photos).decisions).decisions())
    found = audit(decided, store, listen=listen)
    groups = found.groups
    catalog = decided.usable()
    if split_file is None:
        made = split(catalog, groups=groups, doubtful=found.doubtful, seed=seed, listen=listen)
    else:
        made = read_split(Path(split_file), catalog)
        check_split(made, catalog, groups)
    planned = _plan(catalog, made, groups, times=times, to=to, balanced=balanced, seed=seed, spec=spec or CopySpec())
    with whole_folder(folder, mark=_MARK) as place:
        _write(planned, catalog.root, place, listen=listen)
        write_text(place / TABLE, _table(planned))
    return _result(folder, catalog, made, planned)


def _check_wish(times: int | None, to: int | None) -> None:
    if (times is None) == (to is None):
        raise UsageError("say how many training pictures there shall be: either --times 8 or --to 10000")
    if times is not None and times < 2:
        raise UsageError(f"--times {times} multiplies nothing: give 2 or more")


def _check_place(folder: Path, photos: Path) -> None:
    refuse_inside(folder, photos)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists and is not empty; choose another folder with --out, or remove it first")
    if not folder.name:
        raise OutputError(f"{folder} cannot be made; give a new folder with --out")


def _plan(
    catalog: Catalog,
    made: Split,
    groups: tuple[tuple[str, ...], ...],
    *,
    times: int | None,
    to: int | None,
    balanced: bool,
    seed: int,
    spec: CopySpec,
) -> list[_Planned]:
    """Every file that will be written, in the order of parts and paths; nothing is random but by seed and path."""
    train = made.parts["train"]
    total = to if to is not None else (times or 1) * len(train)
    if total < len(train):
        raise UsageError(
            f"the training part has {len(train)} pictures already: --to {total} would make none; give more"
        )
    number_of = _copies(catalog, train, total=total, balanced=balanced, seed=seed)
    group_of = {path: min(tied) for tied in tied_groups(catalog, groups) for path in tied}
    names = CopyNames()
    planned = []
    for part in PARTS:
        for index in made.parts[part]:
            record = catalog.records[index]
            own, copies = names.take(record, part=part, num_copies=number_of.get(index, 0))
            changes = (change_of(record.path, n + 1, spec=spec, seed=seed) for n in range(len(copies)))
            planned.append(
                _Planned(
                    record=record,
                    part=part,
                    group=group_of.get(record.path, record.path),
                    name=own,
                    copies=tuple(zip(copies, changes, strict=True)),
                )
            )
    return planned


def _copies(catalog: Catalog, train: tuple[int, ...], *, total: int, balanced: bool, seed: int) -> dict[int, int]:
    """Index of a training picture -> how many copies of it are made; other pictures are not in it."""
    targets = np.array(catalog.targets, dtype=np.int64)[list(train)]
    counts = np.bincount(targets, minlength=len(catalog.classes))
    found: dict[int, int] = {}
    for k, share in enumerate(shares(counts, total=total, balanced=balanced).tolist()):
        rows = [index for index, target in zip(train, targets, strict=True) if target == k]
        if rows:
            paths = [catalog.records[index].path for index in rows]
            found.update(zip(rows, copies_of_each(paths, share=share, seed=seed).tolist(), strict=True))
    return found


def _write(planned: list[_Planned], root: Path, place: Path, *, listen: Listener) -> None:
    """All files, by a few threads; at most a few pictures are held at a time."""
    started = time.monotonic()
    total = sum(1 + len(each.copies) for each in planned)
    listen(StepStarted(step=_STEP, total=total))
    for parent in sorted({Path(place, each.name).parent for each in planned}):
        parent.mkdir(parents=True, exist_ok=True)
    waiting: deque[tuple[Future[None], int]] = deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            for each in planned:
                waiting.append((pool.submit(_write_one, each, root, place), 1 + len(each.copies)))
                if len(waiting) > 2 * _WORKERS:
                    _await(waiting, listen)
            while waiting:
                _await(waiting, listen)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    listen(StepFinished(step=_STEP, seconds=time.monotonic() - started, note=f"{total} pictures"))


def _await(waiting: deque[tuple[Future[None], int]], listen: Listener) -> None:
    future, count = waiting.popleft()
    future.result()
    listen(StepAdvanced(step=_STEP, count=count))


def _write_one(each: _Planned, root: Path, place: Path) -> None:
    data = read_picture_bytes(root / unescape_name(each.record.path))
    if sha256_bytes(data) != each.record.file_digest:
        raise DataError(f"{each.record.path} was changed since the scan; run the command again")
    (place / each.name).write_bytes(data)
    if not each.copies:
        return
    image = decode(data).image
    for name, change in each.copies:
        _save(changed(image, change), place / name)


def _save(image: NDArray[np.uint8], path: Path) -> None:
    """As JPEG or PNG by the name; JPEG without thinning out the colours."""
    if path.suffix == ".png":
        Image.fromarray(image).save(path, "PNG")
    else:
        Image.fromarray(image).save(path, "JPEG", quality=_JPEG_QUALITY, subsampling=0)


def _table(planned: list[_Planned]) -> str:
    """CSV text: one row a file, with the original it comes from and the group that ties the two."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "label", "group", "part", "original", "transform"])
    for each in planned:
        for name, words in ((each.name, "none"), *((name, change.words) for name, change in each.copies)):
            path = escape_name(name.replace(os.sep, "/"))
            writer.writerow([path, each.record.label, each.group, each.part, each.record.path, words])
    return out.getvalue()


def _result(folder: Path, catalog: Catalog, made: Split, planned: list[_Planned]) -> Multiplied:
    before = {part: Counter(catalog.records[i].label for i in made.parts[part]) for part in PARTS}
    after: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
    most: Counter[str] = Counter()
    for each in planned:
        after[each.part][each.record.label] += 1 + len(each.copies)
        most[each.record.label] = max(most[each.record.label], 1 + len(each.copies))
    return Multiplied(
        folder=folder,
        table=folder / TABLE,
        classes=catalog.classes,
        before={part: tuple(found[name] for name in catalog.classes) for part, found in before.items()},
        after={part: tuple(found[name] for name in catalog.classes) for part, found in after.items()},
        most_copies=tuple(most[name] for name in catalog.classes),
        left_out=len(made.left_out),
    )
