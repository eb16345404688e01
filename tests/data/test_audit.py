"""`audit`: findings in order, groups that a split must tie, each distinct picture compared once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import budwood.data.audit
from budwood.data.audit import SEVERITIES, AuditSpec, audit
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding
from budwood.data.scan import scan
from budwood.data.split import SplitSpec, check_split, split
from budwood.data.store import PictureStore
from budwood.events import Event, Listener, StepFinished, StepStarted, silent


@dataclass(frozen=True)
class DuplicatePair:
    first: int
    second: int
    similarity: float
    transform: str


@dataclass(frozen=True)
class Copies:
    pairs: list[DuplicatePair]
    doubtful: list[DuplicatePair]


class Search:
    """Stands in for the search: finds pictures whose mirror is among the others, and doubts those upside down."""

    def __init__(self) -> None:
        self.thumbs: list[NDArray[np.uint8]] = []

    def __call__(self, thumbs: Sequence[NDArray[np.uint8]], *, listen: Listener = silent) -> Copies:
        self.thumbs = list(thumbs)
        pairs = [(i, j) for j in range(len(thumbs)) for i in range(j)]
        return Copies(
            [DuplicatePair(i, j, 0.99, "mirrored") for i, j in pairs if equal(thumbs[i], np.fliplr(thumbs[j]))],
            [DuplicatePair(i, j, 0.8, "upside down") for i, j in pairs if equal(thumbs[i], np.flipud(thumbs[j]))],
        )


def equal(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return bool(np.array_equal(one, other))


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    module, stand_in = ModuleType("budwood.data.copies.duplicates"), Search()
    module.find_copies = stand_in  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "budwood.data.copies.duplicates", module)
    return stand_in


@pytest.fixture
def scanned(tmp_path: Path) -> tuple[Catalog, PictureStore]:
    """2 classes x 12; a/00 = a/copy = mirrored b/mirror (a conflict); a/01 = mirrored a/mirror; one bad."""
    root = tmp_path / "photos"
    for number in range(24):
        name = "ab"[number // 12]
        (root / name).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / name / f"{number % 12:02}.png")
    first, second = (Image.open(root / f"a/0{n}.png") for n in range(2))
    first.save(root / "a/copy.bmp")
    first.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "b/mirror.png")
    second.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "a/mirror.png")
    (root / "a/bad.png").write_bytes(b"bad")
    store = PictureStore(tmp_path / "store", side=16)
    return scan(root, store=store), store


def test_findings_are_ordered_by_severity_then_check(scanned: tuple[Catalog, PictureStore], search: Search) -> None:
    findings = audit(*scanned, spec=AuditSpec()).findings
    assert [(f.severity, f.check) for f in findings] == [
        ("error", "conflicting_labels"),
        ("warning", "exact_duplicate"),
        ("warning", "near_duplicate"),
        ("warning", "near_duplicate"),
        ("warning", "unreadable"),
        ("info", "odd_format"),
    ]
    ranks = [SEVERITIES.index(f.severity) for f in findings]
    assert ranks == sorted(ranks)


def test_groups_join_exact_and_near_duplicates(scanned: tuple[Catalog, PictureStore], search: Search) -> None:
    result = audit(*scanned)
    assert result.groups == (("a/00.png", "a/copy.bmp", "b/mirror.png"), ("a/01.png", "a/mirror.png"))
    assert result.findings[0].paths == result.groups[0]
    near = [finding for finding in result.findings if finding.check == "near_duplicate"]
    assert tuple(finding.paths for finding in near) == result.groups
    assert all("mirrored" in finding.evidence for finding in near)


def test_each_distinct_picture_is_compared_once(scanned: tuple[Catalog, PictureStore], search: Search) -> None:
    audit(*scanned)
    assert len(search.thumbs) == 24 + 2  # neither the exact copy nor the bad file
    assert len({thumb.tobytes() for thumb in search.thumbs}) == 26


def test_search_can_be_left_out(scanned: tuple[Catalog, PictureStore], search: Search) -> None:
    result = audit(*scanned, spec=AuditSpec(near_duplicates=False))
    assert search.thumbs == []
    assert result.groups == (("a/00.png", "a/copy.bmp"),)


def test_conflicting_labels_are_told_without_the_search_too(
    scanned: tuple[Catalog, PictureStore], search: Search
) -> None:
    catalog, store = scanned
    moved = replace(catalog.records[0], label="b")
    relabelled = replace(catalog, records=(moved, *catalog.records[1:]))
    findings = audit(relabelled, store, spec=AuditSpec(near_duplicates=False)).findings
    assert (findings[0].check, findings[0].paths) == ("conflicting_labels", ("a/00.png", "a/copy.bmp"))


def test_an_opinion_is_heard_only_when_it_is_given(
    scanned: tuple[Catalog, PictureStore], search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Opinion] = []

    def judge(catalog: Catalog, opinion: Opinion) -> list[Finding]:
        heard.append(opinion)
        return [Finding(check="doubted", severity="error", paths=opinion.paths, evidence="it looks like b")]

    monkeypatch.setattr(budwood.data.audit, "OPINION_CHECKS", {"doubted": judge})
    opinion = Opinion(
        paths=("a/00.png",),
        classes=("a", "b"),
        features=np.ones((1, 4), np.float32),
        probs=np.full((1, 2), 0.5, np.float32),
        folds=np.zeros(1, np.int64),
    )
    audit(*scanned)
    assert heard == []
    findings = audit(*scanned, opinion=opinion).findings
    assert heard == [opinion]
    assert [finding.check for finding in findings][:2] == ["conflicting_labels", "doubted"]


def test_split_of_audited_pictures_ties_what_was_found(scanned: tuple[Catalog, PictureStore], search: Search) -> None:
    catalog, store = scanned
    groups = audit(catalog, store).groups
    made = split(catalog, groups=groups, spec=SplitSpec(), seed=0)
    check_split(made, catalog, groups)
    assert made.groups == groups


def test_doubtful_pairs_are_no_finding_and_no_group_but_a_split_keeps_them_together(
    tmp_path: Path, search: Search
) -> None:
    root = tmp_path / "photos"
    for number in range(33):
        name = "ab"[number // 30]
        (root / name).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    Image.open(root / "a/07.png").transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(root / "a/doubtful.png")
    store = PictureStore(tmp_path / "store", side=16)
    events: list[Event] = []
    catalog = scan(root, store=store)
    result = audit(catalog, store, listen=events.append)
    assert [(pair.first, pair.second) for pair in result.doubtful] == [("a/07.png", "a/doubtful.png")]
    assert result.groups == ()
    assert all("a/doubtful.png" not in finding.paths for finding in result.findings if finding.check != "odd_format")
    made = split(catalog, groups=result.groups, doubtful=result.doubtful)
    assert made.groups == (("a/07.png", "a/doubtful.png"),)
    assert isinstance(events[-1], StepFinished)
    assert events[-1].note.endswith(", 1 doubtful pairs for the split")


def test_events_open_and_close_the_step(scanned: tuple[Catalog, PictureStore], search: Search) -> None:
    events: list[Event] = []
    audit(*scanned, listen=events.append)
    assert isinstance(events[0], StepStarted)
    assert isinstance(events[-1], StepFinished)
    assert (events[0].step, events[-1].note) == ("audit", "1 errors, 4 warnings")


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="near_dups"):
        AuditSpec.model_validate({"near_dups": True})
