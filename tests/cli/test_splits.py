"""`budwood split` and the split files that `fit --split` accepts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

TINY = ("--tiny", "--threads", "1")
PARTS = ("train", "val", "test")


@pytest.fixture
def with_copy(photos: Path, tmp_path: Path) -> tuple[Path, str, str]:
    """Photos with a planted near-duplicate: the folder and the names of the pair."""
    root = Path(shutil.copytree(photos, tmp_path / "pictures"))
    first = sorted(root.glob("*/*.jpg"))[0]
    again = first.with_name("again.jpg")
    with Image.open(first) as image:
        image.save(again, quality=88)
    return root, first.relative_to(root).as_posix(), again.relative_to(root).as_posix()


def test_a_split_keeps_near_duplicates_in_one_part(
    call: Callable, with_copy: tuple[Path, str, str], tmp_path: Path
) -> None:
    root, first, again = with_copy
    file = tmp_path / "split.json"
    assert call("split", root, "--out", file).code == 0
    parts = json.loads(file.read_text())["parts"]
    assert [part for part in PARTS if first in parts[part]] == [part for part in PARTS if again in parts[part]]
    call("split", root, "--check", file).refused(0, "leaks nothing")


@pytest.mark.parametrize("command", ["fit", "split"])
def test_a_split_that_leaks_is_refused_and_both_pictures_are_named(
    command: str, call: Callable, with_copy: tuple[Path, str, str], tmp_path: Path
) -> None:
    root, first, again = with_copy
    file = tmp_path / "split.json"
    assert call("split", root, "--out", file).code == 0
    values = json.loads(file.read_text())
    at = next(part for part in PARTS if again in values["parts"][part])
    values["parts"][at].remove(again)
    values["parts"]["test" if at != "test" else "train"].append(again)
    values["tied"] = []  # a split's own word is not believed
    file.write_text(json.dumps(values))
    options = ("--split", file, *TINY, "--out", tmp_path / "run") if command == "fit" else ("--check", file)
    call(command, root, *options).refused(3, first, again, "belong together", "make a new split")


def test_a_split_of_other_pictures_is_refused(
    call: Callable, photos: Path, with_copy: tuple[Path, str, str], tmp_path: Path
) -> None:
    file = tmp_path / "split.json"
    assert call("split", photos, "--out", file).code == 0
    call("fit", with_copy[0], "--split", file, *TINY, "--out", tmp_path / "a").refused(3, "other pictures", "new split")
    assert call("split", with_copy[0], "--out", file).code == 0
    call("fit", photos, "--split", file, *TINY, "--out", tmp_path / "b").refused(3, "again.jpg", "new split")


def test_a_split_with_folds_is_a_contradiction(call: Callable, photos: Path, probe_run: Path, tmp_path: Path) -> None:
    options = ("--split", probe_run / "split.json", "--folds", "3", "--out", tmp_path / "run")
    outcome = call("fit", photos, *options, *TINY)
    assert outcome.code in (2, 3)
    assert "--folds" in outcome.text


def test_a_runs_own_split_can_be_used_again(call: Callable, photos: Path, probe_run: Path, tmp_path: Path) -> None:
    outcome = call("fit", photos, "--split", probe_run / "split.json", *TINY, "--out", tmp_path / "run", "--seed", "9")
    assert outcome.code == 0, outcome.text
    assert (
        json.loads((tmp_path / "run" / "split.json").read_text())["parts"]
        == (json.loads((probe_run / "split.json").read_text())["parts"])
    )


def test_another_seed_gives_another_split(call: Callable, photos: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert call("split", photos, "--seed", seed, "--out", tmp_path / name).code == 0
    first, same, other = (Path(tmp_path, name).read_bytes() for name in "abc")
    assert first == same
    assert json.loads(first)["parts"] != json.loads(other)["parts"]


@pytest.fixture
def divided(with_copy: tuple[Path, str, str], tmp_path: Path) -> tuple[Path, str, str]:
    """Photos in folders train and test, one picture of train again in test: the folder and the pair's names."""
    root, first, again = with_copy
    parts = tmp_path / "divided"
    for number, file in enumerate(sorted(root.glob("*/*.jpg"))):
        place = parts / ("test" if number % 4 == 2 or file.stem == "again" else "train") / file.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    names = [next(parts.glob(f"*/{name}")).relative_to(parts).as_posix() for name in (first, again)]
    assert names[0][:5] != names[1][:5]
    return parts, names[0], names[1]


