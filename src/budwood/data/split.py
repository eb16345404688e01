"""A catalog -> indices per part: stratified by class, and nothing that belongs together is ever torn.

What belongs together (`leaks.tied_groups`): near-duplicates that `audit` found, equal pictures, and pictures of one
``record.group``. A new split also keeps together what may be a copy (`ties.py`); no given split is refused for that.
Parts that the pictures came with are kept (`own_parts.py`). `placing.py` does the placing, `split_file.py` keeps
splits on disk. Only records whose state is ``ok`` are split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from budwood.data.checks import NearPair
from budwood.data.leaks import Groups, Leak, describe_leaks, find_leaks, tied_groups
from budwood.data.own_parts import has_own_parts, own_split
from budwood.data.placing import check_enough, place, rounded_share, units_of
from budwood.data.records import Catalog
from budwood.data.split_file import read_split, write_split
from budwood.data.split_nouns import PARTS, Split, SplitSpec
from budwood.data.ties import with_doubtful
from budwood.errors import LeakError, SplitError
from budwood.events import Listener, silent

__all__ = [
    "PARTS",
    "Deviation",
    "Leak",
    "Split",
    "SplitSpec",
    "check_split",
    "find_leaks",
    "has_own_parts",
    "largest_deviation",
    "own_split",
    "read_split",
    "split",
    "split_folds",
    "tied_groups",
    "write_split",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A class in a part: how many pictures it has there, and how many its share would be."""

    label: str
    part: str
    found: int
    wished: float


def split(
    catalog: Catalog,
    *,
    groups: Groups,
    doubtful: Sequence[NearPair] = (),
    spec: SplitSpec | None = None,
    seed: int = 0,
    listen: Listener = silent,
) -> Split:
    """Divide a catalog into train, val and test; parts that the pictures came with are kept unless ``spec`` says not.

    Args:
        catalog: its readable records are split.
        groups: paths that must lie in one part; paths that the catalog does not hold are passed over.
        doubtful: pairs that may be copies, from `audit`; kept together as `ties` says. Of no effect on own parts.
        spec: the shares; ``folds`` is not used here.
        seed: another seed gives another split; seed and catalog fix it on every machine.
        listen: hears warnings about parts that the pictures came with.

    Raises:
        SplitError: a class has too few distinct pictures. LeakError: see `own_split`.
    """
    spec = spec or SplitSpec()
    if spec.own == "keep" and has_own_parts(catalog):
        return own_split(catalog, groups=groups, spec=spec, seed=seed, listen=listen)
    tied = with_doubtful(catalog, tied_groups(catalog, groups), doubtful)
    targets = {name: _holdout_targets(count, spec) for name, count in catalog.usable().counts().items()}
    units = units_of(catalog, tied, rows=_usable_rows(catalog))
    check_enough(units, catalog.classes, need=3, why="train, val and test need")
    parts = dict(zip(PARTS, place(units, targets, seed=seed), strict=True))
    return Split(parts=parts, seed=seed, catalog_fingerprint=catalog.fingerprint, groups=tied)


def split_folds(
    catalog: Catalog, *, groups: Groups, doubtful: Sequence[NearPair] = (), spec: SplitSpec, seed: int = 0
) -> tuple[Split, ...]:
    """K splits: in split k fold k is test, the next one val, the rest train; each picture is test once.

    ``groups`` and ``doubtful`` are as in `split`.

    Raises:
        SplitError: a class has fewer distinct pictures than there are folds, ``spec.folds`` is not set, or the
            pictures came with parts that folds would mix.
    """
    if spec.folds is None:
        raise SplitError("the settings name no number of folds; set folds to 3 or more")
    if spec.own == "keep" and has_own_parts(catalog):
        raise SplitError(
            "the pictures come with parts of their own, and folds would mix them: drop the folds,"
            " or say that the parts mean nothing with --set split.own=ignore"
        )
    num = spec.folds
    tied = with_doubtful(catalog, tied_groups(catalog, groups), doubtful)
    targets = {name: (count / num,) * num for name, count in catalog.usable().counts().items()}
    units = units_of(catalog, tied, rows=_usable_rows(catalog))
    check_enough(units, catalog.classes, need=num, why=f"{num} folds need")
    folds = place(units, targets, seed=seed)
    splits = []
    for k in range(num):
        rest = [i for j, fold in enumerate(folds) if j not in (k, (k + 1) % num) for i in fold]
        parts = {"train": tuple(sorted(rest)), "val": folds[(k + 1) % num], "test": folds[k]}
        splits.append(Split(parts=parts, seed=seed, catalog_fingerprint=catalog.fingerprint, groups=tied))
    return tuple(splits)


def check_split(split: Split, catalog: Catalog, groups: Groups) -> None:
    """Refuse a split that is of other pictures, incomplete, or leaks; its own list of groups is not believed.

    Raises:
        LeakError: pictures that belong together lie in two parts; names the first of them.
        SplitError: the parts overlap, are incomplete, or belong to another catalog.
    """
    check_parts(split, catalog)
    leaks = find_leaks(split, catalog, groups)
    if leaks:
        raise LeakError(
            f"the split holds {describe_leaks(leaks)}. Move one of each into the other's part,"
            " or make a new split with: budwood split PHOTOS --out split.json"
        )


def check_parts(split: Split, catalog: Catalog) -> None:
    """Refuse a split that is of other pictures, or whose parts overlap or are incomplete.

    Raises:
        SplitError: says which picture.
    """
    if split.catalog_fingerprint != catalog.fingerprint:
        raise SplitError(
            f"the split was made for other pictures ({split.catalog_fingerprint[:12]}, these are"
            f" {catalog.fingerprint[:12]}): files or labels changed since; make a new split"
        )
    if set(split.parts) != set(PARTS):
        raise SplitError(f"the split has the parts {', '.join(split.parts)}; expected {', '.join(PARTS)}")
    part_of: dict[str, str] = {}
    for part, indices in (*split.parts.items(), ("left_out", split.left_out)):
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


def largest_deviation(split: Split, catalog: Catalog, spec: SplitSpec) -> Deviation:
    """The class and part whose number of pictures is farthest from the share that was wished for."""
    totals = catalog.usable().counts()
    shares = {"train": 1 - spec.val - spec.test, "val": spec.val, "test": spec.test}
    if spec.folds is not None:
        shares = {"train": 1 - 2 / spec.folds, "val": 1 / spec.folds, "test": 1 / spec.folds}
    found = {part: Counter(catalog.records[i].label for i in rows) for part, rows in split.parts.items()}
    deviations = [
        Deviation(label=name, part=part, found=found[part][name], wished=totals[name] * shares[part])
        for name in catalog.classes
        for part in PARTS
    ]
    return max(deviations, key=lambda d: abs(d.found - d.wished))


def _usable_rows(catalog: Catalog) -> list[int]:
    return [i for i, record in enumerate(catalog.records) if record.state == "ok"]


def _holdout_targets(count: int, spec: SplitSpec) -> tuple[float, ...]:
    """Pictures of one class that are wanted in train, val, test."""
    val, test = rounded_share(count, spec.val), rounded_share(count, spec.test)
    return (max(1, count - val - test), val, test)
