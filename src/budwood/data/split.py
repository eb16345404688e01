"""A catalog -> indices per part: stratified by class, and no group that belongs together is ever torn.

Groups are near-duplicates (from `audit`) united with pictures of one ``record.group``. Which unit goes where
follows from the seed and the units' own paths, not from a shuffle, so that nothing hangs on the file order.
`split_file.py` keeps splits on disk. Only records whose state is ``ok`` are split.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from budwood.data.checks import components
from budwood.data.records import Catalog
from budwood.data.split_file import read_split, write_split
from budwood.data.split_nouns import PARTS, Split
from budwood.errors import LeakError, SplitError

__all__ = [
    "PARTS",
    "Split",
    "SplitSpec",
    "check_split",
    "read_split",
    "split",
    "split_folds",
    "tied_groups",
    "write_split",
]

Groups = Sequence[Sequence[str]]
ATTEMPTS = 20  # other orders to try when units with several labels leave a class without a part


class SplitSpec(BaseModel):
    """Settings of `split`.

    val, test: the share of each class, 0-0.5; at least one picture of each class.
    folds: for `split_folds`; each fold is the test part once. None: one holdout.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    val: float = Field(default=0.1, gt=0, lt=0.5)
    test: float = Field(default=0.1, gt=0, lt=0.5)
    folds: int | None = Field(default=None, ge=3)


@dataclass(frozen=True, slots=True)
class _Unit:
    """Records that must stay together: their indices, and how many of each class they hold."""

    key: str
    indices: tuple[int, ...]
    counts: Mapping[str, int]


def split(catalog: Catalog, *, groups: Groups, spec: SplitSpec | None = None, seed: int = 0) -> Split:
    """Divide a catalog into train, val and test.

    Args:
        catalog: its readable records are split.
        groups: paths that must lie in one part; paths that the catalog does not hold are passed over.
        spec: the shares; ``folds`` is not used here.
        seed: another seed gives another split; seed and catalog fix it on every machine.

    Raises:
        SplitError: a class has too few distinct pictures.
    """
    spec = spec or SplitSpec()
    tied = tied_groups(catalog, groups)
    targets = {name: _holdout_targets(count, spec) for name, count in catalog.usable().counts().items()}
    units = _units(catalog, tied)
    _check_enough(units, catalog.classes, need=3, why="train, val and test need")
    placed = _place(units, targets, seed=seed)
    parts = dict(zip(PARTS, placed, strict=True))
    return Split(parts=parts, seed=seed, catalog_fingerprint=catalog.fingerprint, groups=tied)


def split_folds(catalog: Catalog, *, groups: Groups, spec: SplitSpec, seed: int = 0) -> tuple[Split, ...]:
    """K splits: in split k fold k is test, the next one val, the rest train; each picture is test once.

    Raises:
        SplitError: a class has fewer distinct pictures than there are folds, or ``spec.folds`` is not set.
    """
    if spec.folds is None:
        raise SplitError("the settings name no number of folds; set folds to 3 or more")
    num = spec.folds
    tied = tied_groups(catalog, groups)
    targets = {name: (count / num,) * num for name, count in catalog.usable().counts().items()}
    units = _units(catalog, tied)
    _check_enough(units, catalog.classes, need=num, why=f"{num} folds need")
    folds = _place(units, targets, seed=seed)
    splits = []
    for k in range(num):
        rest = [i for j, fold in enumerate(folds) if j not in (k, (k + 1) % num) for i in fold]
        parts = {"train": tuple(sorted(rest)), "val": folds[(k + 1) % num], "test": folds[k]}
        splits.append(Split(parts=parts, seed=seed, catalog_fingerprint=catalog.fingerprint, groups=tied))
    return tuple(splits)


def tied_groups(catalog: Catalog, groups: Groups) -> tuple[tuple[str, ...], ...]:
    """``groups`` united with the records' own groups, as paths of usable records, two or more each."""
    usable = {record.path for record in catalog.records if record.state == "ok"}
    by_group: dict[str, list[str]] = defaultdict(list)
    for record in catalog.records:
        if record.group and record.state == "ok":
            by_group[record.group].append(record.path)
    # A picture that was left out still ties its two neighbours: both look like it.
    tied = components([*(group for group in groups if group), *by_group.values()])
    kept = (tuple(path for path in paths if path in usable) for paths in tied)
    return tuple(paths for paths in kept if len(paths) > 1)


