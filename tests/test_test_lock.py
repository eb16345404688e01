"""Looks at a test part are counted once each, by whichever process, and never forgotten."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from budwood.data.records import Catalog, ImageRecord
from budwood.data.split_nouns import Split
from budwood.errors import IntegrityError, OutputError
from budwood.test_lock import FILE_NAME, Looking, Looks, count_look, looks_at
from budwood.workspace import workspace


def catalog_of(names: str) -> Catalog:
    records = tuple(ImageRecord(path=f"{n}.jpg", label="x", pixel_digest=f"d{n}") for n in names)
    return Catalog(root=Path(), records=records, classes=("x",))


def split_of(catalog: Catalog, test: str) -> Split:
    rows = tuple(i for i, record in enumerate(catalog.records) if record.path[0] in test)
    rest = tuple(i for i in range(len(catalog)) if i not in rows)
    return Split(parts={"train": rest, "val": (), "test": rows}, seed=0, catalog_fingerprint=catalog.fingerprint)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    return folder


CATALOG = catalog_of("abcdef")
SPLIT = split_of(CATALOG, "ef")


def look(photos: Path, run: str, *, split: Split = SPLIT, catalog: Catalog = CATALOG, settings: str = "s") -> Looks:
    looking = Looking(run=Path(run), kind="fit", recipe="probe", seed=0, settings=settings)
    return count_look(photos, split, catalog, looking=looking)


def test_each_run_is_one_look_and_a_resumed_one_is_not_counted_twice(photos: Path) -> None:
    assert looks_at(photos, SPLIT, CATALOG).number == 0
    assert look(photos, "runs/a").number == 1
    assert look(photos, "runs/b").number == 2
    assert look(photos, "runs/a").number == 1
    again = look(photos, "runs/b")
    assert again.number == 2
    assert [Path(each.run).name for each in again.earlier] == ["a"]
    assert looks_at(photos, SPLIT, CATALOG).number == 2
    assert len((workspace(photos).path / FILE_NAME).read_text().splitlines()) == 2


def test_the_same_folder_with_other_settings_or_another_kind_is_another_look(photos: Path) -> None:
    assert look(photos, "runs/a", settings="lr 1").number == 1
    assert look(photos, "runs/a", settings="lr 2").number == 2
    joined = Looking(run=Path("runs/a"), kind="ensemble", settings="lr 2")
    assert count_look(photos, SPLIT, CATALOG, looking=joined).number == 3


def test_members_of_one_decision_are_one_look_that_names_them_and_older_lines_name_none(photos: Path) -> None:
    look(photos, "runs/a")
    group = Looking(run=Path("runs/both"), kind="ensemble", settings="s", members=("1-probe", "2-probe"))
    assert [count_look(photos, SPLIT, CATALOG, looking=group).number for _ in range(3)] == [2, 2, 2]
    found = looks_at(photos, SPLIT, CATALOG)
    assert [each.members for each in found.earlier] == [(), ("1-probe", "2-probe")]
    lines = [json.loads(line) for line in (workspace(photos).path / FILE_NAME).read_text().splitlines()]
    assert ["members" in line for line in lines] == [False, True], "a look of one model is written as it always was"
    assert Looks.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_another_test_part_is_fresh_but_cleaning_the_training_part_does_not_make_it_so(photos: Path) -> None:
    first = look(photos, "runs/a")
    assert look(photos, "runs/b", split=split_of(CATALOG, "de")).number == 1
    cleaned = catalog_of("bcdef")
    again = look(photos, "runs/c", split=split_of(cleaned, "ef"), catalog=cleaned)
    assert again.number == 2
    assert again.project != first.project
    assert again.project.split("-")[1] == first.project.split("-")[1]


@pytest.mark.parametrize("change", [{"label": "y"}, {"pixel_digest": "other"}])
def test_test_pictures_with_other_labels_or_pixels_are_another_test_part(photos: Path, change: dict[str, str]) -> None:
    look(photos, "runs/a")
    records = (*CATALOG.records[:5], replace(CATALOG.records[5], **change))
    changed = replace(CATALOG, records=records, classes=("x", "y"))
    assert look(photos, "runs/b", split=split_of(changed, "ef"), catalog=changed).number == 1


def count(photos: Path, name: str) -> None:
    look(photos, name)


def test_two_processes_never_take_the_same_number(photos: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=count, args=(photos, f"runs/{i}")) for i in range(2)]
    for process in processes:
        process.start()
    look(photos, "runs/own")
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    found = looks_at(photos, SPLIT, CATALOG)
    assert found.number == 3
    assert {Path(each.run).name for each in found.earlier} == {"0", "1", "own"}


def test_a_line_cut_off_by_a_crash_is_passed_over_and_a_changed_one_is_not(photos: Path) -> None:
    look(photos, "runs/a")
    file = workspace(photos).path / FILE_NAME
    file.write_text(file.read_text() + '{"time": "2025', encoding="ascii")
    assert look(photos, "runs/b").number == 2
    values = json.loads(file.read_text().splitlines()[0])
    del values["test"]
    file.write_text(json.dumps(values) + "\n")
    with pytest.raises(IntegrityError, match="was changed"):
        look(photos, "runs/c")


def test_nothing_is_written_into_the_photos(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    with pytest.raises(OutputError, match="never written to"):
        look(photos, "runs/a")


def test_the_words_say_how_often_and_how_optimistic_the_best_is(photos: Path) -> None:
    assert look(photos, "runs/a").words(pictures=354, accuracy=0.82) == "looked at once"
    for name in "bcd":
        found = look(photos, f"runs/{name}")
    words = found.words(pictures=354, accuracy=0.82)
    assert "has been looked at 4 times" in words
    assert "by up to 2.1 points" in words
    assert Looks.from_dict(json.loads(json.dumps(found.to_dict()))) == found
