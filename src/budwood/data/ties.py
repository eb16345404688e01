"""Groups for a split, of what surely belongs together and what may. Nothing is found here.

A tie too many makes a split a little coarser; one too few leaks. So a split keeps doubtful pairs in one part as well.
They must not chain look-alikes to large groups, though, nor give a group labels that neither of its parts has, nor
leave a class too few groups to be divided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from budwood.data.checks import NearPair
from budwood.data.records import Catalog

MOST_UNITED = 4  # sure groups, or pictures that are in none, that doubtful pairs unite to one group
SMALLER_SIDE = 10  # pictures; two larger groups are not united for a doubtful pair between them
FEWEST_GROUPS = 20  # of a class that doubtful pairs leave: folds need them

Paths = tuple[str, ...]


@dataclass(slots=True)
class _Group:
    paths: list[str]
    labels: set[str]
    united: int = 1


def with_doubtful(catalog: Catalog, tied: Sequence[Paths], doubtful: Iterable[NearPair]) -> tuple[Paths, ...]:
    """The groups of a split: ``tied``, united where doubtful pairs lead from one to the other.

    Args:
        catalog: says which pictures are usable, and their labels.
        tied: disjoint groups of usable paths, see `leaks.tied_groups`.
        doubtful: from `audit`; the likest are heard first, and pairs with a picture that is not usable are passed over.

    Returns:
        Disjoint groups of two or more paths, sorted.
    """
    group_of = _groups(catalog, tied)
    left = Counter(label for group in {id(g): g for g in group_of.values()}.values() for label in group.labels)
    for pair in sorted(doubtful, key=lambda p: (-p.similarity, p.first, p.second)):
        if pair.first not in group_of or pair.second not in group_of:
            continue
        larger, smaller = sorted((group_of[pair.first], group_of[pair.second]), key=lambda g: -len(g.paths))
        if not _may_unite(larger, smaller, left):
            continue
        left.subtract(larger.labels & smaller.labels)
        larger.paths += smaller.paths
        larger.labels |= smaller.labels
        larger.united += smaller.united
        group_of.update(dict.fromkeys(smaller.paths, larger))
    found = {tuple(sorted(group.paths)) for group in group_of.values()}
    return tuple(sorted(paths for paths in found if len(paths) > 1))


def _groups(catalog: Catalog, tied: Sequence[Paths]) -> dict[str, _Group]:
    """The group of each usable picture, alone where nothing ties it."""
    label_of = {record.path: record.label for record in catalog.records if record.state == "ok"}
    group_of = {path: _Group([path], {label}) for path, label in label_of.items()}
    for paths in tied:
        group_of.update(dict.fromkeys(paths, _Group(list(paths), {label_of[path] for path in paths})))
    return group_of


def _may_unite(larger: _Group, smaller: _Group, left: Counter[str]) -> bool:
    return (
        larger is not smaller
        and len(smaller.paths) <= SMALLER_SIDE
        and larger.united + smaller.united <= MOST_UNITED
        and (smaller.labels <= larger.labels or larger.labels <= smaller.labels)
        and all(left[label] > FEWEST_GROUPS for label in larger.labels & smaller.labels)
    )
