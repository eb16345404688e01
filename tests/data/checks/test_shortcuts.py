"""Clues that give the class away: planted ones are found, and random labels raise no alarm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from budwood.data.checks.clues import gather_clues
from budwood.data.checks.judged import judged
from budwood.data.checks.shortcuts import balanced, find_shortcuts
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding, ImageRecord

COUNT, CLASSES = 240, ("ash", "elm", "oak")


def drawn(change: Callable[[ImageRecord, int], ImageRecord] | None = None, *, seed: int = 0) -> Catalog:
    """Pictures whose facts scatter, none of them with the class; ``change(record, number)`` plants a clue."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(COUNT).tolist()
    records = []
    for number in range(COUNT):
        label = CLASSES[number % 3]
        record = ImageRecord(
            path=f"{label}/IMG_{order[number]:04}.jpg",
            label=label,
            num_bytes=int(rng.integers(9_000, 12_000)),
            width=int(rng.choice([96, 100, 120])),
            height=96,
            mode="RGB",
            format="JPEG",
            brightness=float(rng.normal(120, 20)),
            contrast=float(rng.normal(50, 8)),
        )
        records.append(change(record, number) if change else record)
    return Catalog(root=Path("/p"), records=tuple(records), classes=CLASSES)


def opinion_of(catalog: Catalog, *, border: float | None = None, whole: float = 0.9, seed: int = 0) -> Opinion:
    """Right for ``whole`` of the pictures, and for ``border`` of the borders; border colours are noise."""
    rng = np.random.default_rng(seed)

    def answers(share: float) -> np.ndarray:
        right = rng.random(len(catalog)) < share
        given = np.where(right, catalog.targets, rng.integers(0, 3, len(catalog)))
        return np.eye(3, dtype=np.float32)[given]

    return Opinion(
        paths=tuple(r.path for r in catalog.records),
        classes=CLASSES,
        features=np.zeros((len(catalog), 1), np.float32),
        probs=answers(whole),
        folds=rng.permutation(len(catalog)) % 5,
        border_probs=None if border is None else answers(border),
        border_colours=rng.normal(100, 20, (len(catalog), 27)).astype(np.float32),
        backbone="lite0",
    )


def found(catalog: Catalog, opinion: Opinion | None = None) -> list[Finding]:
    return find_shortcuts(catalog, opinion or opinion_of(catalog))


def test_pictures_without_a_clue_give_no_finding() -> None:
    assert found(drawn()) == []


def one_class_as_png(record: ImageRecord, number: int) -> ImageRecord:
    return replace(record, format="PNG", path=record.path.replace(".jpg", ".png")) if number % 3 == 1 else record


def one_class_wider(record: ImageRecord, number: int) -> ImageRecord:
    return replace(record, width=130) if number % 3 == 2 else record


def class_after_class(record: ImageRecord, number: int) -> ImageRecord:
    place = 1000 + number % 3 * COUNT + number
    return replace(record, path=f"{record.label}/IMG_{place}.jpg")


def one_class_darker(record: ImageRecord, number: int) -> ImageRecord:
    return replace(record, brightness=record.brightness - 70) if number % 3 == 0 else record


def one_class_saved_better(record: ImageRecord, number: int) -> ImageRecord:
    return replace(record, num_bytes=record.num_bytes + 20_000) if number % 3 == 0 else record


@pytest.mark.parametrize(
    ("change", "words", "severity"),
    [
        (one_class_as_png, "the file format", "warning"),
        (one_class_wider, "the size and shape", "warning"),
        (class_after_class, "the number in the file name", "warning"),
        (one_class_darker, "light and colour", "info"),
        (one_class_saved_better, "the file size in bytes", "info"),
    ],
    ids=["format", "size", "order", "light", "bytes"],
)
def test_a_planted_clue_is_the_only_finding(
    change: Callable[[ImageRecord, int], ImageRecord], words: str, severity: str
) -> None:
    findings = [f for f in found(drawn(change)) if "bytes" not in f.evidence or "bytes" in words]
    (finding,) = findings
    assert finding.evidence.startswith(words)
    assert finding.severity == severity
    assert "chance is 33 %" in finding.evidence
    assert finding.score > 0


