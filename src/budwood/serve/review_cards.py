"""What the review page shows, as values that become JSON: checks with counts, pages of cards, pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from budwood.data.audit import SEVERITIES
from budwood.data.cleaning.decisions import Decision, content_digest
from budwood.data.records import Finding, ImageRecord, Severity
from budwood.report.check_words import Shape, words_of
from budwood.serve.review_state import Refused, ReviewState, finding_id

PICTURES_A_PAGE, SETS_A_PAGE = 60, 20
MAX_MEMBERS = 48  # pictures of one set that a card shows at first; the rest comes page by page
_NOTES = 5  # sentences of a check that are shown on the list of checks
_TOP = 3  # classes of the network's opinion

Show = Literal["all", "open", "decided", "keep", "exclude", "relabel", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSummary:
    """One check on the list: ``total`` findings with pictures, ``left`` of them to decide; ``notes`` say the rest."""

    name: str
    title: str
    meaning: str
    remedy: str
    shape: Shape
    severity: Severity
    total: int
    left: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """A decision in force."""

    action: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureView:
    """One picture. ``digest`` is for `/thumb` (empty: not readable, see ``reason``), ``content`` for deciding.

    opinion: the likeliest classes with their probabilities, best first.
    """

    path: str
    label: str
    digest: str
    content: str
    width: int
    height: int
    num_bytes: int
    format: str
    mode: str
    part: str
    reason: str
    decision: DecisionView | None
    opinion: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One finding, or one picture for itself (then ``id`` is empty); ``best``: which of a set one would keep."""

    id: str
    check: str
    severity: Severity
    evidence: str
    suggestion: str
    open: bool
    best: int
    pictures: tuple[PictureView, ...]
    num_pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPage:
    """Page ``page`` (1, 2, ...) of ``pages``; ``first`` is the index of its first card among ``total``."""

    page: int
    pages: int
    first: int
    total: int
    size: int
    cards: tuple[Card, ...]


def check_summaries(state: ReviewState) -> tuple[CheckSummary, ...]:
    """All checks that found something, the gravest first."""
    found = [_summary(state, check, findings) for check, findings in state.by_check.items()]
    return tuple(sorted(found, key=lambda s: (s.shape == "notes", SEVERITIES.index(s.severity), s.title)))


def findings_page(state: ReviewState, check: str, *, page: int) -> CardPage:
    """One page of a check's findings, worst first.

    Raises:
        Refused: there is no such check.
    """
    findings = _of_check(state, check)
    size = PICTURES_A_PAGE if _shape(check, findings) == "pictures" else SETS_A_PAGE
    page, shown = _page(len(findings), page=page, size=size)
    cards = tuple(finding_card(state, findings[i]) for i in shown)
    return CardPage(
        page=page, pages=_pages(len(findings), size), first=shown.start, total=len(findings), size=size, cards=cards
    )


def pictures_page(state: ReviewState, *, label: str = "", show: str = "all", page: int = 1) -> CardPage:
    """One page of all pictures, of one class (after decisions) or of those that were decided so.

    Raises:
        Refused: ``show`` is none of `Show`.
    """
    if show not in get_args(Show):
        raise Refused(f"show is none of {', '.join(get_args(Show))}", status=422)
    records = [
        record
        for record in state.catalog.records
        if (not label or state.label(record.path) == label) and _is_shown(state, record, show)
    ]
    page, shown = _page(len(records), page=page, size=PICTURES_A_PAGE)
    cards = tuple(_picture_card(state, records[i]) for i in shown)
    return CardPage(
        page=page,
        pages=_pages(len(records), PICTURES_A_PAGE),
        first=shown.start,
        total=len(records),
        size=PICTURES_A_PAGE,
        cards=cards,
    )


def members(state: ReviewState, finding: str, *, first: int) -> tuple[PictureView, ...]:
    """More pictures of one finding, from index ``first`` on.

    Raises:
        Refused: there is no such finding.
    """
    found = state.by_id.get(finding)
    if found is None:
        raise Refused("this finding is not among those of the last audit; load the page again", status=404)
    return picture_views(state, found.paths[max(0, first) : max(0, first) + MAX_MEMBERS])


def next_open(state: ReviewState, check: str, *, after: int) -> int | None:
    """The index of the next finding after ``after`` that is left to decide, going round once; None: all are decided.

    Raises:
        Refused: there is no such check.
    """
    findings = _of_check(state, check)
    order = [*range(after + 1, len(findings)), *range(min(after + 1, len(findings)))]
    return next((i for i in order if state.is_open(findings[i])), None)


