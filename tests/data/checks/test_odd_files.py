"""Rare sizes, shapes, modes and formats; files that cannot be read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from budwood.data.checks import (
    find_odd_aspect,
    find_odd_dimensions,
    find_odd_format,
    find_odd_mode,
    find_unreadable,
)
from budwood.data.records import Catalog, ImageRecord

Make = Callable[..., ImageRecord]
Many = Callable[..., list[ImageRecord]]
Collect = Callable[..., Catalog]


def test_unreadable_file_is_found_with_its_reason(record: Make, catalog_of: Collect) -> None:
    (finding,) = find_unreadable(catalog_of(record("a/1.jpg", state="unreadable", reason="truncated JPEG")))
    assert (finding.paths, finding.evidence) == (("a/1.jpg",), "truncated JPEG")


def test_rare_size_among_one_usual_size_is_odd(record: Make, many: Many, catalog_of: Collect) -> None:
    odd = [record("a/x.jpg", width=64, height=64), record("a/y.jpg", width=641)]
    (finding,) = find_odd_dimensions(catalog_of(*many(98), *odd))
    assert finding.paths == ("a/x.jpg",)
    assert finding.evidence == "64 x 64 pixels; 98 of 100 pictures have 640 x 480 pixels"


def test_all_54_pictures_of_other_sizes_among_4141_are_odd(record: Make, catalog_of: Collect) -> None:
    """Report A4: 300 x 300 but for 54 pictures, 19 of them 225 x 225, which showed other things too."""
    usual = [record(f"a/{n}", width=300, height=300) for n in range(4141)]
    sizes = [(225, 225)] * 19 + [(201, 251)] * 3 + [(275, 183)] * 3 + [(299, 169)] * 2 + [(800, 957)]
    rng = np.random.default_rng(0)
    sizes += [(int(w), int(h)) for w, h in rng.integers(160, 290, (54 - len(sizes), 2))]
    odd = [record(f"b/{n}", width=w, height=h) for n, (w, h) in enumerate(sizes)]
    found = find_odd_dimensions(catalog_of(*usual, *odd))
    assert {path for finding in found for path in finding.paths} == {r.path for r in odd}


@pytest.mark.parametrize(
    "others",
    [[{"width": 480, "height": 640}], [{"width": 100, "height": 100}] * 60, [{"width": 100, "height": 100}] * 8],
    ids=["portrait", "no usual size", "not rare"],
)
def test_size_is_not_odd_when_turned_common_or_without_a_usual_one(
    others: list[dict[str, int]], record: Make, many: Many, catalog_of: Collect
) -> None:
    odd = [record(f"a/p{n}.jpg", **size) for n, size in enumerate(others)]
    assert find_odd_dimensions(catalog_of(*many(60), *odd)) == []


def test_few_pictures_have_no_usual_size(record: Make, many: Many, catalog_of: Collect) -> None:
    assert find_odd_dimensions(catalog_of(*many(10), record("a/x.jpg", width=9))) == []


def test_many_sizes_beside_a_usual_one_are_told_once(record: Make, many: Many, catalog_of: Collect) -> None:
    others = [record(f"a/p{n}.jpg", width=1000 + n) for n in range(30)]
    (finding,) = find_odd_dimensions(catalog_of(*many(70), *others))
    assert finding.paths == ()
    assert finding.evidence.startswith("30 of 100 pictures")


def test_rare_shape_is_odd_where_sizes_vary(record: Make, catalog_of: Collect) -> None:
    varied = [record(f"a/{n}", width=400 + 4 * n, height=300 + 3 * n) for n in range(60)]
    catalog = catalog_of(*varied, record("a/strip.jpg", width=2000, height=100))
    (finding,) = find_odd_aspect(catalog)
    assert finding.paths == ("a/strip.jpg",)
    assert "as 1.3 to 1" in finding.evidence
    assert find_odd_dimensions(catalog) == []


@pytest.mark.parametrize(
    ("mode", "word"),
    [("L", "grey"), ("CMYK", "print"), ("P", "palette"), ("RGBA", "transparency"), ("I;16", "16 bit")],
)
def test_rare_mode_is_odd(mode: str, word: str, record: Make, many: Many, catalog_of: Collect) -> None:
    odd = [record(f"a/x{n}", mode=mode) for n in range(3)]
    found = find_odd_mode(catalog_of(*many(100), *odd))
    assert [f.paths[0] for f in found] == [r.path for r in odd]
    assert word in found[0].evidence
    assert "100 of 103 pictures are colour" in found[0].evidence


def test_a_colour_file_without_colour_is_grey(record: Make, many: Many, catalog_of: Collect) -> None:
    same = {"red": 90.0, "green": 90.0, "blue": 90.0}
    (finding,) = find_odd_mode(catalog_of(*many(100), record("a/x", **same)))
    assert finding.paths == ("a/x",)
    assert find_odd_mode(catalog_of(*many(100, mode="L", **same), *many(0), record("a/y", **same))) == []


def test_modes_that_mix_are_not_odd(many: Many, catalog_of: Collect) -> None:
    grey = [r for r in many(80, mode="L") if int(r.path[2:6]) >= 40]
    assert find_odd_mode(catalog_of(*many(40), *grey)) == []


def test_rare_format_is_odd(record: Make, many: Many, catalog_of: Collect) -> None:
    (finding,) = find_odd_format(catalog_of(*many(99), record("a/x.png", format="PNG")))
    assert (finding.paths, finding.evidence) == (("a/x.png",), "PNG; 99 of 100 pictures are JPEG")
