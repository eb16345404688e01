"""An audit -> one self-contained HTML page: no script, nothing remote, bounded in size whatever was found.

It shows what `data.audit` found and judges nothing itself. Names of files and classes are hostile input, see
`templating`. Pictures come from the caller as JPEG bytes; those that do not fit are counted, not shown.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from budwood.data.audit import SEVERITIES, AuditResult
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding, ImageRecord, Severity
from budwood.report import audit_opinion, audit_plots, plots
from budwood.report.audit_plots import Measure
from budwood.report.check_words import CheckWords, words_of
from budwood.report.data import ClassSummary, Command, DatasetSummary, Picture
from budwood.report.templating import Wide, both, environment, printable, stylesheet

PICTURES, SETS, MEMBERS, NOTES = 36, 24, 6, 40  # shown of one check, and of one set
MAX_PICTURE_BYTES = 9_000_000  # of all pictures on the page; base64 makes 12 MB of it
_EXAMPLES, _CLASSES_WITH_EXAMPLES = 6, 40
_CLASSES_DRAWN = 80  # beyond, only the smallest classes are drawn
_LONG = 400  # characters of one sentence of evidence

Pictures = Callable[[str], "bytes | None"]

# The measures that are drawn, and the checks that name pictures by them.
_MEASURES: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("brightness", "brightness", "dark", "bright", ("too_dark", "too_bright")),
    ("contrast", "contrast", "flat", "hard", ("low_contrast",)),
    ("sharpness", "sharpness", "soft", "crisp", ("blurred",)),
    ("warmth", "colour", "blue", "red", ("colour_cast",)),
    ("shadow", "deep shade", "none", "much", ("strong_shadow",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture with what was found about it."""

    picture: Picture
    evidence: str = ""
    suggestion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSet:
    """Pictures that were found together; ``total`` counts also those that are not shown."""

    pictures: tuple[Picture, ...]
    evidence: str
    suggestion: str
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSection:
    """What one check found. ``total`` counts its findings with pictures, ``num_shown`` those on the page."""

    name: str
    words: CheckWords
    severity: Severity
    total: int
    pictures: tuple[Shown, ...] = ()
    sets: tuple[ShownSet, ...] = ()
    notes: tuple[str, ...] = ()
    num_notes: int = 0

    @property
    def num_shown(self) -> int:
        """Findings with pictures that the page shows."""
        return len(self.pictures) + len(self.sets)


@dataclass(slots=True)
class _Album:
    """Fetches pictures until the page is full; what does not fit keeps its caption."""

    records: dict[str, ImageRecord]
    fetch: Pictures
    left: int = MAX_PICTURE_BYTES
    num_left_out: int = 0
    fetched: dict[str, bytes | None] = field(default_factory=dict)

    def picture(self, path: str) -> Picture:
        record = self.records.get(path)
        label = record.label if record else ""
        if record is None or record.state == "unreadable":
            return Picture(path=path, label=label)
        if path not in self.fetched:
            self.fetched[path] = self.fetch(path) if self.left > 0 else None
        image = self.fetched[path]
        if image is not None and len(image) > self.left:
            self.left, image = 0, None
        if image is None:
            self.num_left_out += 1
        self.left -= len(image or b"")
        return Picture(path=path, image=image, label=label)


def render_audit(
    catalog: Catalog,
    result: AuditResult,
    *,
    pictures: Pictures,
    title: str,
    photos: str = "PHOTOS",
    opinion: Opinion | None = None,
    command: str = "",
    when: str = "",
    version: str = "",
) -> str:
    """The whole page as text, to be written as UTF-8. Equal arguments give equal text.

    Args:
        catalog: as scanned, unreadable records included.
        result: what `audit` found in it.
        pictures: path -> JPEG bytes, such as `thumbnails.thumbnail` makes, or None where there is none.
        title: names the pictures, such as the folder's name.
        photos: what stands for them in the commands that are proposed.
        opinion: what a network thinks of the pictures; None leaves out what only it can tell.
        command, when, version: how, when and with what the page was made.
    """
    album = _Album({record.path: record for record in catalog.records}, pictures)
    sections = tuple(_section(check, found, album) for check, found in _by_check(result.findings).items())
    dataset = _dataset(catalog, album)
    readable = [record for record in catalog.records if record.state == "ok"]
    measured = _measures(readable, result.findings)
    clues = audit_opinion.clues(readable, result.findings, opinion) if opinion else ()
    page = (
        environment()
        .get_template("audit.html.j2")
        .render(
            title=title,
            command=command,
            when=when,
            version=version,
            css=stylesheet("look.css", "report.css", "audit.css"),
            catalog=catalog,
            dataset=dataset,
            counts=both(plots.class_counts, _drawn(dataset)) if readable else Wide(),
            not_drawn=max(0, len(dataset.classes) - _CLASSES_DRAWN),
            kinds=_kinds(readable),
            num_bytes=sum(record.num_bytes for record in catalog.records),
            num_unreadable=len(catalog.records) - len(readable),
            num_affected=_num_affected(result.findings),
            severities={s: sum(f.severity == s for f in result.findings) for s in SEVERITIES},
            sections=sections,
            measures=both(audit_plots.measures, measured) if measured else Wide(),
            clues=both(audit_plots.clues, clues) if clues else Wide(),
            backbone=opinion.backbone if opinion else "",
            confusions=audit_opinion.confusions(readable, opinion) if opinion else (),
            num_left_out=album.num_left_out,
            next_commands=_next(result.findings, photos),
        )
    )
    return printable(page)


