"""Parts that the pictures came with (folders named train, val, test, or a column) -> `Split`.

They are kept as they are, unless they leak; a part that is missing is cut from train by the rules of `split.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from budwood.data.leaks import Groups, Leak, describe_leaks, find_leaks, tied_groups
from budwood.data.placing import check_enough, place, rounded_share, units_of
from budwood.data.records import Catalog
from budwood.data.split_nouns import PARTS, Split, SplitSpec
from budwood.errors import LeakError, SplitError
from budwood.events import Listener, Warned, silent


def has_own_parts(catalog: Catalog) -> bool:
    """Whether the pictures came divided into parts."""
    return any(record.part for record in catalog.records if record.state == "ok")


def own_split(
    catalog: Catalog, *, groups: Groups, spec: SplitSpec | None = None, seed: int = 0, listen: Listener = silent
) -> Split:
    """The parts that the pictures came with; a val or test part that is missing is cut from train, guarded.

    Args:
        catalog: its readable records name their ``part``.
        groups, seed: as in `split`.
        spec: ``val`` and ``test`` are shares of the training pictures here; ``leaks`` says what happens to leaks.
        listen: is told what was cut and what was dropped.

    Raises:
        LeakError: pictures that belong together lie in two parts, and ``spec.leaks`` is "refuse".
        SplitError: a picture names no part, a class has no training picture, or too few to cut from.
    """
    spec = spec or SplitSpec()
    given = given_parts(catalog)
    tied = tied_groups(catalog, groups)
    leaks = find_leaks(given, catalog, groups)
    if leaks and spec.leaks == "refuse":
        raise LeakError(
            f"the pictures' own parts hold {describe_leaks(leaks)}. To leave the training pictures among them out:"
            " --set split.leaks=drop. To make a new split of all pictures: --set split.own=ignore"
        )
    left_out = _drop(leaks, catalog)
    parts = {part: tuple(i for i in rows if i not in left_out) for part, rows in given.parts.items()}
    if left_out:
        text = f"{len(left_out)} pictures are left out: they show what a picture of a later part shows"
        listen(Warned(text=text))
    parts = _with_missing_parts(catalog, parts, tied, spec=spec, seed=seed, listen=listen)
    _check_classes(catalog, parts, listen=listen)
    gone = {catalog.records[i].path for i in left_out}
    kept = [tuple(path for path in paths if path not in gone) for paths in tied]
    return Split(
        parts=parts,
        seed=seed,
        catalog_fingerprint=catalog.fingerprint,
        groups=tuple(paths for paths in kept if len(paths) > 1),
        left_out=tuple(sorted(left_out)),
    )


def given_parts(catalog: Catalog) -> Split:
    """The parts as they came, leaks and missing parts included.

    Raises:
        SplitError: a picture names no part, or none is for training.
    """
    if not has_own_parts(catalog):
        raise SplitError(
            "the pictures did not come divided into parts (folders train, val, test; or a column part of a table):"
            " make a split with budwood split PHOTOS"
        )
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    without: list[int] = []
    for index, record in enumerate(catalog.records):
        if record.state == "ok":
            rows.get(record.part, without).append(index)
    if without:
        record = catalog.records[without[0]]
        raise SplitError(
            f'{len(without)} pictures are in none of the parts train, val and test, such as {record.path} ("'
            f'{record.part}"): give each picture a part, or split all of them anew with --set split.own=ignore'
        )
    if not rows["train"]:
        raise SplitError("the pictures' own parts hold no training picture: add some, or use --set split.own=ignore")
    parts = {part: tuple(indices) for part, indices in rows.items()}
    return Split(parts=parts, seed=0, catalog_fingerprint=catalog.fingerprint)


def _drop(leaks: Sequence[Leak], catalog: Catalog) -> set[int]:
    """The pictures of all but the last part (train < val < test) that each leak touches."""
    index = {record.path: i for i, record in enumerate(catalog.records)}
    dropped = set()
    for leak in leaks:
        last = max(leak.parts, key=PARTS.index)
        dropped |= {index[path] for path, part in zip(leak.paths, leak.parts, strict=True) if part != last}
    return dropped


def _with_missing_parts(
    catalog: Catalog,
    parts: dict[str, tuple[int, ...]],
    tied: Sequence[Sequence[str]],
    *,
    spec: SplitSpec,
    seed: int,
    listen: Listener,
) -> dict[str, tuple[int, ...]]:
    missing = [part for part in ("val", "test") if not parts[part]]
    if not missing:
        return parts
    units = units_of(catalog, tied, rows=parts["train"])
    classes = sorted({name for unit in units for name in unit.counts})
    names = ("train", *missing)
    check_enough(units, classes, need=len(names), why=f"{' and '.join(names)} (cut from the training pictures) need")
    counts = Counter(catalog.records[i].label for i in parts["train"])
    targets = {}
    for name in classes:
        cut = [rounded_share(counts[name], getattr(spec, part)) for part in missing]
        targets[name] = (max(1, counts[name] - sum(cut)), *cut)
    made = dict(zip(names, place(units, targets, seed=seed), strict=True))
    for part in missing:
        text = f"the pictures have no {part} part: {len(made[part])} of the training pictures are used for it"
        listen(Warned(text=text))
    return {part: made.get(part, parts[part]) for part in PARTS}


def _check_classes(catalog: Catalog, parts: dict[str, tuple[int, ...]], *, listen: Listener) -> None:
    classes = {part: {catalog.records[i].label for i in rows} for part, rows in parts.items()}
    counts = catalog.usable().counts()
    for name in catalog.classes:
        if name not in classes["train"] and counts[name]:
            raise SplitError(
                f'class "{name}" has no training picture (its pictures lie in other parts, or were left out as copies):'
                " add some, or split all pictures anew with --set split.own=ignore"
            )
        for part in ("val", "test"):
            if name not in classes[part] and counts[name]:
                listen(Warned(text=f'class "{name}" has no {part} picture: no score there speaks of it'))