def test_coloured_borders_are_found() -> None:
    catalog = drawn()
    opinion = opinion_of(catalog)
    assert opinion.border_colours is not None
    told = np.random.default_rng(1).random(COUNT) < 0.6  # of the pictures have a border of their class's colour
    opinion.border_colours[told] += 150 * np.eye(3, 27)[np.array(catalog.targets)][told]
    (finding,) = found(catalog, opinion)
    assert finding.evidence.startswith("the plain colour of the border names the class of ")


@pytest.mark.parametrize(("border", "severity"), [(0.2, None), (0.6, "info"), (0.95, "warning")])
def test_the_border_is_judged_beside_the_whole_picture(border: float, severity: str | None) -> None:
    catalog = drawn()
    findings = found(catalog, opinion_of(catalog, border=border, whole=0.95))
    assert [f.severity for f in findings] == ([severity] if severity else [])


@pytest.mark.parametrize("count", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_random_labels_raise_no_alarm(count: int) -> None:
    alarms = 0
    for seed in range(count):
        catalog = drawn(seed=seed)
        labels = np.random.default_rng(seed + 1000).permutation([r.label for r in catalog.records])
        mixed = replace(
            catalog, records=tuple(replace(r, label=str(n)) for r, n in zip(catalog.records, labels, strict=True))
        )
        alarms += bool(found(mixed, opinion_of(mixed, whole=0.0, border=0.0, seed=seed)))
    assert alarms <= 0.05 * count


@pytest.mark.parametrize(
    "name",
    ["{label}_{number:03}.jpg", "{copy:03}.jpg", "{label}.jpg", "{hash}.jpg"],
    ids=["the class is in the name", "each class is numbered anew", "no number", "random names"],
)
def test_names_that_tell_no_order_are_no_clue(name: str) -> None:
    hashes = np.random.default_rng(0).permutation(COUNT)

    def rename(record: ImageRecord, number: int) -> ImageRecord:
        values = {"label": record.label, "number": hashes[number], "copy": number // 3, "hash": f"{hashes[number]:x}"}
        return replace(record, path=f"{record.label}/{name.format(**values)}")

    assert found(drawn(rename)) == []


def test_a_class_with_fewer_pictures_has_low_numbers_and_that_is_no_order() -> None:
    catalog = drawn(lambda r, n: replace(r, path=f"{r.label}/{n // 3:03}.jpg"))
    left = {"ash": 80, "elm": 40, "oak": 20}
    fewer = [r for n, r in enumerate(catalog.records) if n // 3 < left[r.label]]
    kept = replace(catalog, records=tuple(fewer))
    assert found(kept, opinion_of(kept)) == []


def test_the_folders_of_the_classes_are_no_order() -> None:
    catalog = drawn(lambda r, n: replace(r, path=f"{1000 * (n % 3)}/{r.path.split('/')[1]}"))
    assert found(catalog) == []


def test_a_hostile_name_is_only_a_name() -> None:
    catalog = drawn(lambda r, n: replace(r, path=f"{r.label}/{'9' * 240}{n}\u0663.jpg"))
    gather_clues(judged(catalog, opinion_of(catalog)), opinion_of(catalog))


def test_rare_classes_and_single_classes_are_not_asked_about() -> None:
    catalog = drawn(one_class_as_png)
    few = [r for r in catalog.records if r.label != "oak"][:19]
    assert found(replace(catalog, records=tuple(few)), opinion_of(catalog)) == []
    assert found(replace(catalog, records=()), opinion_of(catalog)) == []


def test_the_score_is_the_mean_over_the_classes() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    score = balanced(labels == 0, labels)  # a guess of the larger class
    assert score.value == pytest.approx(0.5)
    assert score.chance == 0.5
    assert score.low < 0.5 < score.high
    assert score.skill < 0
    assert balanced(np.ones(100, bool), labels).low < 1  # ten pictures without an error prove no perfection
