"""The checks on records written by hand: each finds what it is for, and leaves ordinary pictures alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from budwood.data.checks import (
    CHECKS,
    Check,
    NearPair,
    components,
    exact_groups,
    find_class_counts,
    find_exact_duplicates,
    find_near_duplicates,
    find_odd_dimensions,
    find_too_bright,
    find_too_dark,
    find_unreadable,
)
from budwood.data.records import Catalog, ImageRecord


def record(path: str, **values: object) -> ImageRecord:
    known: dict[str, object] = {
        "path": path,
        "label": path.split("/")[0],
        "file_digest": f"file {path}",
        "pixel_digest": f"pixels {path}",
        "width": 640,
        "height": 480,
        "brightness": 120.0,
    }
    return ImageRecord(**{**known, **values})  # type: ignore[arg-type]


def catalog_of(*records: ImageRecord) -> Catalog:
    return Catalog(root=Path("/p"), records=records, classes=tuple(sorted({r.label for r in records})))


def many(count: int, **values: object) -> list[ImageRecord]:
    return [record(f"{'ab'[n % 2]}/{n:04}.jpg", **values) for n in range(count)]


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
class TestEveryCheck:
    def test_ordinary_pictures_give_no_finding(self, check: Check) -> None:
        values = np.random.default_rng(0).normal(120, 35, 300).clip(30, 230)
        records = [replace(r, brightness=float(v)) for r, v in zip(many(300), values, strict=True)]
        assert check(catalog_of(*records)) == []

    def test_findings_carry_the_registered_name(self, check: Check) -> None:
        name = next(name for name, known in CHECKS.items() if known is check)
        findings = check(PROBLEMS)
        assert findings
        assert {f.check for f in findings} == {name}
        known = {r.path for r in PROBLEMS.records}
        for finding in findings:
            assert set(finding.paths) <= known
            assert finding.evidence
            assert np.isfinite(finding.score)

    def test_excluded_records_are_not_judged(self, check: Check) -> None:
        good = many(300)
        bad = [replace(r, state="excluded") for r in PROBLEMS.records if r.state == "ok"]
        bad = [replace(r, label="a") for r in bad]
        assert check(catalog_of(*good, *bad)) == []


PROBLEMS = catalog_of(
    *many(60),
    record("a/dark.jpg", brightness=2.0),
    record("a/light.jpg", brightness=254.0),
    record("a/wide.jpg", width=3000),
    record("a/twin1.jpg", pixel_digest="twin"),
    record("b/twin2.jpg", pixel_digest="twin"),
    record("c/bad.jpg", state="unreadable", reason="empty file"),
)


def test_unreadable_file_is_found_with_its_reason() -> None:
    (finding,) = find_unreadable(catalog_of(record("a/1.jpg", state="unreadable", reason="truncated JPEG")))
    assert (finding.paths, finding.evidence) == (("a/1.jpg",), "truncated JPEG")


def test_equal_bytes_and_equal_pixels_are_one_group_each() -> None:
    catalog = catalog_of(
        record("a/1.jpg", file_digest="f", pixel_digest="p"),
        record("a/2.jpg", file_digest="f", pixel_digest="p"),
        record("a/3.jpg", pixel_digest="q"),
        record("b/4.png", pixel_digest="q"),
        record("b/5.png"),
    )
    same, conflict = find_exact_duplicates(catalog)
    assert exact_groups(catalog) == (("a/1.jpg", "a/2.jpg"), ("a/3.jpg", "b/4.png"))
    assert (same.severity, same.evidence) == ("warning", "2 files hold the same bytes")
    assert (conflict.severity, conflict.evidence) == (
        "error",
        "2 files hold the same pixels, but the labels differ: a, b",
    )


def test_unreadable_files_with_equal_bytes_are_no_duplicates() -> None:
    bad = [record(p, state="unreadable", file_digest="f", pixel_digest="") for p in ("a/1.jpg", "a/2.jpg")]
    assert find_exact_duplicates(catalog_of(*bad)) == []


def test_near_pairs_become_one_finding_per_component() -> None:
    catalog = catalog_of(*[record(f"a/{n}") for n in range(5)], record("b/9"))
    pairs = [
        NearPair(first="a/0", second="a/1", similarity=0.9, transform="mirrored"),
        NearPair(first="a/1", second="a/2", similarity=0.8, transform="mirrored"),
        NearPair(first="a/2", second="a/3", similarity=0.95, transform="quarter turn"),
        NearPair(first="a/4", second="b/9", similarity=0.7, transform="crop"),
    ]
    same, conflict = find_near_duplicates(catalog, pairs)
    assert same.paths == ("a/0", "a/1", "a/2", "a/3")
    assert same.evidence == "4 pictures show the same (mirrored, quarter turn; similarity 0.80 or more)"
    assert (same.severity, same.score) == ("warning", 0.8)
    assert (conflict.severity, conflict.paths) == ("error", ("a/4", "b/9"))
    assert "crop" in conflict.evidence
    assert "labels differ: a, b" in conflict.evidence


def test_near_finding_takes_in_exact_copies_that_hold_other_labels() -> None:
    catalog = catalog_of(record("a/0"), record("a/1", pixel_digest="q"), record("b/1", pixel_digest="q"))
    pair = NearPair(first="a/0", second="a/1", similarity=0.9, transform="crop")
    (finding,) = find_near_duplicates(catalog, [pair])
    assert (finding.paths, finding.severity) == (("a/0", "a/1", "b/1"), "error")


def test_exact_groups_alone_make_no_near_finding() -> None:
    assert find_near_duplicates(PROBLEMS, []) == []


def test_components_do_not_depend_on_order_and_drop_singles() -> None:
    links = [("d", "c"), ("a", "b"), ("b", "c"), ("x",), (), ("z", "y")]
    assert components(links) == (("a", "b", "c", "d"), ("y", "z"))
    assert components(reversed(links)) == components(links)


def test_rare_size_among_one_usual_size_is_odd() -> None:
    catalog = catalog_of(*many(98), record("a/x.jpg", width=64, height=64), record("a/y.jpg", width=641))
    (finding,) = find_odd_dimensions(catalog)
    assert finding.paths == ("a/x.jpg",)
    assert finding.evidence == "64 x 64 pixels; 98 of 100 pictures have 640 x 480 pixels"


@pytest.mark.parametrize(
    "others",
    [
        [record(f"a/p{n}.jpg", width=480, height=640) for n in range(1)],
        [record(f"a/p{n}.jpg", width=100, height=100) for n in range(60)],
        [record(f"a/p{n}.jpg", width=100, height=100) for n in range(8)],
    ],
    ids=["portrait", "no usual size", "not rare"],
)
def test_size_is_not_odd_when_turned_common_or_without_a_usual_one(others: list[ImageRecord]) -> None:
    assert find_odd_dimensions(catalog_of(*many(60), *others)) == []


def test_few_pictures_have_no_usual_size() -> None:
    assert find_odd_dimensions(catalog_of(*many(10), record("a/x.jpg", width=9))) == []


def test_rare_shape_is_odd_where_sizes_vary() -> None:
    varied = [replace(r, width=400 + 4 * n, height=300 + 3 * n) for n, r in enumerate(many(60))]
    (finding,) = find_odd_dimensions(catalog_of(*varied, record("a/strip.jpg", width=2000, height=100)))
    assert finding.paths == ("a/strip.jpg",)
    assert "as 1.3 to 1" in finding.evidence


@pytest.mark.parametrize(
    ("median", "value", "dark", "bright"),
    [
        (120.0, 1.0, True, False),
        (120.0, 20.0, True, False),
        (120.0, 60.0, False, False),
        (120.0, 254.0, False, True),
        (20.0, 2.0, False, False),
        (250.0, 254.0, False, False),
        (30.0, 240.0, False, True),
    ],
)
def test_brightness_is_judged_in_itself_and_against_the_data(
    median: float, value: float, dark: bool, bright: bool
) -> None:
    spread = np.random.default_rng(1).normal(median, 4, 100)
    usual = [replace(r, brightness=float(v)) for r, v in zip(many(100), spread, strict=True)]
    catalog = catalog_of(*usual, record("a/x.jpg", brightness=value))
    assert [f.paths for f in find_too_dark(catalog)] == [("a/x.jpg",)] * dark
    assert [f.paths for f in find_too_bright(catalog)] == [("a/x.jpg",)] * bright


def test_black_frame_is_found_even_when_brightness_varies_widely() -> None:
    usual = [replace(r, brightness=float(v)) for r, v in zip(many(100), np.linspace(10, 240, 100), strict=True)]
    assert len(find_too_dark(catalog_of(*usual, record("a/x.jpg", brightness=1.0)))) == 1


def test_small_class_and_imbalance_are_told_with_their_counts() -> None:
    catalog = catalog_of(*[record(f"big/{n}") for n in range(40)], *[record(f"few/{n}") for n in range(4)])
    small, imbalance = find_class_counts(catalog)
    assert '"few" has 4 readable pictures' in small.evidence
    assert imbalance.evidence == ('"big" has 40 pictures, "few" 4 (10 times fewer): read the balanced accuracy')
    assert (small.severity, imbalance.severity) == ("warning", "warning")
