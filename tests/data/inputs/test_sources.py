"""The one door for inputs: which kind a path is, what is refused before anything is read, lists without labels."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.data.inputs.sources import check_source, list_pictures, open_source
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.errors import DataError, UsageError
from budwood.files import sha256_file, unescape_name

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 6, 5, 3)).astype(np.uint8)
LABELS = ["oak", "elm"] * 4


def folder(place: Path) -> Path:
    for number, label in enumerate(LABELS):
        (place / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[number]).save(place / label / f"{number}.png")
    return place


def divided(place: Path) -> Path:
    for part in ("train", "val", "test"):
        folder(place / part)
    return place


def csv(place: Path) -> Path:
    root = folder(place)
    rows = [f"{label}/{number}.png,{label}\n" for number, label in enumerate(LABELS)]
    (root / "labels.csv").write_text("path,label\n" + "".join(rows))
    return root / "labels.csv"


def npz(place: Path) -> Path:
    place.mkdir()
    np.savez(place / "set.NPZ", images=PIXELS, labels=LABELS)
    (place / "set.NPZ.npz").rename(place / "set.NPZ")
    return place / "set.NPZ"


def archive(place: Path) -> Path:
    root = folder(place / "set")
    with zipfile.ZipFile(place / "set.zip", "w") as packed:
        for file in root.rglob("*.png"):
            packed.write(file, file.relative_to(place))
    return place / "set.zip"


KINDS = [folder, divided, csv, npz, archive]


@pytest.mark.parametrize("build", KINDS)
def test_every_kind_becomes_a_catalog_of_files_that_are_found_again(tmp_path: Path, build: Callable) -> None:
    photos = build(tmp_path / "photos")
    check_source(photos)
    listing, catalog = open_source(photos), scan(photos)
    assert catalog.classes == ("elm", "oak")
    assert len(catalog.usable()) == len(listing.entries) == (24 if build is divided else 8)
    assert {record.part for record in catalog.records} == ({"train", "val", "test"} if build is divided else {""})
    for entry in listing.entries:
        assert entry.place == str(listing.root / unescape_name(entry.path))
        assert os.path.isfile(entry.place)


@pytest.mark.parametrize("build", KINDS)
def test_the_store_knows_unchanged_inputs_again(tmp_path: Path, build: Callable) -> None:
    photos, store = build(tmp_path / "photos"), PictureStore(tmp_path / "store", side=8)
    first = scan(photos, store=store)
    assert scan(photos, store=store) == first


@pytest.mark.parametrize("build", KINDS)
def test_inputs_are_never_changed(tmp_path: Path, build: Callable) -> None:
    photos = build(tmp_path / "photos")

    def state() -> dict[str, tuple[str, int]]:
        files = [path for path in (tmp_path / "photos").rglob("*") if path.is_file()]
        return {str(path): (sha256_file(path), path.stat().st_mtime_ns) for path in files}

    before = state()
    scan(photos)
    list_pictures(photos)
    assert state() == before


def test_all_kinds_hold_the_same_pixels(tmp_path: Path) -> None:
    digests = [
        {(record.label, record.pixel_digest) for record in scan(build(tmp_path / str(number))).records}
        for number, build in enumerate(KINDS)
    ]
    assert all(found == digests[0] for found in digests)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "does not exist; give a folder of class folders"),
        ("none.zip", "does not exist"),
        ("photos.doc", "is a file of a kind that is not known"),
        ("photo.jpg", "is a file of a kind that is not known"),
        ("pipe.zip", "is no plain file"),
        ("closed.csv", "cannot be read"),
    ],
)
def test_what_is_no_input_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setenv("BUDWOOD_CACHE", str(tmp_path / "cache"))
    for file in ("photos.doc", "photo.jpg", "closed.csv"):
        (tmp_path / file).touch()
    os.mkfifo(tmp_path / "pipe.zip")
    if name == "closed.csv":

        def refusing(*arguments: object, **options: object) -> object:  # root may read everything
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refusing)
    for check in (check_source, open_source):
        with pytest.raises(UsageError, match=words):
            check(tmp_path / name)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".npz", ".zip", ".tar", ".TAR.GZ", ".tgz", ".tar.bz2", ".tar.xz"])
def test_the_cheap_check_looks_at_names_only(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"set{suffix}").write_bytes(b"rubbish")
    check_source(tmp_path / f"set{suffix}")
    with pytest.raises(DataError):
        open_source(tmp_path / f"set{suffix}")


@pytest.mark.parametrize("build", KINDS)
def test_pictures_are_listed_without_their_labels(tmp_path: Path, build: Callable) -> None:
    found = list_pictures(build(tmp_path / "photos"))
    assert len({file for _, file in found}) == len(found) == (24 if build is divided else 8)
    assert all(file.is_file() for _, file in found)


def test_names_shown_are_those_inside_the_input(tmp_path: Path) -> None:
    assert list_pictures(archive(tmp_path / "a"))[0][0] == "set/elm/1.png"
    assert list_pictures(npz(tmp_path / "n"))[0][0] == "000000.png"
    assert list_pictures(csv(tmp_path / "c"))[0][0] == "elm/1.png"
    place = tmp_path / "c" / "elm" / "1.png"
    assert list_pictures(place) == [(str(place), place)]


def test_an_archive_without_class_folders_can_be_predicted_and_not_learnt(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as packed:
        packed.write(folder(tmp_path / "photos") / "oak/0.png", "0.png")
    assert [name for name, _ in list_pictures(tmp_path / "new.zip")] == ["0.png"]
    with pytest.raises(DataError, match="1 pictures directly"):
        open_source(tmp_path / "new.zip")


def test_nothing_to_predict_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        list_pictures(tmp_path / "empty")
    with pytest.raises(UsageError, match="does not exist; give pictures"):
        list_pictures(tmp_path / "none")
