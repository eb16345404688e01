"""Arrays in an ``.npz``: what is a picture, what is a label, what is refused, and pixels that come back exactly."""

from __future__ import annotations

import io
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from budwood import cache
from budwood.data.decode import decode_file
from budwood.data.inputs import npz
from budwood.data.inputs.arrays import list_arrays
from budwood.errors import BudwoodError, DataError
from budwood.events import Event, StepAdvanced, StepStarted, Warned
from budwood.files import unescape_name

LABELS = np.array([0, 1, 2, 1, 0, 2])


def pictures(number: int = 6, *shape: int, seed: int = 0) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (number, *(shape or (7, 5, 3)))).astype(np.uint8)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "set.npz", **arrays)
    return folder / "set.npz"


def decoded(file: Path) -> NDArray[np.uint8]:
    return np.stack([decode_file(Path(entry.place)).image for entry in list_arrays(file).entries])


def classes_of(file: Path) -> list[str]:
    return [entry.label for entry in list_arrays(file).entries]


def test_pixels_come_back_exactly_in_the_order_of_the_array(tmp_path: Path) -> None:
    images = pictures()
    file = saved(tmp_path, images=images, labels=LABELS)
    listing = list_arrays(file)
    assert [entry.path for entry in listing.entries] == [f"{n:06d}.png" for n in range(6)]
    assert [e.place for e in listing.entries] == [str(listing.root / unescape_name(e.path)) for e in listing.entries]
    assert listing.classes == ("0", "1", "2")
    assert (decoded(file) == images).all()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float16", ">f8", ">i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_and_layout_gives_the_same_pixels(tmp_path: Path, dtype: str, order: Any, compressed: bool) -> None:
    images = pictures()
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "set.npz", images=np.asarray(images.astype(dtype), order=order), labels=LABELS)
    assert (decoded(tmp_path / "set.npz") == images).all()


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1)], ids=["grey", "one channel"])
def test_grey_pictures(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = pictures(6, *shape)
    found = decoded(saved(tmp_path, images=images, labels=LABELS))
    assert (found == images.reshape(6, 7, 5, 1)).all()


def test_numbers_within_0_and_1_are_scaled_and_that_is_said_each_time(tmp_path: Path) -> None:
    images = pictures()
    file = saved(tmp_path, images=images / 255, labels=LABELS)
    for _ in range(2):
        events: list[Event] = []
        list_arrays(file, listen=events.append)
        assert [e.text for e in events if isinstance(e, Warned)] == [
            f"{file}: the values of images lie within 0 and 1, so 1 was taken as white (255)"
        ]
    assert (decoded(file) == images).all()


def test_whole_numbers_of_0_and_1_are_nearly_black(tmp_path: Path) -> None:
    assert decoded(saved(tmp_path, images=pictures() % 2, labels=LABELS)).max() == 1


def test_broken_numbers_are_rounded_and_that_is_said(tmp_path: Path) -> None:
    events: list[Event] = []
    file = saved(tmp_path, images=pictures() * 0.99, labels=LABELS)
    list_arrays(file, listen=events.append)
    assert "rounded" in next(e.text for e in events if isinstance(e, Warned))
    assert (decoded(file) == np.rint(pictures() * 0.99)).all()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (LABELS, ["0", "1", "2", "1", "0", "2"]),
        (LABELS * 50, ["000", "050", "100", "050", "000", "100"]),
        (LABELS.astype(float), ["0", "1", "2", "1", "0", "2"]),
        (LABELS.astype(bool), ["0", "1", "1", "1", "0", "1"]),
        (LABELS[:, None], ["0", "1", "2", "1", "0", "2"]),
        (np.eye(3)[LABELS], ["0", "1", "2", "1", "0", "2"]),
        (np.array(["oak", " elm", "é", "elm", "oak", "a/b"]), ["oak", "elm", "é", "elm", "oak", "a/b"]),
        (np.array([b"oak", b"elm", b"\xe9", b"elm", b"oak", b"x"]), ["oak", "elm", "\\xe9", "elm", "oak", "x"]),
        (np.array(["..", "/", "con", "a\nb", "\\", "~"]), ["..", "/", "con", "a\\u000ab", "\\\\", "~"]),
    ],
    ids=["int", "padded", "float", "bool", "column", "one-hot", "text", "bytes", "hostile"],
)  # fmt: skip
def test_labels_of_every_form(tmp_path: Path, labels: NDArray[Any], expected: list[str]) -> None:
    assert classes_of(saved(tmp_path, images=pictures(), labels=labels)) == expected


def test_names_of_the_classes_are_used(tmp_path: Path) -> None:
    file = saved(tmp_path, images=pictures(), labels=LABELS, class_names=np.array(["ash", "elm", "oak"]))
    assert classes_of(file) == ["ash", "elm", "oak", "elm", "ash", "oak"]
    file = saved(tmp_path, images=pictures(), labels=LABELS + 1, class_names=np.array(["ash", "elm", "oak"]))
    with pytest.raises(DataError, match="does not fit the 3 names"):
        list_arrays(file)


