"""How a bundle of several members makes one answer of theirs: the seam between ``bundle.json`` and `evaluation`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from budwood.errors import SettingsError
from budwood.evaluation.class_tree import ClassTree
from budwood.evaluation.ensemble import Combine, combine
from budwood.export.bundle_facts import BundleFacts, Kind

# Tables [N, K_m], one a member, in the members' own classes -> [N, K].
Join = Callable[[Sequence[NDArray[np.float32]]], NDArray[np.float32]]


def ensemble_join(facts: BundleFacts, member_classes: Sequence[tuple[str, ...]]) -> Join:
    """The mean, vote or whatever ``facts.combine`` says; members' classes are matched by name.

    Raises:
        ValueError: a member knows other classes, or ``facts.combine`` is for other members.
    """
    how = Combine.from_dict(facts.combine)
    how.check(members=len(member_classes), classes=len(facts.classes))
    columns = [_columns(facts.classes, own, member) for own, member in zip(member_classes, facts.members, strict=True)]

    def join(tables: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return combine(np.stack([table[:, own] for table, own in zip(tables, columns, strict=True)]), how)

    return join


def cascade_join(facts: BundleFacts, member_classes: Sequence[tuple[str, ...]]) -> Join:
    """Conditional probabilities along the tree ``facts.combine["tree"]``; member d answers its decision d.

    Raises:
        ValueError: it is no tree of these classes, or a member does not know the branches of its decision.
    """
    try:
        tree = ClassTree(facts.combine["tree"], classes=facts.classes)
    except (KeyError, TypeError, SettingsError, RecursionError) as error:
        raise ValueError(f"there is no class tree for these classes ({error})") from error
    branches = [decision.labels for decision in tree.decisions]
    if len(branches) != len(member_classes):
        raise ValueError(f"the class tree makes {len(branches)} decisions, and there are {len(member_classes)} members")
    columns = [
        _columns(labels, own, member)
        for labels, own, member in zip(branches, member_classes, facts.members, strict=True)
    ]

    def join(tables: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return tree.join([table[:, own] for table, own in zip(tables, columns, strict=True)])

    return join


def _columns(classes: tuple[str, ...], own: tuple[str, ...], member: str) -> list[int]:
    if set(own) != set(classes):
        odd = sorted(set(own) ^ set(classes))
        raise ValueError(f'the member {member} and the whole do not know the same classes: "{odd[0]}" is in one only')
    return [own.index(name) for name in classes]


# How bundles of each kind with members join them; a network has none.
JOINS: dict[Kind, Callable[[BundleFacts, Sequence[tuple[str, ...]]], Join]] = {
    "ensemble": ensemble_join,
    "cascade": cascade_join,
}
