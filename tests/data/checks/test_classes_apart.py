"""Classes that are taken for one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from budwood.data.checks.classes_apart import MOST_PAIRS, MOST_PATHS, find_confusable_classes, wilson_bounds
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, ImageRecord
from budwood.evaluation.intervals import wilson


def asked(confused: dict[tuple[int, int], int], *, each: int = 100, num_classes: int = 3) -> tuple[Catalog, Opinion]:
    """``each`` pictures a class; ``confused[a, b]`` of class a are taken for b, each a little less surely."""
    records, probs = [], []
    classes = tuple(f"c{k:02}" for k in range(num_classes))
    for a in range(num_classes):
        takes = [b for (own, b), count in confused.items() if own == a for _ in range(count)]
        for n in range(each):
            row = np.full(num_classes, 0.1 / num_classes)
            row[takes[n] if n < len(takes) else a] += 0.9 - n / 1000
            records.append(ImageRecord(path=f"{classes[a]}/{n:03}.jpg", label=classes[a]))
            probs.append(row / row.sum())
    opinion = Opinion(
        paths=tuple(r.path for r in records),
        classes=classes,
        features=np.zeros((len(records), 1), np.float32),
        probs=np.array(probs, np.float32),
        folds=np.zeros(len(records), np.int64),
        backbone="lite0",
    )
    return Catalog(root=Path("/p"), records=tuple(records), classes=classes), opinion


def test_a_confused_pair_is_named_with_its_counts() -> None:
    (finding,) = find_confusable_classes(*asked({(0, 1): 20, (1, 0): 4}))
    assert finding.severity == "info"
    assert "of their 200 pictures, 24 are taken for the other (12 %" in finding.evidence
    assert '20 of "c00", 4 of "c01"' in finding.evidence
    assert finding.paths[:2] == ("c00/000.jpg", "c01/000.jpg")  # the surest answers first
    assert len(finding.paths) == MOST_PATHS


@pytest.mark.parametrize("confused", [{}, {(0, 1): 5, (1, 0): 4}, {(2, 1): 12}], ids=["none", "few", "unsure"])
def test_classes_told_apart_give_no_finding(confused: dict[tuple[int, int], int]) -> None:
    assert find_confusable_classes(*asked(confused)) == []


def test_classes_confused_in_four_cases_of_ten_are_a_warning() -> None:
    (finding,) = find_confusable_classes(*asked({(0, 1): 50, (1, 0): 30}))
    assert finding.severity == "warning"


def test_only_the_worst_pairs_are_named() -> None:
    confused = {(k, k + 1): 20 + k for k in range(9)}
    findings = find_confusable_classes(*asked(confused, num_classes=10))
    assert [f.evidence[:5] for f in findings] == ['"c08"', '"c07"', '"c06"', '"c05"', '"c04"']
    assert len(findings) == MOST_PAIRS


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (50, 1000)])
def test_the_interval_is_wilsons(hits: int, n: int) -> None:
    low, high = wilson_bounds(hits, n)
    known = wilson(hits, n)
    assert (low, high) == pytest.approx((known.low, known.high), abs=1e-4)


def test_one_picture_less_does_not_matter(catalog_of: Callable[..., Catalog]) -> None:
    catalog, opinion = asked({(0, 1): 30})
    fewer = catalog_of(*catalog.records[1:])
    (finding,) = find_confusable_classes(fewer, opinion)
    assert "c00/000.jpg" not in finding.paths
    assert "of their 199 pictures, 29 " in finding.evidence
