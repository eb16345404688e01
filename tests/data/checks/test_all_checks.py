"""What every check must hold, whatever it looks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from budwood.data.checks import CHECKS, PAIR_CHECKS, Check, NearPair
from budwood.data.records import Catalog, ImageRecord

EVERY = {**CHECKS, **{name: partial(check, pairs=()) for name, check in PAIR_CHECKS.items()}}
NEED_PAIRS = {"near_duplicate"}
OTHER_SHAPES = {"odd_aspect"}  # looks only where no size is usual
every_check = pytest.mark.parametrize("check", EVERY.values(), ids=EVERY.keys())
Many = Callable[..., list[ImageRecord]]


def name_of(check: Check) -> str:
    return next(name for name, known in EVERY.items() if known is check)


@every_check
def test_ordinary_pictures_give_no_finding(check: Check, many: Many, catalog_of: Callable[..., Catalog]) -> None:
    assert check(catalog_of(*many(300))) == []


@every_check
def test_findings_carry_the_registered_name(check: Check, problems: Catalog) -> None:
    name = name_of(check)
    if name in OTHER_SHAPES:
        records = [replace(r, width=r.width * n, height=r.height * n) for n, r in enumerate(problems.records, 1)]
        problems = replace(problems, records=tuple(records))
    pairs = [NearPair(first="a/0000.jpg", second="a/0002.jpg", similarity=0.9, transform="mirrored")]
    findings = PAIR_CHECKS[name](problems, pairs) if name in NEED_PAIRS else check(problems)
    assert {finding.check for finding in findings} == {name}
    known = {r.path for r in problems.records}
    for finding in findings:
        assert set(finding.paths) <= known
        assert finding.evidence
        assert np.isfinite(finding.score)


@every_check
def test_excluded_records_are_not_judged(
    check: Check, problems: Catalog, many: Many, catalog_of: Callable[..., Catalog]
) -> None:
    bad = [replace(r, state="excluded", label="a") for r in problems.records if r.state == "ok"]
    assert check(catalog_of(*many(300), *(replace(r, path=f"x{r.path}") for r in bad))) == []


@every_check
def test_findings_do_not_depend_on_the_order_of_the_records(check: Check, problems: Catalog) -> None:
    turned = replace(problems, records=problems.records[::-1])
    told = [{(f.severity, frozenset(f.paths), f.suggestion) for f in check(c)} for c in (problems, turned)]
    assert told[0] == told[1]


@every_check
def test_a_single_picture_can_be_judged(check: Check, many: Many, catalog_of: Callable[..., Catalog]) -> None:
    assert all(finding.paths == () for finding in check(catalog_of(*many(1))))


@every_check
def test_a_catalog_without_readable_pictures_can_be_judged(
    check: Check, many: Many, catalog_of: Callable[..., Catalog]
) -> None:
    check(catalog_of(*many(3, state="unreadable", reason="empty file")))