def _by_check(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings by check: what is decided picture by picture first, the gravest first."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        found[finding.check].append(finding)

    def order(check: str) -> tuple[bool, int, str]:
        worst = min(SEVERITIES.index(f.severity) for f in found[check])
        return (not any(f.paths for f in found[check]), worst, check)

    return {check: found[check] for check in sorted(found, key=order)}


def _section(check: str, found: Sequence[Finding], album: _Album) -> CheckSection:
    words = words_of(check)
    together = [f for f in found if len(f.paths) > 1 or (f.paths and words.shape == "sets")]
    single = [f for f in found if len(f.paths) == 1 and words.shape != "sets"]
    notes = [f.evidence for f in found if not f.paths]
    return CheckSection(
        name=check,
        words=words,
        severity=min((f.severity for f in found), key=SEVERITIES.index),
        total=len(together) + len(single),
        pictures=tuple(
            Shown(picture=album.picture(f.paths[0]), evidence=_cut(f.evidence), suggestion=f.suggestion)
            for f in single[:PICTURES]
        ),
        sets=tuple(
            ShownSet(
                pictures=tuple(album.picture(path) for path in f.paths[:MEMBERS]),
                evidence=_cut(f.evidence),
                suggestion=f.suggestion,
                total=len(f.paths),
            )
            for f in together[:SETS]
        ),
        notes=tuple(_cut(note) for note in notes[:NOTES]),
        num_notes=len(notes),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _dataset(catalog: Catalog, album: _Album) -> DatasetSummary:
    usable = [record for record in catalog.records if record.state == "ok"]
    parts = tuple(part for part in ("train", "val", "test", "") if any(record.part == part for record in usable))
    by_class: dict[str, list[ImageRecord]] = defaultdict(list)
    for record in usable:
        by_class[record.label].append(record)
    classes = []
    for i, name in enumerate(catalog.classes):
        own = by_class[name]
        counts = Counter(record.part for record in own)
        shown = np.linspace(0, len(own) - 1, min(_EXAMPLES, len(own))).astype(int) if i < _CLASSES_WITH_EXAMPLES else ()
        examples = tuple(album.picture(own[int(k)].path) for k in shown)
        summary = ClassSummary(name=name, counts=tuple(counts[part] for part in parts), examples=examples)
        classes.append(summary)
    names = tuple(part or ("no part" if len(parts) > 1 else "all") for part in parts)
    return DatasetSummary(
        num_pictures=len(usable), classes=tuple(classes), parts=names, sizes=_sizes(usable), ignored=catalog.ignored
    )


def _drawn(dataset: DatasetSummary) -> DatasetSummary:
    """What the plot of the classes shows: all of them, or the smallest where they are many."""
    classes = dataset.classes
    if len(classes) > _CLASSES_DRAWN:
        classes = tuple(sorted(classes, key=lambda row: (row.total, row.name))[:_CLASSES_DRAWN])
    return DatasetSummary(num_pictures=dataset.num_pictures, classes=classes, parts=dataset.parts)


def _sizes(records: Sequence[ImageRecord]) -> str:
    counts = Counter((record.width, record.height) for record in records)
    if not counts:
        return "None of them can be read."
    (width, height), most = counts.most_common(1)[0]
    if len(counts) == 1:
        return f"All are {width} × {height} pixels."
    sides = [min(record.width, record.height) for record in records]
    return (
        f"{most} of {len(records)} are {width} × {height} pixels; there are {len(counts)} sizes, with shorter sides "
        f"from {min(sides)} to {max(sides)}."
    )


def _kinds(records: Sequence[ImageRecord]) -> tuple[tuple[str, int], ...]:
    """File formats and colour modes with their numbers, the commonest first."""
    return tuple(Counter(f"{record.format} {record.mode}".strip() for record in records).most_common(8))


def _num_affected(findings: Sequence[Finding]) -> int:
    return len({path for f in findings if f.severity != "info" for path in f.paths})


def _measures(records: Sequence[ImageRecord], findings: Sequence[Finding]) -> tuple[Measure, ...]:
    if not records:
        return ()
    named: dict[str, set[str]] = defaultdict(set)
    for finding in findings:
        named[finding.check].update(finding.paths)
    made = []
    for field_name, name, low, high, checks in _MEASURES:
        flagged = set().union(*(named[check] for check in checks))
        made.append(
            Measure(
                name=name,
                values=_column(records, field_name),
                flagged=np.array([record.path in flagged for record in records]),
                low=low,
                high=high,
            )
        )
    return tuple(made)


def _column(records: Sequence[ImageRecord], name: str) -> NDArray[np.float64]:
    if name == "warmth":  # a few grey levels more, so that black pictures have no colour
        return np.log([(record.red + 4) / (record.blue + 4) for record in records])
    return np.array([getattr(record, name) for record in records], np.float64)


def _next(findings: Sequence[Finding], photos: str) -> tuple[Command, ...]:
    place = shlex.quote(photos)
    look = [Command(purpose="Look at each finding and decide", line=f"budwood review {place}")]
    return (
        *(look if any(finding.paths for finding in findings) else ()),
        Command(purpose="See what cleaning would leave out", line=f"budwood clean {place}"),
        Command(purpose="Divide the pictures without leaks", line=f"budwood split {place} --out split.json"),
        Command(purpose="Make a classifier", line=f"budwood fit {place}"),
    )
