"""Photos that cannot be used: the exit code, and a message that says what was found and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def pictures_of(photos: Path) -> list[Path]:
    return sorted(photos.glob("*/*.jpg"))


def empty(root: Path, photos: Path) -> None:
    root.mkdir()


def no_class_folders(root: Path, photos: Path) -> None:
    root.mkdir()
    for picture in pictures_of(photos)[:4]:
        shutil.copy(picture, root)


def one_class(root: Path, photos: Path) -> None:
    shutil.copytree(pictures_of(photos)[0].parent, root / "oak")


def lone_picture(root: Path, photos: Path) -> None:
    shutil.copytree(photos, root)
    (root / "lone").mkdir()
    shutil.copy(pictures_of(photos)[0], root / "lone" / "only.jpg")


def no_pictures(root: Path, photos: Path) -> None:
    for name in ("oak", "elm"):
        (root / name).mkdir(parents=True)
        (root / name / "notes.txt").write_text("no picture")


def only_damaged(root: Path, photos: Path) -> None:
    for name in ("oak", "elm"):
        (root / name).mkdir(parents=True)
        (root / name / "a.jpg").write_text("no picture either")


def a_file(root: Path, photos: Path) -> None:
    root.write_text("a file")


def missing(root: Path, photos: Path) -> None:
    pass


def parts_not_classes(root: Path, photos: Path) -> None:
    for part in ("train", "test"):
        shutil.copytree(pictures_of(photos)[0].parent, root / part)


BAD = [
    pytest.param(empty, 3, ("empty", "one folder per class"), id="empty folder"),
    pytest.param(no_class_folders, 3, ("4 pictures directly", "one folder per class"), id="no class folders"),
    pytest.param(one_class, 3, ('one class, "oak"', "at least two"), id="one class"),
    pytest.param(no_pictures, 3, ("no pictures", "one folder per class"), id="no pictures"),
    pytest.param(only_damaged, 3, ("none of the 2 pictures", "can be read"), id="only damaged files"),
    pytest.param(a_file, 2, ("is a file", "one folder per class"), id="a file"),
    pytest.param(missing, 2, ("does not exist", "class folders"), id="missing"),
    pytest.param(parts_not_classes, 3, ("parts test, train", "give one of them"), id="parts instead of classes"),
]
BAD_FOR_FIT = [pytest.param(lone_picture, 3, ('"lone" has 1 picture', "add"), id="class of one picture")]


@pytest.mark.parametrize("command", ["fit", "audit", "split"])
@pytest.mark.parametrize(("build", "code", "words"), BAD)
def test_unusable_photos_are_refused_in_words(
    build: Callable[[Path, Path], None],
    code: int,
    words: tuple[str, ...],
    command: str,
    photos: Path,
    tmp_path: Path,
    call: Callable,
    tree_of: Callable,
) -> None:
    root = tmp_path / "pictures"
    build(root, photos)
    before = tree_of(root)
    options = ("--tiny", "--threads", "1", "--out", tmp_path / "run") if command == "fit" else ()
    call(command, root, *options).refused(code, str(root), *words)
    assert tree_of(root) == before


@pytest.mark.parametrize("command", ["fit", "split"])
@pytest.mark.parametrize(("build", "code", "words"), BAD_FOR_FIT)
def test_too_few_pictures_for_a_split_are_refused_in_words(
    build: Callable[[Path, Path], None],
    code: int,
    words: tuple[str, ...],
    command: str,
    photos: Path,
    tmp_path: Path,
    call: Callable,
) -> None:
    build(tmp_path / "pictures", photos)
    options = ("--tiny", "--threads", "1") if command == "fit" else ()
    call(command, tmp_path / "pictures", *options).refused(code, *words)


def test_a_name_too_long_for_the_system_is_no_internal_error(call: Callable, tmp_path: Path) -> None:
    call("fit", "a" * 300, "--out", tmp_path / "run", "--tiny", "--threads", "1").refused(2, "too long", "another path")


def test_strict_audit_ends_with_1_on_a_finding_and_writes_it(call: Callable, photos: Path, tmp_path: Path) -> None:
    found = tmp_path / "found" / "findings.json"
    outcome = call("audit", photos, "--strict", "--json", found)
    outcome.refused(1, "class_counts", "add pictures")
    assert "class_counts" in found.read_text()
    assert call("audit", photos).code == 0
