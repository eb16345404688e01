"""The herbarium's planted faults, whose truth is known, go through scan, audit and split."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from budwood.data.audit import AuditResult, audit
from budwood.data.records import Catalog
from budwood.data.scan import scan
from budwood.data.split import SplitSpec, check_split, split, split_folds
from budwood.data.split_file import read_split, write_split
from budwood.data.store import PictureStore
from budwood.errors import LeakError
from budwood.herbarium import draw_herbarium


@dataclass(frozen=True)
class Planted:
    """A drawn herbarium, what was planted, and what scan and audit made of it."""

    truth: list[dict[str, str]]
    scanned: Catalog
    found: AuditResult

    def of(self, *kinds: str) -> list[dict[str, str]]:
        return [fault for fault in self.truth if fault["kind"] in kinds]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    drawn = draw_herbarium(folder, seed=11, num_pictures=200, size=96)
    store = PictureStore(folder / "store", side=320)
    scanned = scan(drawn.photos, store=store)
    truth = json.loads(Path(drawn.truth).read_text())["faults"]
    return Planted(truth=truth, scanned=scanned, found=audit(scanned, store))


def test_exactly_the_planted_unreadable_files_are_unreadable(planted: Planted) -> None:
    bad = {r.path for r in planted.scanned.records if r.state == "unreadable"}
    assert bad == {fault["path"] for fault in planted.of("unreadable")}
    assert bad


def test_every_planted_duplicate_is_in_its_originals_group(planted: Planted) -> None:
    groups = [set(group) for group in planted.found.groups]
    copies = planted.of("exact_duplicate", "near_duplicate")
    missed = [f for f in copies if not any({f["path"], f["of"]} <= group for group in groups)]
    assert len(copies) >= 10
    assert missed == []


def test_no_other_pictures_are_tied(planted: Planted) -> None:
    copies = planted.of("exact_duplicate", "near_duplicate")
    known = {f["path"] for f in copies} | {f["of"] for f in copies}
    assert {path for group in planted.found.groups for path in group} <= known


@pytest.mark.parametrize("seed", range(5))
def test_no_planted_pair_straddles_two_parts(planted: Planted, seed: int) -> None:
    catalog = planted.scanned.usable()
    made = [split(catalog, groups=planted.found.groups, seed=seed)]
    made += split_folds(catalog, groups=planted.found.groups, spec=SplitSpec(folds=3), seed=seed)
    for one in made:
        part_of = {catalog.records[i].path: part for part, rows in one.parts.items() for i in rows}
        for fault in planted.of("exact_duplicate", "near_duplicate"):
            assert part_of[fault["path"]] == part_of[fault["of"]]


def test_a_split_file_edited_so_that_a_pair_straddles_is_refused(planted: Planted, tmp_path: Path) -> None:
    catalog, groups = planted.scanned.usable(), planted.found.groups
    file = tmp_path / "split.json"
    write_split(split(catalog, groups=groups, seed=0), catalog, file)
    values = json.loads(file.read_text())
    fault = planted.of("near_duplicate")[0]
    home = next(part for part, paths in values["parts"].items() if fault["path"] in paths)
    other = "test" if home != "test" else "train"
    values["parts"][home].remove(fault["path"])
    values["parts"][other].append(fault["path"])
    file.write_text(json.dumps(values))
    with pytest.raises(LeakError, match="IMG_") as refused:
        check_split(read_split(file, catalog), catalog, groups)
    assert fault["path"].rpartition("/")[2] in str(refused.value)


def test_planted_odd_sizes_and_dark_pictures_are_found(planted: Planted) -> None:
    flagged = {check: set() for check in ("odd_dimensions", "too_dark")}
    for finding in planted.found.findings:
        if finding.check in flagged:
            flagged[finding.check] |= set(finding.paths)
    odd = {fault["path"] for fault in planted.of("odd_size")}
    dark = {fault["path"] for fault in planted.of("too_dark", "over_dark", "dark")}
    assert odd <= flagged["odd_dimensions"]
    assert dark
    assert len(dark & flagged["too_dark"]) >= len(dark) / 2
