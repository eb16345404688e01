"""One pure function per problem: records in, `Finding`s out. Nothing is read from disk, nothing is removed.

`CHECKS` needs the catalog only. `find_near_duplicates` is handed the pairs that `audit` found, and
`preferred_orientation` the features that the pipeline computed, so that this layer knows no network.
Only records whose state is ``ok`` are judged. The checks are meant to be precise rather than greedy.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from budwood.data.orientation import Orientation, preferred_orientation
from budwood.data.records import Catalog, Finding, ImageRecord, Severity

__all__ = [
    "CHECKS",
    "Check",
    "NearPair",
    "Orientation",
    "components",
    "exact_groups",
    "find_class_counts",
    "find_exact_duplicates",
    "find_near_duplicates",
    "find_odd_dimensions",
    "find_too_bright",
    "find_too_dark",
    "find_unreadable",
    "preferred_orientation",
]

MODAL_SHARE = 0.6  # a size or shape is "the usual one" when this part of the pictures has it
ODD_SHARE = 0.02  # and another is odd when at most this part has it (or one picture among 20 or more)
ODD_RATIO = 1.25  # and a side, or the aspect, is off by this factor: 640 x 480 among 641 x 480 is not odd
MIN_FOR_ODD = 20  # pictures; below, no size is usual
DARK, BRIGHT = 40.0, 225.0  # mean luma, 0-255: beyond it a picture may be too dark or too bright
BLACK, WHITE = 8.0, 250.0  # mean luma of a frame with hardly anything on it
OUTLIER_MADS = 5.0  # robust standard deviations from the median; a normal tail has 1 in 1.7 million there
MIN_DISTANCE = 30.0  # grey levels from the median, whatever the spread: dark data stay unflagged
SMALL_CLASS = 10  # pictures: fewer leave one or none for each of val and test
IMBALANCE_INFO, IMBALANCE_WARNING = 3.0, 10.0  # largest class : smallest class

Check = Callable[[Catalog], list[Finding]]
T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPair:
    """Two pictures, by path, that show the same; ``transform`` says how one becomes the other."""

    first: str
    second: str
    similarity: float
    transform: str


def find_unreadable(catalog: Catalog) -> list[Finding]:
    """One finding per file that could not be decoded."""
    return [
        Finding(check="unreadable", severity="warning", paths=(r.path,), evidence=r.reason, score=1.0)
        for r in catalog.records
        if r.state == "unreadable"
    ]


def exact_groups(catalog: Catalog) -> tuple[tuple[str, ...], ...]:
    """Paths of readable pictures with equal bytes or equal pixels, in groups of two or more."""
    by_pixels: dict[str, list[str]] = defaultdict(list)
    for record in _readable(catalog):
        by_pixels[record.pixel_digest or record.file_digest].append(record.path)  # equal bytes: equal pixels
    return tuple(tuple(paths) for paths in by_pixels.values() if len(paths) > 1)


def find_exact_duplicates(catalog: Catalog) -> list[Finding]:
    """One finding per group of equal pictures; an error when their labels differ."""
    records = {record.path: record for record in catalog.records}
    findings = []
    for paths in exact_groups(catalog):
        same_bytes = len({records[path].file_digest for path in paths}) == 1
        evidence = f"{len(paths)} files hold the same {'bytes' if same_bytes else 'pixels'}"
        findings.append(_duplicates("exact_duplicate", paths, records, evidence=evidence, score=1.0))
    return findings


def find_near_duplicates(catalog: Catalog, pairs: Sequence[NearPair]) -> list[Finding]:
    """One finding per connected component of near pairs; equal pictures in it are named too."""
    records = {record.path: record for record in catalog.records}
    by_path: dict[str, list[NearPair]] = defaultdict(list)
    for pair in pairs:
        by_path[pair.first].append(pair)
    findings = []
    for paths in components([*exact_groups(catalog), *((p.first, p.second) for p in pairs)]):
        inside = [pair for path in paths for pair in by_path[path]]
        if inside:
            how = ", ".join(name for name, _ in Counter(p.transform for p in inside).most_common())
            weakest = min(pair.similarity for pair in inside)
            evidence = f"{len(paths)} pictures show the same ({how}; similarity {weakest:.2f} or more)"
            findings.append(_duplicates("near_duplicate", paths, records, evidence=evidence, score=weakest))
    return findings


def components(links: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The connected components of paths that are tied by ``links``: sorted, each of two or more paths."""
    parent: dict[str, str] = {}

    def top(path: str) -> str:
        parent.setdefault(path, path)
        while parent[path] != path:
            parent[path] = parent[parent[path]]
            path = parent[path]
        return path

    for link in links:
        for path in link:
            parent[top(path)] = top(link[0])
    members: dict[str, list[str]] = defaultdict(list)
    for path in sorted(parent):
        members[top(path)].append(path)
    return tuple(sorted(tuple(paths) for paths in members.values() if len(paths) > 1))


