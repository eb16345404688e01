"""Multiplied pictures: made after the split, tied to their originals, whole or not at all."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.data.audit import audit
from budwood.data.cleaning.decisions import Decision, DecisionJournal
from budwood.data.copy_names import CopyNames, folder_of
from budwood.data.leaks import find_leaks
from budwood.data.records import ImageRecord
from budwood.data.scan import scan
from budwood.data.split import SplitSpec, split
from budwood.data.split_file import write_split
from budwood.data.store import PictureStore
from budwood.errors import DataError, LeakError, OutputError, UsageError
from budwood.events import StepAdvanced, StepStarted
from budwood.files import sha256_file
from budwood.multiplication import multiply
from budwood.workspace import workspace


def digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "copies.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def eightfold(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn photos, eight times."""
    folder = tmp_path_factory.mktemp("many") / "x8"
    multiply(photos, out=folder, times=8, seed=1)
    return folder


def test_training_pictures_become_eight_and_the_others_stay_as_they_are(photos: Path, eightfold: Path) -> None:
    rows = rows_of(eightfold)
    originals = digests(photos)
    by_part = Counter(row["part"] for row in rows)
    distinct = {part: {row["original"] for row in rows if row["part"] == part} for part in by_part}
    assert by_part["train"] == 8 * len(distinct["train"])
    assert by_part["val"] == len(distinct["val"]) > 0
    assert by_part["test"] == len(distinct["test"]) > 0
    assert set().union(*distinct.values()) == set(originals)
    for row in rows:
        if row["transform"] == "none":
            assert sha256_file(eightfold / row["path"]) == originals[row["original"]]
        else:
            assert row["part"] == "train"
    made = digests(eightfold)
    assert len(made) == len(rows) + 1  # and the table
    assert len({made[row["path"]] for row in rows}) == len(rows)  # no copy is another's


def test_a_copy_lies_with_its_class_part_and_group(photos: Path, eightfold: Path) -> None:
    groups: dict[str, set[str]] = {}
    for row in rows_of(eightfold):
        part, label, _ = row["path"].split("/")
        assert (part, label) == (row["part"], row["label"])
        assert row["original"].split("/")[0] == label
        groups.setdefault(row["original"], set()).add(row["group"])
    assert all(len(found) == 1 for found in groups.values())


def test_the_result_is_photos_with_own_parts_that_leak_nothing(eightfold: Path, tmp_path: Path) -> None:
    store = PictureStore(tmp_path / "store", side=320)
    catalog = scan(eightfold, store=store).usable()
    found = audit(catalog, store)
    made = split(catalog, groups=found.groups)
    assert find_leaks(made, catalog, found.groups) == ()
    assert {part: len(rows) for part, rows in made.parts.items()} == Counter(r.part for r in catalog.records)
    assert found.groups  # the audit does see the copies


def test_what_the_audit_ties_in_the_result_is_tied_by_the_groups_of_the_table(eightfold: Path, tmp_path: Path) -> None:
    store = PictureStore(tmp_path / "store", side=320)
    catalog = scan(eightfold, store=store).usable()
    group_of = {row["path"]: row["group"] for row in rows_of(eightfold)}
    tied = audit(catalog, store).groups
    together = sum(len({group_of[path] for path in paths}) == 1 for paths in tied)
    assert together / len(tied) > 0.9
    flips = {row["original"]: row["path"] for row in rows_of(eightfold) if row["transform"] == "mirrored"}
    near = {path for paths in tied for path in paths}
    assert sum(path in near for path in flips.values()) / len(flips) > 0.9


def test_a_new_split_by_the_table_keeps_copies_together(eightfold: Path, tmp_path: Path) -> None:
    table = eightfold / "copies.csv"
    catalog = scan(table).usable()
    assert {r.group for r in catalog.records} == {row["group"] for row in rows_of(eightfold)}
    assert {r.part for r in catalog.records} == {"train", "val", "test"}
    made = split(catalog, groups=(), spec=SplitSpec(own="ignore"), seed=5)
    part_of = {catalog.records[i].group: set() for i in range(len(catalog))}
    for part, rows in made.parts.items():
        for index in rows:
            part_of[catalog.records[index].group].add(part)
    assert all(len(parts) == 1 for parts in part_of.values())


def test_equal_calls_give_equal_bytes_and_other_seeds_do_not(photos: Path, eightfold: Path, tmp_path: Path) -> None:
    multiply(photos, out=tmp_path / "again", times=8, seed=1)
    assert digests(tmp_path / "again") == digests(eightfold)
    multiply(photos, out=tmp_path / "other", times=8, seed=2)
    assert digests(tmp_path / "other") != digests(eightfold)