def finding_card(state: ReviewState, finding: Finding) -> Card:
    """A finding with its first pictures."""
    paths = [path for path in finding.paths if path in state.records]
    return Card(
        id=finding_id(finding),
        check=finding.check,
        severity=finding.severity,
        evidence=finding.evidence,
        suggestion=finding.suggestion,
        open=state.is_open(finding),
        best=_best(state, paths[:MAX_MEMBERS], finding.suggestion),
        pictures=picture_views(state, paths[:MAX_MEMBERS]),
        num_pictures=len(paths),
    )


def picture_views(state: ReviewState, paths: Sequence[str]) -> tuple[PictureView, ...]:
    """The pictures with these paths, as far as the catalog has them."""
    return tuple(_view(state, state.records[path]) for path in paths if path in state.records)


def decision_view(decision: Decision | None) -> DecisionView | None:
    """What the page needs of a decision."""
    return DecisionView(action=decision.action, label=decision.label) if decision else None


def _summary(state: ReviewState, check: str, findings: Sequence[Finding]) -> CheckSummary:
    words = words_of(check)
    shape = _shape(check, findings)
    decidable = [finding for finding in findings if finding.paths and shape != "notes"]
    notes = [finding.evidence for finding in findings if not (finding.paths and shape != "notes")]
    return CheckSummary(
        name=check,
        title=words.title,
        meaning=words.meaning,
        remedy=words.remedy,
        shape=shape,
        severity=min((finding.severity for finding in findings), key=SEVERITIES.index),
        total=len(decidable),
        left=sum(state.is_open(finding) for finding in decidable),
        notes=tuple(notes[:_NOTES]),
    )


def _shape(check: str, findings: Sequence[Finding]) -> Shape:
    """What there is to show; a check that names no pictures this time has notes only."""
    return words_of(check).shape if any(finding.paths for finding in findings) else "notes"


def _of_check(state: ReviewState, check: str) -> tuple[Finding, ...]:
    """The findings that become cards: those with pictures where there are any, since the others are notes."""
    if check not in state.by_check:
        raise Refused("no such check has found anything", status=404)
    findings = state.by_check[check]
    return tuple(f for f in findings if f.paths) if _shape(check, findings) != "notes" else findings


def _pages(total: int, size: int) -> int:
    return max(1, math.ceil(total / size))


def _page(total: int, *, page: int, size: int) -> tuple[int, range]:
    """The page that is there (the nearest one to that asked for), and the indices on it."""
    page = min(max(1, page), _pages(total, size))
    return page, range((page - 1) * size, min(page * size, total))


def _is_shown(state: ReviewState, record: ImageRecord, show: str) -> bool:
    decision = state.decisions.get(record.path)
    if show in ("all", "unreadable"):
        return show == "all" or record.state == "unreadable"
    if show == "open":
        return decision is None
    return decision is not None and show in ("decided", decision.action)


def _picture_card(state: ReviewState, record: ImageRecord) -> Card:
    return Card(
        id="",
        check="",
        severity="info",
        evidence=record.reason if record.state == "unreadable" else "",
        suggestion="",
        open=record.path not in state.decisions,
        best=0,
        pictures=(_view(state, record),),
        num_pictures=1,
    )


def _best(state: ReviewState, paths: Sequence[str], suggestion: str) -> int:
    """Which picture one would keep: of the suggested class, then the largest, then the one with most bytes."""

    def worth(i: int) -> tuple[bool, int, int, int]:
        record = state.records[paths[i]]
        return (record.label == suggestion, record.width * record.height, record.num_bytes, -i)

    return max(range(len(paths)), key=worth, default=0)


def _view(state: ReviewState, record: ImageRecord) -> PictureView:
    return PictureView(
        path=record.path,
        label=record.label,
        digest=record.pixel_digest,
        content=content_digest(record),
        width=record.width,
        height=record.height,
        num_bytes=record.num_bytes,
        format=record.format,
        mode=record.mode,
        part=record.part,
        reason=record.reason,
        decision=decision_view(state.decisions.get(record.path)),
        opinion=_opinion(state, record.path),
    )


def _opinion(state: ReviewState, path: str) -> tuple[tuple[str, float], ...]:
    """The likeliest classes for a picture, and its own class when that is not among them."""
    row = state.opinion_rows.get(path)
    if state.opinion is None or row is None:
        return ()
    probs, classes = state.opinion.probs[row], state.opinion.classes
    shown = [int(k) for k in np.argsort(-probs, kind="stable")[:_TOP]]
    own = state.records[path].label
    if own in classes and classes.index(own) not in shown:
        shown.append(classes.index(own))
    return tuple((classes[k], round(float(probs[k]), 4)) for k in shown)
