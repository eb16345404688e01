"""A tree of classes, and how the answers of its decisions are joined into one table of class probabilities.

Each inner node is one decision among its branches (``Species1`` or the rest; then which of the rest). The probability
of a class is the product of the probabilities along its path: P(class) = P(branch) * P(class | branch). Nothing here
trains or loads a model: a decision arrives as its table of probabilities.

Reference: E. Frank, S. Kramer, Ensembles of nested dichotomies for multi-class problems, ICML 2004 (for binary trees).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from budwood.errors import SettingsError

_NAMED = 2  # so many members of a group are named before "and n more"


class CascadeSpec(BaseModel):
    """Which decisions a cascade makes; give one of the two.

    first: classes that are asked for one after the other, each against all that are left; a name or a list of names.
    tree: nested lists of class names, each class once: ``[["oak", "beech"], ["rose"]]``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str | tuple[str, ...] = ()
    tree: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _not_both(self) -> CascadeSpec:
        if self.first and self.tree:
            raise ValueError("first and tree both say what is decided: drop one of them")
        return self

    def tree_of(self, classes: Sequence[str]) -> ClassTree:
        """The tree over the classes of some pictures.

        Raises:
            SettingsError: neither is given, or it does not fit these classes.
        """
        if self.tree:
            return ClassTree(self.tree, classes=classes)
        if not self.first:
            raise SettingsError(
                "a cascade needs to know what it decides first: give --set cascade.first=CLASS, or cascade.tree; the"
                f" classes are {', '.join(classes)}"
            )
        return ClassTree.first((self.first,) if isinstance(self.first, str) else self.first, classes=classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One inner node.

    branches: the classes below each branch, in the order of its table's columns. labels: the branches' names, all
    different: a class's own name, or its group's.
    """

    branches: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes below the node."""
        return tuple(name for branch in self.branches for name in branch)


class ClassTree:
    """Decisions over classes, outermost first; ``decisions[0]`` sees every picture.

    Args:
        tree: nested sequences of class names; each class once. A list with one entry is that entry.
        classes: the order of the classes in the joined table.

    Raises:
        SettingsError: a class is missing, unknown or named twice, or the tree decides nothing.
    """

    def __init__(self, tree: Sequence[Any], *, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._tree = _tidy(tree)
        _check(list(_leaves(self._tree)), self.classes, self._tree)
        self._nodes: list[tuple[Any, ...]] = []
        _collect(self._tree, self._nodes)
        self.decisions = tuple(_decision(node) for node in self._nodes)

    @classmethod
    def first(cls, names: Sequence[str], *, classes: Sequence[str]) -> ClassTree:
        """One class after the other against all that is left: a chain of decisions.

        Raises:
            SettingsError: a name is no class or named twice, or fewer than two classes are left.
        """
        left = [name for name in classes if name not in names]
        unknown = [name for name in names if name not in classes]
        if unknown or len(left) < 2 or len(set(names)) < len(names):
            raise SettingsError(
                f"cascade.first names {', '.join(names) or 'no class'} of the classes {', '.join(classes)}: give some"
                " of them, each once, and leave at least two"
            )
        tree: list[Any] = left
        for name in reversed(names):
            tree = [name, tree]
        return cls(tree, classes=classes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values that `from_dict` reads."""
        return {"tree": _as_lists(self._tree), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ClassTree:
        """Read what `to_dict` gave.

        Raises:
            SettingsError: the values are no tree of classes.
        """
        try:
            return cls(values["tree"], classes=values["classes"])
        except (KeyError, TypeError) as error:
            raise SettingsError(
                f'a class tree is {{"tree": nested lists, "classes": names}}, found {values!r}'
            ) from error

    def targets(self, decision: int, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """The branch ``[N]`` that is right at a decision for pictures of the given classes; -1 where it is not asked.

        Args:
            decision: its number.
            targets: ``[N]`` indices into `classes`.
        """
        branch_of = np.full(len(self.classes), -1, dtype=np.int64)
        for branch, names in enumerate(self.decisions[decision].branches):
            branch_of[[self.classes.index(name) for name in names]] = branch
        return np.asarray(branch_of[targets], dtype=np.int64)

    def join(self, tables: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Class probabilities from the decisions' tables.

        Args:
            tables: for decision d the probabilities ``[N, branches of d]`` of all N pictures, also of those that the
                decisions above send elsewhere.

        Returns:
            ``[N, K]`` float32 in the order of `classes`; rows sum to 1 where the tables' rows do.

        Raises:
            ValueError: not one table a decision, or one with another number of rows or columns.
        """
        shapes = [table.shape for table in tables]
        rows = shapes[0][0] if shapes and len(shapes[0]) == 2 else 0
        expected = [(rows, len(decision.branches)) for decision in self.decisions]
        if shapes != expected:
            raise ValueError(f"tables of shapes {shapes}: this tree needs {expected}")
        out = np.ones((rows, len(self.classes)), dtype=np.float64)
        for table, decision in zip(tables, self.decisions, strict=True):
            for column, names in enumerate(decision.branches):
                for name in names:
                    out[:, self.classes.index(name)] *= table[:, column].astype(np.float64)
        return out.astype(np.float32)

    def __str__(self) -> str:
        return "; then ".join(" / ".join(decision.labels) for decision in self.decisions)


def _tidy(branch: Any) -> Any:
    """Tuples all through; a list with one entry is that entry, but at the very top.

    Raises:
        SettingsError: an entry is neither a name nor a list with entries.
    """
    if isinstance(branch, str):
        return branch
    if not isinstance(branch, list | tuple) or not branch:
        raise SettingsError(f"a class tree holds {branch!r}; expected class names and lists of them, none empty")
    inner = tuple(_tidy(part) for part in branch)
    return inner[0] if len(inner) == 1 else inner


def _leaves(branch: Any) -> Iterator[str]:
    if isinstance(branch, str):
        yield branch
    else:
        for part in branch:
            yield from _leaves(part)


def _check(leaves: list[str], classes: tuple[str, ...], tree: Any) -> None:
    if isinstance(tree, str):
        raise SettingsError(f"the class tree holds one class, {tree}: there is nothing to decide; name all classes")
    twice = sorted({name for name in leaves if leaves.count(name) > 1})
    missing = [name for name in classes if name not in leaves]
    unknown = [name for name in leaves if name not in classes]
    faults = [
        f"{what} {', '.join(names)}"
        for what, names in (("twice:", twice), ("missing:", missing), ("no class of these pictures:", unknown))
        if names
    ]
    if faults:
        raise SettingsError(
            f"the class tree must name each class once ({'; '.join(faults)}); the classes are {', '.join(classes)}"
        )


def _collect(node: tuple[Any, ...], into: list[tuple[Any, ...]]) -> None:
    into.append(node)
    for branch in node:
        if not isinstance(branch, str):
            _collect(branch, into)


def _decision(node: tuple[Any, ...]) -> Decision:
    branches = tuple(tuple(_leaves(branch)) for branch in node)
    labels: list[str] = []
    taken = {branch for branch in node if isinstance(branch, str)}
    for branch, names in zip(node, branches, strict=True):
        label = branch if isinstance(branch, str) else _group_name(names)
        while not isinstance(branch, str) and label in taken:  # a class may have the very name of a group
            label += "'"
        taken.add(label)
        labels.append(label)
    return Decision(branches=branches, labels=tuple(labels))


def _group_name(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return " + ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _as_lists(branch: Any) -> Any:
    return branch if isinstance(branch, str) else [_as_lists(part) for part in branch]