def test_other_pictures_do_not_change_the_copies_of_a_picture(photos: Path, tmp_path: Path) -> None:
    fewer = Path(shutil.copytree(photos, tmp_path / "fewer"))
    sorted(fewer.glob("*/*.jpg"))[0].unlink()
    multiply(photos, out=tmp_path / "all", times=6)
    multiply(fewer, out=tmp_path / "some", times=6)
    first = {(r["original"], r["transform"]): r["path"] for r in rows_of(tmp_path / "all")}
    second = {(r["original"], r["transform"]): r["path"] for r in rows_of(tmp_path / "some")}
    shared = [key for key in second if key in first and key[1] != "none"]
    assert len(shared) > 40
    for key in shared:
        assert sha256_file(tmp_path / "all" / first[key]) == sha256_file(tmp_path / "some" / second[key])


@pytest.mark.parametrize("balanced", [False, True], ids=["shares kept", "balanced"])
def test_a_wished_number_is_met_exactly(balanced: bool, photos: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / "photos"))
    rare = sorted(root.iterdir())[0]
    for path in sorted(rare.iterdir())[4:]:
        path.unlink()
    made = multiply(root, out=tmp_path / "out", to=100, balanced=balanced)
    assert sum(made.after["train"]) == 100
    counts = Counter(p.parent.name for p in (tmp_path / "out/train").glob("*/*"))
    assert tuple(counts[name] for name in made.classes) == made.after["train"]
    spread = max(made.after["train"]) - min(made.after["train"])
    assert spread <= 1 if balanced else spread > 20
    assert made.before["train"][0] == 2
    assert made.most_copies[0] == (17 if balanced else made.most_copies[0])


def test_near_duplicates_and_their_copies_stay_in_one_part(photos: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / "photos"))
    twins = {}
    for path in sorted(root.glob("*/*.jpg"))[::4]:
        twin = path.with_name(f"again-{path.name}")
        with Image.open(path) as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(twin, quality=85)
        twins[path.relative_to(root).as_posix()] = twin.relative_to(root).as_posix()
    multiply(root, out=tmp_path / "out", times=3)
    found = {row["original"]: (row["part"], row["group"]) for row in rows_of(tmp_path / "out")}
    assert [found[a] for a in twins] == [found[b] for b in twins.values()]


def test_a_given_split_is_used_and_a_leaking_one_refused(photos: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / "photos"))
    catalog = scan(root).usable()
    made = split(catalog, groups=(), seed=9)
    write_split(made, catalog, tmp_path / "split.json")
    multiply(root, out=tmp_path / "out", times=2, split_file=tmp_path / "split.json")
    by_part = {part: {catalog.records[i].path for i in rows} for part, rows in made.parts.items()}
    for row in rows_of(tmp_path / "out"):
        assert row["original"] in by_part[row["part"]]
    test = catalog.records[made.parts["test"][0]].path
    shutil.copy(root / test, (root / test).with_name("copy.jpg"))
    catalog = scan(root).usable()
    index = {r.path: i for i, r in enumerate(catalog.records)}
    parts = {part: tuple(sorted(index[p] for p in paths)) for part, paths in by_part.items()}
    new = index[f"{test.split('/')[0]}/copy.jpg"]
    torn = replace(
        made,
        parts={**parts, "train": tuple(sorted((*parts["train"], new)))},
        catalog_fingerprint=catalog.fingerprint,
    )
    write_split(torn, catalog, tmp_path / "torn.json")
    with pytest.raises(LeakError, match=r"copy\.jpg"):
        multiply(root, out=tmp_path / "torn", times=2, split_file=tmp_path / "torn.json")
    assert not (tmp_path / "torn").exists()