def find_odd_dimensions(catalog: Catalog) -> list[Finding]:
    """Pictures of a rare size beside one usual size; where sizes vary, of a rare shape beside a usual one."""
    records = _readable(catalog)
    if len(records) < MIN_FOR_ODD:
        return []
    # Portrait and landscape of one camera are one size.
    sizes = [(max(r.width, r.height), min(r.width, r.height)) for r in records]
    usual, count = Counter(sizes).most_common(1)[0]
    if count >= MODAL_SHARE * len(records):
        odd = _rare(sizes, lambda size: _off(size[0], usual[0]) or _off(size[1], usual[1]))
        common = f"{count} of {len(records)} pictures have {usual[0]} x {usual[1]} pixels"
    else:
        shapes = [round(long / short, 1) for long, short in sizes]
        shape, count = Counter(shapes).most_common(1)[0]
        if count < MODAL_SHARE * len(records):
            return []
        odd = _rare(shapes, lambda value: _off(value, shape))
        common = f"the sides of {count} of {len(records)} pictures are as {shape:g} to 1"
    return [
        Finding(
            check="odd_dimensions",
            severity="info",
            paths=(records[i].path,),
            evidence=f"{records[i].width} x {records[i].height} pixels; {common}",
            score=max(_ratio(sizes[i][0], usual[0]), _ratio(sizes[i][1], usual[1])),
        )
        for i in odd
    ]


def find_too_dark(catalog: Catalog) -> list[Finding]:
    """Pictures that are dark in themselves and far below what is usual in these data."""
    return _brightness_findings(catalog, check="too_dark", sign=-1)


def find_too_bright(catalog: Catalog) -> list[Finding]:
    """Pictures that are bright in themselves and far above what is usual in these data."""
    return _brightness_findings(catalog, check="too_bright", sign=1)


def find_class_counts(catalog: Catalog) -> list[Finding]:
    """Classes with few readable pictures, and an imbalance of classes. These findings name no pictures."""
    counts = catalog.usable().counts()
    findings = [
        Finding(
            check="class_counts",
            severity="warning",
            paths=(),
            evidence=f'class "{name}" has {count} readable picture{"" if count == 1 else "s"};'
            f" its score will mean little below {SMALL_CLASS}: add pictures",
            score=1.0 - count / SMALL_CLASS,
        )
        for name, count in counts.items()
        if count < SMALL_CLASS
    ]
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    ratio = counts[largest] / max(1, counts[smallest])
    if ratio >= IMBALANCE_INFO:
        evidence = (
            f'"{largest}" has {counts[largest]} pictures, "{smallest}" {counts[smallest]}'
            f" ({ratio:.3g} times fewer): read the balanced accuracy"
        )
        severity: Severity = "warning" if ratio >= IMBALANCE_WARNING else "info"
        findings.append(Finding(check="class_counts", severity=severity, paths=(), evidence=evidence, score=ratio))
    return findings


CHECKS: dict[str, Check] = {
    "class_counts": find_class_counts,
    "exact_duplicate": find_exact_duplicates,
    "odd_dimensions": find_odd_dimensions,
    "too_bright": find_too_bright,
    "too_dark": find_too_dark,
    "unreadable": find_unreadable,
}


def _readable(catalog: Catalog) -> list[ImageRecord]:
    return [record for record in catalog.records if record.state == "ok"]


def _duplicates(
    check: str, paths: tuple[str, ...], records: dict[str, ImageRecord], *, evidence: str, score: float
) -> Finding:
    labels = sorted({records[path].label for path in paths})
    if len(labels) > 1:
        evidence += f", but the labels differ: {', '.join(labels)}"
    severity: Severity = "error" if len(labels) > 1 else "warning"
    return Finding(check=check, severity=severity, paths=paths, evidence=evidence, score=score)


def _rare(values: Sequence[T], far: Callable[[T], bool]) -> list[int]:
    counts = Counter(values)
    most = max(1, int(ODD_SHARE * len(values)))
    return [i for i, value in enumerate(values) if counts[value] <= most and far(value)]


def _ratio(value: float, usual: float) -> float:
    return max(value / usual, usual / value)


def _off(value: float, usual: float) -> bool:
    return _ratio(value, usual) >= ODD_RATIO


def _brightness_findings(catalog: Catalog, *, check: str, sign: int) -> list[Finding]:
    """``sign`` +1 looks at the bright end, -1 at the dark end."""
    records = _readable(catalog)
    if not records:
        return []
    values = np.array([record.brightness for record in records])
    median = float(np.median(values))
    # 1.4826: the median absolute deviation of a normal distribution is its standard deviation over this.
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    distance = sign * (values - median)
    extreme, blank = (BRIGHT, WHITE) if sign > 0 else (DARK, BLACK)
    outlying = (sign * (values - extreme) > 0) & (distance > OUTLIER_MADS * spread)
    flagged = (distance > MIN_DISTANCE) & (outlying | (sign * (values - blank) > 0))
    return [
        Finding(
            check=check,
            severity="info",
            paths=(records[i].path,),
            evidence=f"mean brightness {values[i]:.0f} of 255; half of the pictures are "
            f"{'above' if sign < 0 else 'below'} {median:.0f}",
            score=float(distance[i]),
        )
        for i in np.flatnonzero(flagged).tolist()
    ]
