"""`Round`: which pictures a training of a sweep learns from, and which judge it. The test part is in none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from budwood.data.leaks import tied_groups
from budwood.data.placing import check_enough, place, units_of
from budwood.data.records import Catalog
from budwood.data.split_nouns import Split


@dataclass(frozen=True, slots=True)
class Round:
    """One division of the pictures: rows to train on, rows to judge by (and to choose the epoch by)."""

    train: tuple[int, ...]
    judged: tuple[int, ...]


def rounds_of(
    split: Split, catalog: Catalog, *, groups: Sequence[tuple[str, ...]], folds: int | None, seed: int
) -> tuple[Round, ...]:
    """The split's training and validation part, or both together divided into folds, near-duplicates kept together.

    Args:
        groups: paths of pictures that show the same.

    Raises:
        SplitError: a class has fewer distinct pictures outside of the test part than there are folds.
    """
    if folds is None:
        return (Round(split.parts["train"], split.parts["val"]),)
    rows = sorted((*split.parts["train"], *split.parts["val"]))
    units = units_of(catalog, tied_groups(catalog, groups), rows=rows)
    counts = Counter(catalog.records[i].label for i in rows)
    check_enough(units, catalog.classes, need=folds, why=f"{folds} folds of the training and validation part need")
    held = place(units, {name: (counts[name] / folds,) * folds for name in catalog.classes}, seed=seed)
    rest = [set(rows).difference(out) for out in held]
    return tuple(Round(tuple(sorted(train)), out) for train, out in zip(rest, held, strict=True))
