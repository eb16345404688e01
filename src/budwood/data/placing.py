"""Units that must stay together -> parts of wished sizes per class. The inner part of `split.py`: numbers only.

Which unit goes where follows from the seed and the units' own keys, not from a shuffle, so that nothing hangs on the
order of the files, and most pictures keep their part when some are added.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from budwood.data.records import Catalog
from budwood.errors import SplitError

ATTEMPTS = 20  # other orders to try when units with several labels leave a class without a part


@dataclass(frozen=True, slots=True)
class Unit:
    """Records that must stay together: their indices, and how many of each class they hold."""

    key: str
    indices: tuple[int, ...]
    counts: Mapping[str, int]


def units_of(catalog: Catalog, tied: Sequence[Sequence[str]], *, rows: Iterable[int]) -> list[Unit]:
    """The records ``rows`` as units; ``tied`` are disjoint groups of paths."""
    number = {path: i for i, paths in enumerate(tied) for path in paths}
    members: dict[int | str, list[int]] = defaultdict(list)
    records = catalog.records
    for index in rows:
        path = records[index].path
        members[number.get(path, path)].append(index)
    return [
        Unit(min(records[i].path for i in indices), tuple(indices), Counter(records[i].label for i in indices))
        for indices in members.values()
    ]


def rounded_share(count: int, share: float) -> int:
    """``share`` of ``count`` pictures, halves rounded up, at least one."""
    return max(1, math.floor(count * share + 0.5))


def check_enough(units: Sequence[Unit], classes: Sequence[str], *, need: int, why: str) -> None:
    """Refuse classes that have fewer than ``need`` units; ``why`` begins the sentence ("5 folds need").

    Raises:
        SplitError: names the class and what it has.
    """
    distinct: Counter[str] = Counter()
    pictures: Counter[str] = Counter()
    for unit in units:
        distinct.update(unit.counts.keys())
        pictures.update(unit.counts)
    for name in classes:
        if distinct[name] < need:
            found = f"{pictures[name]} picture{'' if pictures[name] == 1 else 's'}"
            if distinct[name] < pictures[name]:
                found += f", {distinct[name]} of them distinct"
            raise SplitError(
                f'class "{name}" has {found}; {why} at least {need} distinct ones'
                " (near-duplicates count once): add pictures or merge classes"
            )


def place(units: Sequence[Unit], targets: Mapping[str, Sequence[float]], *, seed: int) -> list[tuple[int, ...]]:
    """The indices of each part; other orders are tried when units of several classes leave one uncovered.

    Args:
        units: disjoint.
        targets: for each class, how many of its pictures are wanted in each part.
        seed: another seed gives other parts.

    Raises:
        SplitError: no order was found in which every class is in every part.
    """
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
    units: Sequence[Unit], targets: Mapping[str, Sequence[float]], *, salt: str
) -> list[tuple[int, ...]] | None:
    """Hand each unit, the hardest to place first, to the part that it brings closest to its targets.

    A class whose remaining units are only as many as the parts still without it goes to those parts.
    """
    num = len(next(iter(targets.values())))
    counts = {name: [0] * num for name in targets}
    totals = {name: sum(wanted) for name, wanted in targets.items()}
    left = Counter(label for unit in units for label in unit.counts)
    parts: list[list[int]] = [[] for _ in range(num)]

    def cost(unit: Unit, part: int) -> tuple[float, int]:
        # The change of sum((count - target)^2 / target), without what is equal for all parts.
        change = sum(
            size * (size + 2 * (counts[label][part] - targets[label][part])) / totals[label]
            for label, size in unit.counts.items()
        )
        return round(change, 9), len(parts[part])

    rank = {unit.key: _rank(salt, unit.key) for unit in units}
    order = sorted(units, key=lambda u: (-len(u.counts), -len(u.indices), rank[u.key]))
    for unit in order:
        allowed = set(range(num))
        for label in unit.counts:
            without = {part for part in range(num) if not counts[label][part]}
            if left[label] <= len(without):
                allowed = allowed & without or without
            left[label] -= 1
        costs = {part: cost(unit, part) for part in allowed}
        least = min(costs.values())
        tied = [part for part in allowed if costs[part] == least]
        chosen = tied[0] if len(tied) == 1 else min(tied, key=lambda part: _rank(salt, f"{unit.key}\0{part}"))
        parts[chosen] += unit.indices
        for label, size in unit.counts.items():
            counts[label][chosen] += size
    covered = all(all(placed) for placed in counts.values())
    return [tuple(sorted(part)) for part in parts] if covered else None


def _rank(salt: str, key: str) -> str:
    return hashlib.sha256(f"{salt}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()
