"""Light, contrast, blur, colour and shadow: judged in themselves and against the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from budwood.data.checks import (
    Check,
    find_blurred,
    find_class_counts,
    find_colour_cast,
    find_low_contrast,
    find_strong_shadow,
    find_too_bright,
    find_too_dark,
)
from budwood.data.records import Catalog, Finding, ImageRecord

Make = Callable[..., ImageRecord]
Many = Callable[..., list[ImageRecord]]
Collect = Callable[..., Catalog]


def paths(findings: list[Finding]) -> list[str]:
    return [path for finding in findings for path in finding.paths]


@pytest.mark.parametrize(
    ("median", "value", "dark", "bright"),
    [
        (120.0, 1.0, True, False),
        (120.0, 20.0, True, False),
        (120.0, 60.0, False, False),
        (120.0, 254.0, False, True),
        (120.0, 180.0, False, False),
        (20.0, 2.0, False, False),
        (250.0, 254.0, False, False),
        (30.0, 240.0, False, True),
    ],
)
def test_brightness_is_judged_in_itself_and_against_the_data(
    median: float, value: float, dark: bool, bright: bool, record: Make, many: Many, catalog_of: Collect
) -> None:
    spread = np.random.default_rng(1).normal(median, 4, 100).clip(0, 255)
    usual = [replace(r, brightness=float(v)) for r, v in zip(many(100), spread, strict=True)]
    catalog = catalog_of(*usual, record("a/x.jpg", brightness=value))
    assert paths(find_too_dark(catalog)) == ["a/x.jpg"] * dark
    assert paths(find_too_bright(catalog)) == ["a/x.jpg"] * bright


def test_black_frame_is_found_even_when_brightness_varies_widely(record: Make, many: Many, catalog_of: Collect) -> None:
    usual = [replace(r, brightness=float(v)) for r, v in zip(many(100), np.linspace(10, 240, 100), strict=True)]
    assert paths(find_too_dark(catalog_of(*usual, record("a/x.jpg", brightness=1.0)))) == ["a/x.jpg"]


def test_a_class_that_is_dark_by_nature_is_not_too_dark(record: Make, many: Many, catalog_of: Collect) -> None:
    night = [record(f"night/{n:02}", brightness=20.0 + n % 9) for n in range(40)]
    assert find_too_dark(catalog_of(*many(200), *night)) == []


def test_a_dark_picture_of_a_bright_class_is_found_beside_a_dark_class(
    record: Make, many: Many, catalog_of: Collect
) -> None:
    night = [record(f"night/{n:03}", brightness=10.0 + n % 20) for n in range(90)]
    day = [record(f"day/{n:03}", brightness=130.0 + n % 20) for n in range(110)]
    assert paths(find_too_dark(catalog_of(*day, *night, record("day/x", brightness=15.0)))) == ["day/x"]


@pytest.mark.parametrize(("contrast", "found"), [(0.0, True), (6.0, True), (15.0, True), (30.0, False)])
def test_pale_picture_is_found(contrast: float, found: bool, record: Make, many: Many, catalog_of: Collect) -> None:
    assert paths(find_low_contrast(catalog_of(*many(100), record("a/x", contrast=contrast)))) == ["a/x"] * found


def test_a_dark_picture_is_not_called_pale(record: Make, many: Many, catalog_of: Collect) -> None:
    dark = record("a/x", brightness=10.0, contrast=4.0)
    assert find_low_contrast(catalog_of(*many(100), dark)) == []


def test_data_that_are_pale_throughout_stay_unflagged(record: Make, many: Many, catalog_of: Collect) -> None:
    pale = [replace(r, contrast=r.contrast / 5) for r in many(100)]
    assert find_low_contrast(catalog_of(*pale, record("a/x", contrast=7.0))) == []


@pytest.mark.parametrize(("sharpness", "found"), [(0.2, True), (0.38, True), (0.6, False), (2.0, False)])
def test_soft_picture_is_found(sharpness: float, found: bool, record: Make, many: Many, catalog_of: Collect) -> None:
    assert paths(find_blurred(catalog_of(*many(100), record("a/x", sharpness=sharpness)))) == ["a/x"] * found


def test_data_that_are_soft_throughout_stay_unflagged(many: Many, catalog_of: Collect) -> None:
    assert find_blurred(catalog_of(*(replace(r, sharpness=r.sharpness / 3) for r in many(100)))) == []


def test_a_blank_picture_is_not_called_blurred(record: Make, many: Many, catalog_of: Collect) -> None:
    assert find_blurred(catalog_of(*many(100), record("a/x", sharpness=0.0, contrast=1.0))) == []


@pytest.mark.parametrize(
    ("levels", "found"),
    [((150, 100, 90), True), ((100, 100, 150), True), ((106, 114, 92), False), ((50, 55, 45), False)],
    ids=["red", "blue", "ordinary", "darker"],
)
def test_colour_of_the_light_is_judged_against_the_data(
    levels: tuple[int, int, int], found: bool, record: Make, many: Many, catalog_of: Collect
) -> None:
    red, green, blue = map(float, levels)
    odd = record("a/x", red=red, green=green, blue=blue)
    assert paths(find_colour_cast(catalog_of(*many(200), odd))) == ["a/x"] * found


def test_a_class_that_is_red_by_nature_has_no_cast(record: Make, many: Many, catalog_of: Collect) -> None:
    rng = np.random.default_rng(2)
    roses = [record(f"rose/{n:02}", red=float(v)) for n, v in enumerate(rng.normal(180, 8, 60))]
    assert find_colour_cast(catalog_of(*many(300), *roses)) == []


def test_subjects_of_all_colours_have_no_cast(record: Make, catalog_of: Collect) -> None:
    rng = np.random.default_rng(2)
    levels = rng.uniform(60, 200, (200, 3)).tolist()
    cars = [record(f"car/{n:03}", red=r, green=g, blue=b) for n, (r, g, b) in enumerate(levels)]
    assert find_colour_cast(catalog_of(*cars, record("car/x", red=250.0, green=40.0))) == []


def test_grey_pictures_have_no_cast(record: Make, many: Many, catalog_of: Collect) -> None:
    assert find_colour_cast(catalog_of(*many(100), record("a/x", red=90.0, green=90.0, blue=90.0))) == []


def test_shade_is_found_where_pictures_have_none_as_a_rule(record: Make, many: Many, catalog_of: Collect) -> None:
    shaded = record("a/x", shadow=0.4)
    assert paths(find_strong_shadow(catalog_of(*many(100), shaded, record("a/y", shadow=0.1)))) == ["a/x"]
    dark_background = [replace(r, shadow=0.3 if n % 3 else 0.0) for n, r in enumerate(many(100))]
    assert find_strong_shadow(catalog_of(*dark_background, shaded)) == []


@pytest.mark.parametrize(
    ("check", "odd"),
    [
        (find_strong_shadow, {"shadow": 0.5}),
        (find_too_dark, {"brightness": 3.0}),
        (find_low_contrast, {"contrast": 2.0}),
    ],
)
def test_what_a_fifth_of_the_pictures_have_is_said_once_without_naming_them(
    check: Check, odd: dict[str, float], many: Many, catalog_of: Collect
) -> None:
    mixed = [replace(r, **odd) if n % 9 in (0, 1) else r for n, r in enumerate(many(180))]  # type: ignore[arg-type]
    (finding,) = check(catalog_of(*mixed))
    assert finding.paths == ()
    assert finding.evidence.startswith("40 of 180 pictures: so many are how these data look")


def test_small_class_and_imbalance_are_told_with_their_counts(record: Make, catalog_of: Collect) -> None:
    catalog = catalog_of(*[record(f"big/{n}") for n in range(40)], *[record(f"few/{n}") for n in range(4)])
    small, imbalance = find_class_counts(catalog)
    assert '"few" has 4 readable pictures' in small.evidence
    assert imbalance.evidence == ('"big" has 40 pictures, "few" 4 (10 times fewer): read the balanced accuracy')
    assert (small.severity, imbalance.severity) == ("warning", "warning")
