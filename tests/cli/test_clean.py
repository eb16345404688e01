"""`budwood clean`: a plan that moves nothing, a move that can be undone, and nothing written into the photos."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from budwood.data.cleaning.decisions import Decision, DecisionJournal, content_digest
from budwood.data.ledger import read_catalog
from budwood.data.scan import scan
from budwood.workspace import workspace


@pytest.fixture
def faulty(photos: Path, tmp_path: Path) -> Path:
    """Photos with a copy, one picture in two classes, an almost black one and one that is cut short."""
    root = Path(shutil.copytree(photos, tmp_path / "faulty"))
    first, second, *_, last = sorted(root.glob("*/*.jpg"))
    other = last.parent
    shutil.copy(first, first.with_name("zz-copy.jpg"))
    shutil.copy(second, other / "zz-conflict.jpg")
    with Image.open(last) as image:
        ImageEnhance.Brightness(image).enhance(0.02).save(other / "zz-dark.jpg")
    (other / "zz-cut.jpg").write_bytes(last.read_bytes()[:200])
    return root


def names(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


def states(root: Path, ledger: Path | None = None) -> dict[str, str]:
    """What the ledger says of the pictures that are not ok: name -> the beginning of the reason."""
    catalog = read_catalog(ledger or workspace(root).catalog, root)
    return {r.path.split("/")[1]: r.reason.split(":")[0] for r in catalog.records if r.state == "excluded"}


def test_the_plan_is_printed_and_nothing_is_moved(call: Callable, faulty: Path, tree_of: Callable) -> None:
    before = tree_of(faulty)
    outcome = call("clean", faulty)
    outcome.refused(0, "conflicting_labels", "exact_duplicate", "nothing was moved", "usable pictures")
    assert tree_of(faulty) == before
    found = states(faulty)
    assert found["zz-copy.jpg"] == "exact_duplicate"
    assert found["zz-conflict.jpg"] == "conflicting_labels"
    assert len(found) == 3
    assert not workspace(faulty).quarantine.exists()


def test_apply_moves_and_undo_brings_back(call: Callable, faulty: Path, tree_of: Callable) -> None:
    before = tree_of(faulty)
    call("clean", faulty, "--apply", "--exclude", "unreadable").refused(0, "4 files were moved", "--undo")
    assert set(before) - names(faulty) >= {n for n in before if n.endswith(("zz-copy.jpg", "zz-cut.jpg"))}
    assert len(names(faulty)) == len(before) - 4
    call("clean", faulty).refused(0, "this policy changes nothing")
    call("clean", faulty, "--undo").refused(0, "4 files were brought back")
    assert tree_of(faulty) == before
    call("clean", faulty, "--undo").refused(0, "nothing to bring back")


def test_a_file_that_appeared_since_is_not_overwritten_and_it_is_said(call: Callable, faulty: Path) -> None:
    assert call("clean", faulty, "--apply").code == 0
    gone = next(p for p in workspace(faulty).quarantine.rglob("zz-copy.jpg"))
    place = faulty / gone.parent.name / gone.name
    place.write_bytes(b"new")
    call("clean", faulty, "--undo").refused(0, "2 files were brought back", "1 files were left alone", "has appeared")
    assert place.read_bytes() == b"new"


def test_looks_leave_files_where_they_are_until_a_person_confirms(
    call: Callable, faulty: Path, tree_of: Callable
) -> None:
    dark = next(faulty.rglob("zz-dark.jpg"))
    outcome = call("clean", faulty, "--exclude", "too_dark", "--apply")
    outcome.refused(0, "too_dark", "training", "1 pictures are changed in the training part only")
    assert dark.exists()
    assert states(faulty)["zz-dark.jpg"] == "too_dark"
    outcome = call("clean", faulty, "--exclude", "too_dark", "--confirm", "--apply")
    outcome.refused(0, "1 decisions were written", "review", "1 files were moved")
    assert not dark.exists()
    assert call("clean", faulty, "--undo").code == 0
    assert dark.exists()


def test_what_a_person_kept_stays(call: Callable, faulty: Path) -> None:
    record = next(r for r in scan(faulty).records if r.path.endswith("zz-copy.jpg"))
    journal = DecisionJournal(workspace(faulty).decisions)
    journal.record(Decision(path=record.path, digest=content_digest(record), action="keep"))
    assert call("clean", faulty).code == 0
    assert "zz-copy.jpg" not in states(faulty)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--exclude", "too_drak"), 'there is no check "too_drak"; did you mean "too_dark"'),
        (("--keep", "near_duplicates"), 'did you mean "near_duplicate"'),
        (("--keep-one", "too_dark"), "too_dark finds single pictures"),
        (("--exclude", "near_duplicate", "--keep-one", "near_duplicate"), "stands in two of"),
        (("--set", "clean.certanty=0.6"), 'did you mean "certainty"'),
        (("--undo", "--apply"), "--undo stands alone"),
    ],
)
def test_calls_that_make_no_sense_are_refused(
    options: tuple[str, ...], words: str, call: Callable, photos: Path
) -> None:
    call("clean", photos, *options).refused(2, words)


def test_flags_change_the_policy(call: Callable, faulty: Path) -> None:
    assert call("clean", faulty, "--keep", "exact_duplicate,conflicting_labels").code == 0
    assert "zz-copy.jpg" not in states(faulty)
    assert call("clean", faulty, "--set", 'clean.exclude=["unreadable"]').code == 0
    assert "zz-copy.jpg" in states(faulty)
    assert "zz-conflict.jpg" not in states(faulty)


def test_the_ledger_goes_where_out_says_but_never_into_the_photos(call: Callable, faulty: Path, tmp_path: Path) -> None:
    assert call("clean", faulty, "--out", tmp_path / "ledger.csv").code == 0
    assert "zz-copy.jpg" in states(faulty, tmp_path / "ledger.csv")
    call("clean", faulty, "--out", faulty / "ledger.csv").refused(2, "never written to")


def test_from_inside_the_photos_it_is_refused(call: Callable, faulty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(next(p for p in faulty.iterdir() if p.is_dir()))
    before = names(faulty)
    call("clean", "..").refused(2, "lies inside", "run the command from another folder")
    assert names(faulty) == before


def test_files_of_a_table_are_not_moved(call: Callable, faulty: Path, tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    lines = [f"{p.relative_to(tmp_path).as_posix()},{p.parent.name}" for p in sorted(faulty.rglob("*.jpg"))]
    table.write_text("\n".join(["path,label", *lines]) + "\n")
    before = names(faulty)
    call("clean", table, "--apply").refused(3, "no folder of pictures", "no files can be moved")
    call("clean", table).refused(0, "exact_duplicate", "nothing was moved")
    assert names(faulty) == before