def test_what_was_decided_in_review_holds_here_too(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    catalog = scan(photos)
    out, moved = catalog.records[0], catalog.records[1]
    label = catalog.classes[2]
    DecisionJournal(workspace(photos).decisions).record(
        Decision(path=out.path, digest=out.pixel_digest, action="exclude"),
        Decision(path=moved.path, digest=moved.pixel_digest, action="relabel", label=label),
    )
    multiply(photos, out=tmp_path / "out", times=2)
    rows = rows_of(tmp_path / "out")
    assert out.path not in {row["original"] for row in rows}
    assert {row["label"] for row in rows if row["original"] == moved.path} == {label}


def test_lossless_pictures_get_lossless_copies(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for n in range(6):
            noise = generator.integers(0, 255, (24, 30, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / f"photos/{label}/{n}.{'png' if n % 2 else 'bmp'}")
    multiply(tmp_path / "photos", out=tmp_path / "out", times=2)
    for row in rows_of(tmp_path / "out"):
        if row["transform"] == "mirrored":
            places = (tmp_path / "photos" / row["original"], tmp_path / "out" / row["path"])
            with Image.open(places[0]) as one, Image.open(places[1]) as other:
                assert other.format == "PNG"
                np.testing.assert_array_equal(np.asarray(one)[:, ::-1], np.asarray(other))


@pytest.mark.parametrize(
    ("wish", "words"),
    [({}, "either --times"), ({"times": 2, "to": 99}, "either"), ({"times": 1}, "2 or more"), ({"to": 5}, "already")],
    ids=["nothing", "both", "once", "fewer"],
)
def test_a_wish_that_makes_no_sense_is_refused(wish: dict, words: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        multiply(photos, out=tmp_path / "out", **wish)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_into_photos_or_over_something(photos: Path, tmp_path: Path) -> None:
    before = digests(photos)
    with pytest.raises(OutputError, match="never written"):
        multiply(photos, out=photos / "more", times=2)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        multiply(photos, out=tmp_path / "taken", times=2)
    assert digests(photos) == before
    assert (tmp_path / "taken/mine.txt").read_text() == "mine"


def test_a_folder_of_someone_elses_in_the_way_is_not_touched(photos: Path, tmp_path: Path) -> None:
    place = tmp_path / ".out.partial"
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="in the way"):
        multiply(photos, out=tmp_path / "out", times=2)
    assert (place / "mine.txt").read_text() == "mine"


def test_a_failure_leaves_nothing(photos: Path, tmp_path: Path) -> None:
    def stop(event: object) -> None:
        if isinstance(event, StepAdvanced) and event.step == "multiply":
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        multiply(photos, out=tmp_path / "out", times=4, listen=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_meanwhile_is_named(photos: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / "photos"))
    victim = sorted(root.glob("*/*.jpg"))[0]

    def change(event: object) -> None:
        if isinstance(event, StepStarted) and event.step == "multiply":
            victim.write_bytes(victim.read_bytes() + b"more")

    with pytest.raises(DataError, match="changed since the scan"):
        multiply(root, out=tmp_path / "out", times=2, listen=change)
    assert not (tmp_path / "out").exists()


def test_a_killed_run_leaves_nothing_that_looks_complete_and_the_next_one_succeeds(
    photos: Path, eightfold: Path, tmp_path: Path
) -> None:
    program = f"""
        import sys, time
        from budwood.events import StepAdvanced
        from budwood.multiplication import multiply
        def slow(event):
            if isinstance(event, StepAdvanced) and event.step == "multiply":
                print("made", flush=True)
                time.sleep(30)
        multiply({str(photos)!r}, out={str(tmp_path / "out")!r}, times=8, seed=1, listen=slow)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "made\n"
        with pytest.raises(OutputError, match="another Budwood process"):
            multiply(photos, out=tmp_path / "out", times=8, seed=1)
        killed.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir()] == [".out.partial"]
    time.sleep(0.05)
    multiply(photos, out=tmp_path / "out", times=8, seed=1)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert digests(tmp_path / "out") == digests(eightfold)


HOSTILE = ["..", ".hidden", "a/b", "", "  ", "__MACOSX", "x" * 300]


@pytest.mark.parametrize("label", HOSTILE, ids=[repr(name[:12]) for name in HOSTILE])
def test_a_class_that_cannot_be_a_folder_is_refused(label: str) -> None:
    with pytest.raises(DataError, match="rename the class"):
        folder_of(label)


def test_names_are_tame_and_never_used_twice() -> None:
    names = CopyNames()
    paths = ["a/x.jpg", "a/deep/x.jpg", "a/X.JPG", "a/x~1.jpg", "a/..jpg", "a/" + "y" * 250 + ".jpg", "a/<b>.tif", "z"]
    taken: list[str] = []
    for path in paths:
        record = ImageRecord(path=path, label="a", format="JPEG" if path != "a/<b>.tif" else "TIFF")
        own, copies = names.take(record, part="train", num_copies=2)
        taken += [own, *copies]
    assert len({name.casefold() for name in taken}) == len(taken)
    for name in taken:
        folder, file = name.rsplit("/", 1)
        assert folder == "train/a"
        assert not file.startswith(".")
        assert len(file.encode()) < 255
        assert file.lower().endswith((".jpg", ".png", ".tif", ".jpeg"))


def test_names_that_are_not_utf_8_survive(photos: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / "photos"))
    odd = b"\xff\xfe odd\nname \\ .jpg".decode("utf-8", "surrogateescape")
    first = sorted(root.glob("*/*.jpg"))[0]
    first.rename(first.with_name(odd))
    folder = first.parent
    folder.rename(folder.with_name(b"cl\xe9ss".decode("utf-8", "surrogateescape")))
    multiply(root, out=tmp_path / "out", times=2)
    catalog = scan(tmp_path / "out").usable()
    assert len(catalog) == len(rows_of(tmp_path / "out"))
    assert {r.path for r in catalog.records} == {row["path"] for row in rows_of(tmp_path / "out")}
    assert set(catalog.classes) == set(scan(root).classes)
