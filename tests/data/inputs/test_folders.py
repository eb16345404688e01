"""Folders of class folders and of parts: which files are meant, and in which words the rest is passed over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from budwood.data.inputs.folders import list_folder
from budwood.data.inputs.listing import Listing
from budwood.errors import DataError
from budwood.files import unescape_name


def touch(root: Path, *names: str) -> Path:
    for name in names:
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return root


def labels(listing: Listing) -> dict[str, tuple[str, str]]:
    return {entry.path: (entry.part, entry.label) for entry in listing.entries}


def assert_places(listing: Listing) -> None:
    assert [e.place for e in listing.entries] == [str(listing.root / unescape_name(e.path)) for e in listing.entries]
    assert [e.path for e in listing.entries] == sorted(e.path for e in listing.entries)


@pytest.mark.parametrize(
    ("train", "other", "part"),
    [
        ("train", "test", "test"),
        ("Train", "VALID", "val"),
        ("training", "val", "val"),
        ("TRAINING", "Validation", "val"),
        ("train", "Testing", "test"),
    ],
)
def test_parts_of_any_spelling_are_kept(tmp_path: Path, train: str, other: str, part: str) -> None:
    names = (f"{train}/oak/1.jpg", f"{train}/elm/deep/2.jpg", f"{other}/oak/3.jpg")
    listing = list_folder(touch(tmp_path, *names))
    assert labels(listing) == {
        f"{train}/elm/deep/2.jpg": ("train", "elm"),
        f"{train}/oak/1.jpg": ("train", "oak"),
        f"{other}/oak/3.jpg": (part, "oak"),
    }
    assert listing.classes == ("elm", "oak")
    assert_places(listing)


def test_all_three_parts_and_what_lies_beside_them(tmp_path: Path) -> None:
    names = [f"{part}/{tree}/{n}.jpg" for part in ("train", "val", "test") for tree in ("oak", "elm") for n in range(3)]
    listing = list_folder(touch(tmp_path, *names, "extra/1.jpg", "extra/x/2.jpg", "loose.jpg", "train/README.txt"))
    assert len(listing.entries) == 18
    assert listing.ignored == (
        "extra: lies beside test, train, val; its 2 pictures are passed over",
        "loose.jpg: lies beside the class folders, so it has no class",
        "train/README.txt: not a picture file",
    )


def test_unlabelled_test_pictures_are_passed_over_and_nothing_is_divided_then(tmp_path: Path) -> None:
    listing = list_folder(touch(tmp_path, "train/oak/1.jpg", "train/elm/2.jpg", "test/3.jpg", "test/4.jpg"))
    assert labels(listing) == {"train/elm/2.jpg": ("", "elm"), "train/oak/1.jpg": ("", "oak")}
    assert listing.ignored == (
        "test: 2 pictures without a class folder have no labels; name them with budwood predict",
    )


def test_unlabelled_test_pictures_leave_train_and_val_divided(tmp_path: Path) -> None:
    listing = list_folder(touch(tmp_path, "train/oak/1.jpg", "train/elm/2.jpg", "val/oak/5.jpg", "test/3.jpg"))
    assert {entry.part for entry in listing.entries} == {"train", "val"}
    assert len(listing.ignored) == 1


def test_class_that_training_never_saw_is_named(tmp_path: Path) -> None:
    names = ("train/oak/1.jpg", "train/elm/1.jpg", "test/oak/1.jpg", "test/yew/1.jpg", "test/yew/2.jpg")
    with pytest.raises(DataError, match=r'"yew" is in test \(2 pictures\) but not in train'):
        list_folder(touch(tmp_path, *names))


@pytest.mark.parametrize(
    "names",
    [
        ("train/1.jpg", "test/2.jpg"),
        ("Train/1.jpg", "VAL/2.jpg"),
        ("train/oak/1.jpg", "train/elm/2.jpg"),
        ("val/oak/1.jpg", "test/oak/2.jpg"),
    ],
    ids=["no class folders", "any case", "train alone", "no train"],
)
def test_parts_that_cannot_be_used_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"holds the parts .* and not classes"):
        list_folder(touch(tmp_path, *names))


def test_a_class_called_train_beside_others_is_a_class(tmp_path: Path) -> None:
    listing = list_folder(touch(tmp_path, "train/1.jpg", "car/2.jpg", "bus/day 1/3.jpg", "test/4.jpg"))
    assert listing.classes == ("bus", "car", "test", "train")
    assert {entry.part for entry in listing.entries} == {""}


def test_messages_use_the_name_that_the_user_gave(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^flowers\.zip holds nothing"):
        list_folder(tmp_path, name="flowers.zip")


def test_exactly_the_real_pictures_among_all_kinds_of_junk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, outside = tmp_path / "photos", touch(tmp_path / "outside", "x.jpg")
    real = [f"{tree}/{n}.jpg" for tree in ("oak", "elm") for n in range(5)]
    touch(root, *real, "__MACOSX/oak/._0.jpg", "oak/.ipynb_checkpoints/0.jpg", "oak/._0.jpg", "elm/Thumbs.db")
    touch(root, "locked/0.jpg", ".git/oak/0.jpg", "elm/notes.txt", "@eaDir/oak/0.jpg")
    (root / "oak/loop").symlink_to(root)
    (root / "elm/self").symlink_to(root / "elm")
    (root / "oak/away.jpg").symlink_to(outside / "x.jpg")
    os.mkfifo(root / "oak/pipe.jpg")
    scandir = os.scandir

    def refusing(path: str) -> object:  # the tests may run as root, whom no mode bits stop
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    listing = list_folder(root)
    assert [entry.path for entry in listing.entries] == sorted(real)
    assert "locked: the folder cannot be read (permission denied)" in listing.ignored


@pytest.mark.parametrize("count", [20, pytest.param(2000, marks=pytest.mark.slow)])
def test_names_of_random_bytes_are_listed_and_found_again(tmp_path: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    names = set()
    while len(names) < count:
        name = bytes(generator.integers(1, 256, int(generator.integers(1, 60))).astype(np.uint8))
        if b"/" not in name and not name.startswith(b".") and name.strip():
            names.add(name + b".png")
    for number, name in enumerate(names):
        folder = os.fsencode(tmp_path) + (b"/a\xff", b"/b\n")[number % 2]
        os.makedirs(folder, exist_ok=True)
        with open(folder + b"/" + name, "xb"):
            pass
    listing = list_folder(tmp_path)
    assert len(listing.entries) == count
    assert listing.ignored == ()
    assert_places(listing)
    assert {os.path.basename(os.fsencode(entry.place)) for entry in listing.entries} == names
    for entry in listing.entries:
        assert os.path.isfile(entry.place)
        assert not set(entry.path.encode("utf-8").decode()) & set("\n\r\t\x1b\x7f")
    shutil.rmtree(os.fsencode(tmp_path))
