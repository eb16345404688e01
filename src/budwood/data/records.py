"""The nouns of the data layer: `ImageRecord`, `Catalog`, `Finding`. Values only, no reading of files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from budwood.files import sha256_bytes

State = Literal["ok", "unreadable", "excluded"]
Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One picture file and what the scan found out about it.

    ``path`` is relative to the catalog's root, with ``/``, escaped by `files.escape_name`; it is the record's id
    in every file that a run writes. ``group`` and ``part`` (train, val, test) are the user's own, empty where he
    gave none. ``width`` and ``height`` are pixels after the EXIF turn; what follows ``format`` is explained in
    `measures.Measures`. Unreadable records have digests of their bytes only, zero size, and say why in ``reason``;
    so do excluded ones, and relabelled ones whose state is ``ok``.
    """

    path: str
    label: str
    group: str = ""
    part: str = ""
    state: State = "ok"
    reason: str = ""
    num_bytes: int = 0
    file_digest: str = ""
    pixel_digest: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    brightness: float = 0.0
    contrast: float = 0.0
    sharpness: float = 0.0
    red: float = 0.0
    green: float = 0.0
    blue: float = 0.0
    shadow: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All pictures below ``root``, ordered by path, and the class names, sorted.

    ``ignored`` names what the scan passed over (hidden files, ``__MACOSX``, files that are no pictures) with reasons.
    """

    root: Path
    records: tuple[ImageRecord, ...]
    classes: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of (path, label, pixels) of all records: equal exactly when the data are equal."""
        lines = "\n".join(f"{r.path}\0{r.label}\0{r.state}\0{r.pixel_digest}" for r in self.records)
        return sha256_bytes(lines.encode("utf-8"))

    @cached_property
    def targets(self) -> tuple[int, ...]:
        """The class index of each record."""
        index = {name: i for i, name in enumerate(self.classes)}
        return tuple(index[r.label] for r in self.records)

    def counts(self) -> dict[str, int]:
        """Pictures per class, in the order of ``classes``."""
        found = Counter(r.label for r in self.records)
        return {name: found[name] for name in self.classes}

    def usable(self) -> Catalog:
        """The catalog of the records whose state is ``ok``; classes are kept."""
        return replace(self, records=tuple(r for r in self.records if r.state == "ok"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something an audit found: which records, which check, how bad, and the evidence in the user's words.

    For duplicates, ``paths`` is one connected component. ``evidence`` is a sentence; ``score`` orders findings of one
    check (larger is more certain); ``suggestion`` is the class that the pictures seem to be of, where a check has an
    opinion on that.
    """

    check: str
    severity: Severity
    paths: tuple[str, ...]
    evidence: str
    score: float = 0.0
    suggestion: str = ""
