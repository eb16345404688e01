"""The user's own division into train, val and test: which words mean a part, and what such a division must hold.

Leaks between the parts are not looked for here; that needs the pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from budwood.data.inputs.listing import Entry
from budwood.errors import DataError

PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def part_of_word(word: str) -> str | None:
    """``train``, ``val`` or ``test`` for the words that mean one, in any case; else None."""
    return PARTS.get(word.strip().lower())


def check_parts(entries: Iterable[Entry], *, where: str) -> None:
    """Refuse a division that nothing can be learnt and scored with.

    Raises:
        DataError: there is no train part, or nothing beside it, or a class that is not in train.
    """
    counts = Counter((entry.part, entry.label) for entry in entries)
    parts = sorted({part for part, _ in counts})
    if "train" not in parts or len(parts) < 2:
        found = f"only the part {parts[0]}" if len(parts) == 1 else f"the parts {', '.join(parts)} but no train"
        raise DataError(f"{where} holds {found}; your own division needs train and at least one of val and test")
    unknown = [(label, part, n) for (part, label), n in sorted(counts.items()) if ("train", label) not in counts]
    if unknown:
        label, part, number = unknown[0]
        more = f", and {len(unknown) - 1} more of the kind" if len(unknown) > 1 else ""
        raise DataError(
            f'{where}: the class "{label}" is in {part} ({number} pictures) but not in train{more}. A network cannot'
            " answer with a class that it never saw: add it to train, take it out, or correct its name"
        )
