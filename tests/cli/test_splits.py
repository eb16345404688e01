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