def test_own_parts_that_leak_are_shown_refused_and_can_be_repaired(
    call: Callable, divided: tuple[Path, str, str], tmp_path: Path
) -> None:
    root, first, again = divided
    call("split", root, "--check", "own").refused(3, first, again, "near-duplicate", "split.leaks=drop")
    file = tmp_path / "split.json"
    call("split", root, "--out", file).refused(3, "belong together", "split.own=ignore")
    outcome = call("split", root, "--out", file, "--set", "split.leaks=drop")
    outcome.refused(0, "1 pictures are left out", "the pictures have no val part", "1 pictures are in no part")
    values = json.loads(file.read_text())
    assert values["left_out"] == [first]
    assert again in values["parts"]["test"]
    assert all(path.startswith("test/") for path in values["parts"]["test"])
    call("split", root, "--check", file).refused(0, "leaks nothing")
    assert call("split", root, "--out", file, "--set", "own=ignore").code == 0
    assert "left_out" not in json.loads(file.read_text())


def test_own_parts_without_a_leak_pass_the_check(call: Callable, divided: tuple[Path, str, str]) -> None:
    root, _, again = divided
    (root / again).unlink()
    call("split", root, "--check", "own").refused(0, "own parts leak nothing")


def test_photos_without_parts_have_none_to_check(call: Callable, photos: Path) -> None:
    call("split", photos, "--check", "own").refused(3, "did not come divided", "make a split with budwood split")


def test_folds_are_one_file_each_and_every_picture_is_tested_once(call: Callable, photos: Path, tmp_path: Path) -> None:
    outcome = call("split", photos, "--folds", "4", "--out", tmp_path / "split.json")
    outcome.refused(0, "split-1.json", "split-4.json", "farthest from the wished share")
    tested = []
    for number in range(1, 5):
        file = tmp_path / f"split-{number}.json"
        tested += json.loads(file.read_text())["parts"]["test"]
        call("split", photos, "--check", file).refused(0, "leaks nothing")
    assert len(tested) == len(set(tested)) == 24


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--check", "nothing.json"), "nothing.json does not exist"),
        (("--check", "own", "--folds", "3"), "three different jobs"),
        (("--cost", "--folds", "3"), "three different jobs"),
        (("--set", "leaks=ignore"), "leaks"),
    ],
)
def test_calls_of_split_that_make_no_sense_are_refused(
    options: tuple[str, ...], words: str, call: Callable, photos: Path
) -> None:
    call("split", photos, *options).refused(2, words)


def test_an_excluded_picture_is_in_no_part(call: Callable, photos: Path, tmp_path: Path) -> None:
    from budwood.data.cleaning.decisions import Decision, DecisionJournal, content_digest
    from budwood.data.scan import scan
    from budwood.workspace import workspace

    record = scan(photos).records[0]
    journal = DecisionJournal(workspace(photos).decisions)
    journal.record(Decision(path=record.path, digest=content_digest(record), action="exclude"))
    file = tmp_path / "split.json"
    assert call("split", photos, "--out", file).code == 0
    assert record.path not in file.read_text()


@pytest.mark.slow
def test_the_cost_of_leaking_is_shown(call: Callable, photos: Path) -> None:
    call("split", photos, "--cost").refused(0, "a random split", "95 % interval", "24 pictures, 0 groups")