def check_split(split: Split, catalog: Catalog, groups: Groups) -> None:
    """Refuse a split that is of other pictures, incomplete, or leaks; its own list of groups is not believed.

    Raises:
        LeakError: pictures that belong together lie in two parts; names both.
        SplitError: the parts overlap, are incomplete, or belong to another catalog.
    """
    if split.catalog_fingerprint != catalog.fingerprint:
        raise SplitError(
            f"the split was made for other pictures ({split.catalog_fingerprint[:12]}, these are"
            f" {catalog.fingerprint[:12]}): files or labels changed since; make a new split"
        )
    if set(split.parts) != set(PARTS):
        raise SplitError(f"the split has the parts {', '.join(split.parts)}; expected {', '.join(PARTS)}")
    part_of: dict[str, str] = {}
    for part, indices in split.parts.items():
        for index in indices:
            if not 0 <= index < len(catalog) or catalog.records[index].state != "ok":
                raise SplitError(f"{part} names record {index}, which is no usable picture of the catalog")
            path = catalog.records[index].path
            if path in part_of:
                raise SplitError(f"{path} lies in {part_of[path]} and again in {part}; each picture once")
            part_of[path] = part
    missing = [r.path for r in catalog.records if r.state == "ok" and r.path not in part_of]
    if missing:
        raise SplitError(f"{len(missing)} pictures lie in no part, such as {missing[0]}; make a new split")
    for paths in tied_groups(catalog, groups):
        for path in paths[1:]:
            if part_of[path] != part_of[paths[0]]:
                raise LeakError(
                    f"{paths[0]} ({part_of[paths[0]]}) and {path} ({part_of[path]}) belong together but lie"
                    " in two parts: scores would be too good; make a new split"
                )


def _holdout_targets(count: int, spec: SplitSpec) -> tuple[float, ...]:
    """Pictures of one class that are wanted in train, val, test."""
    val, test = (max(1, math.floor(count * share + 0.5)) for share in (spec.val, spec.test))
    return (max(1, count - val - test), val, test)


def _units(catalog: Catalog, tied: Sequence[Sequence[str]]) -> list[_Unit]:
    number = {path: i for i, paths in enumerate(tied) for path in paths}
    members: dict[int | str, list[int]] = defaultdict(list)
    for index, record in enumerate(catalog.records):
        if record.state == "ok":
            members[number.get(record.path, record.path)].append(index)
    return [
        _Unit(
            key=min(catalog.records[i].path for i in indices),
            indices=tuple(indices),
            counts=Counter(catalog.records[i].label for i in indices),
        )
        for indices in members.values()
    ]


def _check_enough(units: Sequence[_Unit], classes: Sequence[str], *, need: int, why: str) -> None:
    distinct = Counter(label for unit in units for label in unit.counts)
    pictures = Counter({name: sum(unit.counts.get(name, 0) for unit in units) for name in classes})
    for name in classes:
        if distinct[name] < need:
            found = f"{pictures[name]} picture{'' if pictures[name] == 1 else 's'}"
            if distinct[name] < pictures[name]:
                found += f", {distinct[name]} of them distinct"
            raise SplitError(
                f'class "{name}" has {found}; {why} at least {need} distinct ones'
                " (near-duplicates count once): add pictures or merge classes"
            )


def _place(units: Sequence[_Unit], targets: Mapping[str, Sequence[float]], *, seed: int) -> list[tuple[int, ...]]:
    """The indices of each part; other orders are tried when units of several classes leave one uncovered."""
    for attempt in range(ATTEMPTS):
        parts = _place_once(units, targets, salt=f"{seed}/{attempt}")
        if parts is not None:
            return parts
    torn = next(unit for unit in units if len(unit.counts) > 1)
    raise SplitError(
        f"pictures that belong together have several labels ({', '.join(sorted(torn.counts))}; such as"
        f" {torn.key}), so that some class cannot be in every part: correct these labels first"
        " (budwood audit lists them)"
    )


def _place_once(
    units: Sequence[_Unit], targets: Mapping[str, Sequence[float]], *, salt: str
) -> list[tuple[int, ...]] | None:
    """Hand each unit, the hardest to place first, to the part that it brings closest to its targets.

    A class whose remaining units are only as many as the parts still without it goes to those parts.
    """
    num = len(next(iter(targets.values())))
    counts = {name: [0] * num for name in targets}
    left = Counter(label for unit in units for label in unit.counts)
    parts: list[list[int]] = [[] for _ in range(num)]

    def cost(unit: _Unit, part: int) -> tuple[float, int, str]:
        # The change of sum((count - target)^2 / target), without what is equal for all parts.
        change = sum(
            size * (size + 2 * (counts[label][part] - targets[label][part])) / sum(targets[label])
            for label, size in unit.counts.items()
        )
        return round(change, 9), len(parts[part]), _rank(salt, f"{unit.key}\0{part}")

    order = sorted(units, key=lambda u: (-len(u.counts), -len(u.indices), _rank(salt, u.key)))
    for unit in order:
        allowed = set(range(num))
        for label in unit.counts:
            without = {part for part in range(num) if not counts[label][part]}
            if left[label] <= len(without):
                allowed = allowed & without or without
            left[label] -= 1
        chosen = min(allowed, key=lambda part: cost(unit, part))
        parts[chosen] += unit.indices
        for label, size in unit.counts.items():
            counts[label][chosen] += size
    covered = all(all(placed) for placed in counts.values())
    return [tuple(sorted(part)) for part in parts] if covered else None


def _rank(salt: str, key: str) -> str:
    return hashlib.sha256(f"{salt}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()