@pytest.mark.parametrize(
    "names",
    [("images", "labels"), ("data", "y"), ("x", "targets"), ("X", "Y"), ("arr_0", "arr_1"), ("foo", "bar")],
)
def test_known_names_and_the_only_pair_that_fits(tmp_path: Path, names: tuple[str, str]) -> None:
    file = saved(tmp_path, **{names[0]: pictures(), names[1]: LABELS, "weights": np.ones((3, 3))})
    listing = list_arrays(file)
    assert [entry.label for entry in listing.entries] == ["0", "1", "2", "1", "0", "2"]
    assert listing.ignored == ("weights: this array is not used",)


def test_groups_and_parts_reach_the_entries(tmp_path: Path) -> None:
    parts = np.array(["train", "Train", "train", "val", "test", "test"])
    file = saved(tmp_path, images=pictures(), labels=LABELS, groups=np.array([7, 7, 8, 9, 10, 10]), parts=parts)
    entries = list_arrays(file).entries
    assert [entry.group for entry in entries] == ["07", "07", "08", "09", "10", "10"]
    assert [entry.part for entry in entries] == ["train", "train", "train", "val", "test", "test"]


@pytest.mark.parametrize("form", ["{part}_{what}", "{what}_{part}"])
def test_arrays_named_by_part_are_a_division(tmp_path: Path, form: str) -> None:
    arrays = {}
    for number, part in enumerate(("train", "val", "test")):
        arrays[form.format(part=part, what="images")] = pictures(seed=number)
        arrays[form.format(part=part, what="labels")] = LABELS[:, None]
    listing = list_arrays(saved(tmp_path, **arrays))
    assert len(listing.entries) == 18
    assert {entry.path.split("/")[0] for entry in listing.entries} == {"train", "val", "test"}
    assert all(entry.part == entry.path.split("/")[0] for entry in listing.entries)


def test_unlabelled_part_is_passed_over_unless_labels_are_not_needed(tmp_path: Path) -> None:
    file = saved(tmp_path, x_train=pictures(), y_train=LABELS, x_test=pictures(4, seed=1))
    listing = list_arrays(file)
    assert [entry.part for entry in listing.entries] == [""] * 6
    assert listing.ignored == ("4 pictures without labels; name them with budwood predict",)
    assert len(list_arrays(file, needs_labels=False).entries) == 10


def test_pictures_alone_can_be_predicted_and_not_learnt(tmp_path: Path) -> None:
    file = saved(tmp_path, images=pictures())
    assert len(list_arrays(file, needs_labels=False).entries) == 6
    with pytest.raises(DataError, match=r"pictures and no labels\. Two arrays are expected"):
        list_arrays(file)


BROKEN = pictures().astype(np.float32)
BROKEN[2, 0, 0] = np.nan
BROKEN[5, 0, 0, 0] = np.inf


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": pictures().astype(object), "labels": LABELS}, r"Python objects.*numpy\.stack\(images\)"),
        ({"images": pictures(), "labels": LABELS.astype(object)}, r"labels\.astype\(str\)"),
        ({"images": BROKEN, "labels": LABELS}, "holds 4 values that are NaN or infinite"),
        ({"images": pictures() - 128.0, "labels": LABELS}, r"values from -128 to 127, \d+ of them outside 0 to 255"),
        ({"images": pictures().astype(np.uint16) * 257, "labels": LABELS}, "outside 0 to 255"),
        ({"images": pictures().transpose(0, 3, 1, 2), "labels": LABELS}, r"save images\.transpose\(0, 2, 3, 1\)"),
        ({"images": pictures(6, 7, 5, 4), "labels": LABELS}, r"\[N, H, W, 3\]"),
        ({"images": pictures(6, 7), "labels": LABELS}, r"has the shape \(6, 7\)"),
        ({"images": pictures(0, 7, 5, 3), "labels": LABELS[:0]}, "is empty"),
        ({"images": pictures().astype(bool), "labels": LABELS}, "is of type bool"),
        ({"images": pictures(), "labels": LABELS[:5]}, "6 pictures in images and 5 labels"),
        ({"images": pictures(), "labels": LABELS + 0.5}, "labels holds 0.5"),
        ({"images": pictures(), "labels": np.array([""] * 6)}, "6 labels are empty"),
        ({"images": pictures(), "labels": np.ones((6, 3))}, "row 0 is not one 1 among zeros"),
        ({"images": pictures(), "labels": np.ones((6, 3, 2))}, "has the shape"),
        ({"images": pictures(), "labels": LABELS, "parts": LABELS}, 'parts holds "0"'),
        ({"images": pictures(), "labels": LABELS, "groups": LABELS[:2]}, "6 pictures in images and 2 groups"),
        ({"images": pictures(), "labels": LABELS * 1j}, "is of type complex128"),
        ({"a": pictures(), "b": LABELS, "c": LABELS}, "Two arrays are expected"),
        ({"a": LABELS}, "Two arrays are expected"),
        ({}, "no array"),
        ({"train_images": pictures(), "train_labels": LABELS * 0, "test_images": pictures(), "test_labels": LABELS},
         '"1" is in test'),
    ],
    ids=["object images", "object labels", "nan", "negative", "16 bit", "channels first", "four channels", "flat",
         "empty", "bool", "count", "broken labels", "empty labels", "no one-hot", "cube of labels", "bad parts",
         "few groups", "complex", "two candidates", "no images", "nothing", "unknown class"],
)  # fmt: skip
def test_unusable_arrays_are_refused_in_words(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"(?i){words}"):
        list_arrays(saved(tmp_path, **arrays))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    file = saved(tmp_path, images=np.array([Bomb()] * 6, dtype=object), labels=LABELS)
    with pytest.raises(DataError, match="Python objects"):
        list_arrays(file)
    assert not marker.exists()


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((10**6, 100, 100, 3), "|u1", "larger than the 20 GB allowed"),
        ((10**9, 1, 1, 3), "|u1", "more than the 2000000 allowed"),
        ((1, 60_000, 60_000, 3), "|u1", "more than the 50 megapixels"),
        ((-1, 5, 5, 3), "|u1", "damaged"),
        ((6, 5, 5, 3), "|u1", "is cut"),
        ((6, 5, 5, 3), "|S99999999999999", "damaged"),
    ],
    ids=["terabytes", "countless", "huge pictures", "negative", "cut", "huge values"],
)
def test_sizes_are_checked_before_anything_is_loaded(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, words: str
) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", header(shape, dtype) + bytes(10))
        labels = io.BytesIO()
        np.save(labels, LABELS)
        archive.writestr("labels.npy", labels.getvalue())
    with pytest.raises(DataError, match=words):
        list_arrays(tmp_path / "set.npz")


