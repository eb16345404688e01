"""What belongs together, and where a split tears it apart. It looks only; `split.py` refuses or repairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from budwood.data.checks import components
from budwood.data.records import Catalog, ImageRecord
from budwood.data.split_nouns import PARTS, Split

Groups = Sequence[Sequence[str]]
Why = Literal["equal", "near-duplicate", "same group"]
_SHOWN = 3  # leaks that an error names; a table shows them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Pictures that belong together and lie in several parts: ``parts[i]`` is where ``paths[i]`` lies.

    why: the strongest reason between two parts: equal pixels, a near-duplicate, or one group of the user's.
    """

    paths: tuple[str, ...]
    parts: tuple[str, ...]
    why: Why

    @property
    def pair(self) -> tuple[str, str]:
        """Two of the pictures in two parts, each with its part in brackets."""
        first = f"{self.paths[0]} ({self.parts[0]})"
        return first, next(f"{p} ({t})" for p, t in zip(self.paths, self.parts, strict=True) if t != self.parts[0])


def tied_groups(catalog: Catalog, groups: Groups) -> tuple[tuple[str, ...], ...]:
    """``groups``, equal pictures and the records' own groups, united: paths of usable records, two or more each."""
    usable = {record.path for record in catalog.records if record.state == "ok"}
    by_group: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in catalog.records:
        for kind, key in (("group", record.group), ("pixels", record.pixel_digest)):
            if key and record.state == "ok":
                by_group[kind, key].append(record.path)
    own = (paths for paths in by_group.values() if len(paths) > 1)
    # A picture that was left out still ties its two neighbours: both look like it.
    tied = components([*(group for group in groups if group), *own])
    kept = (tuple(path for path in paths if path in usable) for paths in tied)
    return tuple(paths for paths in kept if len(paths) > 1)


def find_leaks(split: Split, catalog: Catalog, groups: Groups) -> tuple[Leak, ...]:
    """Every group of pictures that a split tears apart, ordered by path; its own list of groups is not believed.

    Args:
        groups: paths that show the same, from `audit`; equal pictures and the records' own groups are added.
    """
    part_of = {catalog.records[i].path: part for part in PARTS for i in split.parts.get(part, ())}
    records = {record.path: record for record in catalog.records}
    group_of = {path: i for i, group in enumerate(groups) for path in group}
    found = []
    for tied in tied_groups(catalog, groups):
        paths = tuple(path for path in tied if path in part_of)
        parts = tuple(part_of[path] for path in paths)
        if len(set(parts)) > 1:
            why = _why([records[path] for path in paths], parts, group_of)
            found.append(Leak(paths=paths, parts=parts, why=why))
    return tuple(found)


def describe_leaks(leaks: Sequence[Leak]) -> str:
    """How many groups straddle the parts, and the first few of them; no final point."""
    counted = "1 group of pictures" if len(leaks) == 1 else f"{len(leaks)} groups of pictures"
    shown = "; ".join(f"{' and '.join(leak.pair)}: {leak.why}" for leak in leaks[:_SHOWN])
    more = f"; and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
    return f"{counted} that belong together but lie in two parts, so that scores would be too good: {shown}{more}"


def _why(records: Sequence[ImageRecord], parts: Sequence[str], group_of: Mapping[str, int]) -> Why:
    by_digest, by_near = defaultdict(set), defaultdict(set)
    for record, part in zip(records, parts, strict=True):
        if record.pixel_digest:
            by_digest[record.pixel_digest].add(part)
        if record.path in group_of:
            by_near[group_of[record.path]].add(part)
    if any(len(where) > 1 for where in by_digest.values()):
        return "equal"
    return "near-duplicate" if any(len(where) > 1 for where in by_near.values()) else "same group"
