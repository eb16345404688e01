"""A split as JSON that a person can read and edit: paths by part and left out, counts, seed, fingerprint, tied groups.

Reading checks that the paths are of this catalog; whether the split leaks is `split.check_split`'s matter.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from budwood.data.records import Catalog
from budwood.data.split_nouns import PARTS, Split
from budwood.errors import SplitError
from budwood.files import read_json, write_json


def write_split(split: Split, catalog: Catalog, path: Path) -> None:
    """Write ``split`` of ``catalog`` to ``path``, atomically."""
    records = catalog.records
    counts = {part: Counter(records[i].label for i in indices) for part, indices in split.parts.items()}
    values: dict[str, Any] = {
        "seed": split.seed,
        "fingerprint": split.catalog_fingerprint,
        "counts": {part: {name: found[name] for name in catalog.classes} for part, found in counts.items()},
        "parts": {part: [records[i].path for i in indices] for part, indices in split.parts.items()},
        "tied": [list(group) for group in split.groups],
    }
    if split.left_out:
        values["left_out"] = [records[i].path for i in split.left_out]
    write_json(path, values)


def read_split(path: Path, catalog: Catalog) -> Split:
    """Read what `write_split` wrote; call `check_split` before using it.

    Raises:
        IntegrityError: the file is missing or holds no JSON.
        SplitError: a part, a path or the form is not what a split of this catalog holds.
    """
    values = read_json(path)
    try:
        named: dict[str, list[str]] = {part: _texts(values["parts"][part]) for part in PARTS}
        seed, fingerprint = int(values["seed"]), str(values["fingerprint"])
        groups = tuple(tuple(_texts(group)) for group in values["tied"])
        out = _texts(values.get("left_out", []))
        others = sorted(set(values["parts"]) - set(PARTS))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SplitError(
            f"{path} is no split: expected seed, fingerprint, tied, and parts with {', '.join(PARTS)}; make a new one"
        ) from error
    if others:
        raise SplitError(f"{path} names the part {others[0]!r}; expected {', '.join(PARTS)}")
    index = {record.path: i for i, record in enumerate(catalog.records)}
    part_of: dict[str, str] = {}
    for part, paths in (*named.items(), ("left_out", out)):
        for name in paths:
            if name not in index:
                raise SplitError(f"{path}: {part} names {name}, which is not among these pictures; make a new split")
            if name in part_of:
                raise SplitError(f"{path}: {name} is in {part_of[name]} and again in {part}; name each picture once")
            part_of[name] = part
    parts = {part: tuple(sorted(index[name] for name in paths)) for part, paths in named.items()}
    left_out = tuple(sorted(index[name] for name in out))
    return Split(parts=parts, seed=seed, catalog_fingerprint=fingerprint, groups=groups, left_out=left_out)


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("expected a list of texts")
    return values