def test_labels_of_gigabytes_are_refused_by_their_header(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        images = io.BytesIO()
        np.save(images, pictures())
        archive.writestr("images.npy", images.getvalue())
        archive.writestr("labels.npy", header((6,), "<U99999999") + bytes(10))
    with pytest.raises(DataError, match="MB allowed for labels"):
        list_arrays(tmp_path / "set.npz")


@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_or_read(tmp_path: Path, count: int) -> None:
    data = saved(tmp_path, images=pictures(), labels=LABELS).read_bytes()
    generator = np.random.default_rng(0)
    for number in range(count):
        broken = bytearray(data[: int(generator.integers(len(data)))] if number % 3 == 0 else data)
        for at in generator.integers(0, max(1, len(broken)), 4):
            broken[at : at + 1] = bytes([int(generator.integers(256))])
        file = tmp_path / "broken.npz"
        file.write_bytes(broken)
        with suppress(BudwoodError):  # and nothing else
            assert list_arrays(file).entries


def test_a_file_in_pieces_needs_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "_BLOCK_BYTES", 7 * 5 * 3 * 2)
    file = saved(tmp_path, images=pictures(), labels=LABELS)
    (info, _) = npz.array_infos(file)
    assert [len(block) for block in npz.array_rows(info)] == [2, 2, 2]
    assert (decoded(file) == pictures()).all()


def test_the_second_opening_writes_nothing_and_says_nothing(tmp_path: Path) -> None:
    file = saved(tmp_path, images=pictures(), labels=LABELS)
    events: list[Event] = []
    first = list_arrays(file, listen=events.append)
    assert events[0] == StepStarted(step="unpack", total=6)
    assert sum(e.count for e in events if isinstance(e, StepAdvanced)) == 6
    before = {place: place.stat().st_mtime_ns for place in first.root.iterdir()}
    events.clear()
    assert list_arrays(file, listen=events.append) == first
    assert events == []
    assert {place: place.stat().st_mtime_ns for place in first.root.iterdir()} == before


def test_a_changed_file_is_unpacked_anew(tmp_path: Path) -> None:
    file = saved(tmp_path, images=pictures(), labels=LABELS)
    first = list_arrays(file)
    saved(tmp_path, images=pictures(seed=5), labels=LABELS)
    assert list_arrays(file).root != first.root
    assert (decoded(file) == pictures(seed=5)).all()


def test_a_failed_file_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDWOOD_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError):
        list_arrays(saved(tmp_path, images=BROKEN, labels=LABELS))
    assert [place for place in cache.input_folder("").rglob("*") if place.suffix != ".lock"] == []


def test_pictures_are_png_of_the_right_mode(tmp_path: Path) -> None:
    listing = list_arrays(saved(tmp_path, images=pictures(6, 7, 5), labels=LABELS))
    with Image.open(listing.entries[0].place) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (5, 7))
