"""The store and the working pixels: decoded once, never trusted when damaged, equal to a fresh decode."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.data import scan as scan_module
from budwood.data import store as store_module
from budwood.data.decode import decode_file
from budwood.data.picture_index import load_index
from budwood.data.pixels import PictureStore, pixel_digest, working_pixels
from budwood.data.planes import luma_plane
from budwood.data.preprocess import Preprocess, reduce_to
from budwood.data.reader import Job
from budwood.data.records import Catalog
from budwood.data.scan import scan
from budwood.data.worker_answers import Batch
from budwood.errors import DataError, IntegrityError, OutputError, UsageError
from budwood.events import StepAdvanced
from budwood.files import sha256_bytes

SIDE = 16
PREPROCESS = Preprocess(size=12, store_side=SIDE)


def draw(path: Path, seed: int, *, size: tuple[int, int] = (32, 24)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number in range(8):
        draw(root / "ab"[number % 2] / f"{number}.png", number, size=(32 + number, 24))
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


class Decodes:
    """Counts the files that a scan reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = scan_module.read_files

        def counted(jobs: list[Job], *, side: int, workers: int) -> Iterator[Batch]:
            self.count += len(jobs)
            return real(jobs, side=side, workers=workers)

        monkeypatch.setattr(scan_module, "read_files", counted)


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Decodes:
    return Decodes(monkeypatch)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """More pictures than are handed over at once."""
    root = tmp_path / "many"
    for number in range(80):
        draw(root / "ab"[number % 2] / f"{number:02}.png", number, size=(20, 18))
    return root


def stored(photos: Path, folder: Path) -> tuple[Catalog, PictureStore]:
    store = PictureStore(folder, side=SIDE)
    return scan(photos, store=store), store


def assert_true(catalog: Catalog, store: PictureStore) -> None:
    for record in catalog.records:
        expected = reduce_to(decode_file(catalog.root / record.path).image, SIDE)
        assert np.array_equal(store.fetch(catalog, record), expected)


def test_stored_pictures_are_the_reduced_decoded_ones(photos: Path, folder: Path) -> None:
    catalog, store = stored(photos, folder)
    for record in catalog.records:
        expected = reduce_to(decode_file(photos / record.path).image, SIDE)
        assert np.array_equal(store.read(record.pixel_digest), expected)
    assert len(store) == 8


def test_rescan_decodes_nothing(photos: Path, folder: Path, decodes: Decodes) -> None:
    first, _ = stored(photos, folder)
    again, store = stored(photos, folder)
    assert (decodes.count, again) == (8, first)
    assert_true(again, store)


def test_rescan_decodes_new_and_changed_files_only(photos: Path, folder: Path, decodes: Decodes) -> None:
    stored(photos, folder)
    draw(photos / "a/new.png", 100)
    draw(photos / "b/1.png", 101)
    catalog, store = stored(photos, folder)
    assert decodes.count == 10
    assert_true(catalog, store)


def test_changed_file_of_equal_size_and_mtime_is_noticed(photos: Path, folder: Path, decodes: Decodes) -> None:
    for number in range(2):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(photos / f"a/same{number}.bmp")
    stored(photos, folder)
    target = photos / "a/same0.bmp"
    before = target.stat().st_mtime_ns
    target.write_bytes((photos / "a/same1.bmp").read_bytes())
    os.utime(target, ns=(before, before))
    catalog, store = stored(photos, folder)
    assert decodes.count == 11
    assert_true(catalog, store)


def test_unreadable_files_are_remembered_too(photos: Path, folder: Path, decodes: Decodes) -> None:
    (photos / "a/bad.png").write_bytes(b"bad")
    first, _ = stored(photos, folder)
    again, _ = stored(photos, folder)
    assert (decodes.count, again) == (9, first)


def test_equal_pictures_are_kept_once(photos: Path, folder: Path) -> None:
    Image.open(photos / "a/0.png").save(photos / "a/copy.bmp")
    catalog, store = stored(photos, folder)
    assert (len(catalog), len(store)) == (9, 8)


def test_deleted_files_are_forgotten(photos: Path, folder: Path) -> None:
    stored(photos, folder)
    (photos / "a/0.png").unlink()
    catalog, _ = stored(photos, folder)
    index = load_index(folder, side=SIDE, reader="any")
    assert index is not None
    assert len(catalog) == len(index.files[str(photos)].paths) == 7


def test_two_roots_with_equal_names_do_not_mix(photos: Path, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for number in range(8):
        draw(other / "ab"[number % 2] / f"{number}.png", 50 + number, size=(32 + number, 24))
    stored(photos, folder)
    catalog, store = stored(other, folder)
    assert_true(catalog, store)
    assert_true(*stored(photos, folder))


def cut_data(folder: Path) -> None:
    os.truncate(folder / "pixels.u8", 700)


def flip_bytes(folder: Path) -> None:
    data = bytearray((folder / "pixels.u8").read_bytes())
    data[100] ^= 1
    data[-100] ^= 1
    (folder / "pixels.u8").write_bytes(bytes(data))


def cut_index(folder: Path) -> None:
    data = (folder / "index.bin").read_bytes()
    (folder / "index.bin").write_bytes(data[: len(data) // 2])


def flipped_index(folder: Path) -> None:
    data = bytearray((folder / "index.bin").read_bytes())
    data[-100] ^= 1
    (folder / "index.bin").write_bytes(bytes(data))


def nonsense_index(folder: Path) -> None:
    """Sealed as it should be, but the first picture lies far behind the end."""
    line, _, body = (folder / "index.bin").read_bytes().partition(b"\n")
    body = body[:32] + (10**12).to_bytes(8, "little") + body[40:]
    head = json.loads(line) | {"sha256": sha256_bytes(body)}
    (folder / "index.bin").write_bytes(json.dumps(head).encode() + b"\n" + body)


DAMAGE = {
    "no data": lambda folder: (folder / "pixels.u8").unlink(),
    "cut data": cut_data,
    "flipped bytes": flip_bytes,
    "no planes": lambda folder: (folder / "planes.u8").unlink(),
    "cut planes": lambda folder: os.truncate(folder / "planes.u8", 5000),
    "no index": lambda folder: (folder / "index.bin").unlink(),
    "cut index": cut_index,
    "flipped index": flipped_index,
    "nonsense index": nonsense_index,
    "index is a list": lambda folder: (folder / "index.bin").write_text("[]\n"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_store_is_noticed_and_made_again(damage: object, photos: Path, folder: Path) -> None:
    first, _ = stored(photos, folder)
    assert callable(damage)
    damage(folder)
    catalog, store = stored(photos, folder)
    assert catalog == first
    assert_true(catalog, store)
    fresh = PictureStore(folder, side=SIDE)
    assert all(np.array_equal(fresh.read(r.pixel_digest), store.fetch(catalog, r)) for r in catalog.records)


def test_damaged_bytes_are_never_handed_out(photos: Path, folder: Path) -> None:
    catalog, _ = stored(photos, folder)
    flip_bytes(folder)
    store = PictureStore(folder, side=SIDE)
    with pytest.raises(IntegrityError, match="was changed"):
        store.read(catalog.records[0].pixel_digest)


def test_bytes_of_a_killed_scan_are_not_named_and_overwritten(photos: Path, folder: Path) -> None:
    stored(photos, folder)
    size = (folder / "pixels.u8").stat().st_size
    with (folder / "pixels.u8").open("ab") as file:
        file.write(b"half a picture")
    draw(photos / "a/new.png", 100)
    catalog, store = stored(photos, folder)
    assert (folder / "pixels.u8").stat().st_size == size + store.read(catalog.records[-5].pixel_digest).size
    assert_true(catalog, store)


def test_stopped_scan_keeps_what_was_decoded(many: Path, folder: Path) -> None:
    def stop(event: object) -> None:
        if isinstance(event, StepAdvanced):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(many, store=PictureStore(folder, side=SIDE), listen=stop, workers=1)
    assert 0 < len(PictureStore(folder, side=SIDE)) < 80


def test_planes_are_those_of_the_stored_pictures(photos: Path, folder: Path) -> None:
    catalog, store = stored(photos, folder)
    planes = store.planes(catalog, catalog.records)
    for record, plane in zip(catalog.records, planes, strict=True):
        assert np.array_equal(plane, luma_plane(store.read(record.pixel_digest)))
        assert np.array_equal(plane, store.plane(catalog, record))
    assert store.planes(catalog, []).shape == (0, 64, 64)


def test_damaged_plane_is_made_again(photos: Path, folder: Path) -> None:
    catalog, store = stored(photos, folder)
    sound = store.planes(catalog, catalog.records)
    data = bytearray((folder / "planes.u8").read_bytes())
    data[4096 + 7] ^= 1
    (folder / "planes.u8").write_bytes(bytes(data))
    store = PictureStore(folder, side=SIDE)
    assert np.array_equal(store.planes(catalog, catalog.records), sound)


def test_files_that_another_reader_could_not_read_are_tried_again(
    photos: Path, folder: Path, decodes: Decodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "a/bad.png").write_bytes(b"bad")
    first, _ = stored(photos, folder)
    monkeypatch.setattr("PIL.__version__", "99.0")
    again, _ = stored(photos, folder)
    assert (decodes.count, again) == (10, first)


def test_store_of_another_side_is_begun_anew(photos: Path, folder: Path) -> None:
    stored(photos, folder)
    store = PictureStore(folder, side=8)
    catalog = scan(photos, store=store)
    assert min(store.read(catalog.records[0].pixel_digest).shape[:2]) == 8


def test_second_store_sees_what_the_first_one_added(photos: Path, folder: Path) -> None:
    second = PictureStore(folder, side=SIDE)
    stored(photos, folder)
    assert_true(scan(photos, store=second), second)


def test_file_changed_after_the_scan_is_refused(photos: Path, folder: Path) -> None:
    catalog, store = stored(photos, folder)
    flip_bytes(folder)
    store = PictureStore(folder, side=SIDE)
    draw(photos / catalog.records[0].path, 999)
    with pytest.raises(DataError, match="changed since the scan"):
        store.fetch(catalog, catalog.records[0])


def test_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write the picture cache"):
        PictureStore(tmp_path / "file" / "store", side=SIDE)


def test_full_disk_is_an_output_error_and_harms_nothing(
    photos: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = stored(photos, folder)
    draw(photos / "a/new.png", 100)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "save_index", full)
        with pytest.raises(OutputError, match=r"No space left on device\); free some space"):
            stored(photos, folder)
    catalog, store = stored(photos, folder)
    assert len(catalog) == len(first) + 1
    assert_true(catalog, store)


def test_pixel_digest_tells_shape_and_content() -> None:
    zeros = np.zeros((2, 6, 3), np.uint8)
    assert pixel_digest(zeros) == pixel_digest(zeros.copy())
    assert pixel_digest(zeros) != pixel_digest(zeros.reshape(6, 2, 3))
    assert pixel_digest(zeros) != pixel_digest(zeros + 1)


@pytest.mark.parametrize("in_file", [False, True], ids=["memory", "file"])
def test_working_pixels_equal_the_preprocess_of_each_picture(
    in_file: bool, photos: Path, folder: Path, tmp_path: Path
) -> None:
    catalog, store = stored(photos, folder)
    made = working_pixels(store, catalog, PREPROCESS, file=tmp_path / "w.u8" if in_file else None)
    expected = [PREPROCESS.pixels(decode_file(photos / record.path).image) for record in catalog.records]
    assert np.array_equal(made, np.stack(expected))


def test_working_file_is_used_again_only_for_equal_pictures_and_preprocess(
    photos: Path, folder: Path, tmp_path: Path
) -> None:
    catalog, store = stored(photos, folder)
    file = tmp_path / "cache/w.u8"
    steps: list[str] = []

    def make(catalog: Catalog, preprocess: Preprocess) -> None:
        working_pixels(store, catalog, preprocess, file=file, listen=lambda e: steps.append(type(e).__name__))

    make(catalog, PREPROCESS)
    make(catalog, PREPROCESS)
    assert steps.count("StepStarted") == 1
    make(catalog, Preprocess(size=10, store_side=SIDE))
    assert steps.count("StepStarted") == 2
    draw(photos / "a/new.png", 7)
    make(scan(photos, store=store), Preprocess(size=10, store_side=SIDE))
    assert steps.count("StepStarted") == 3
    assert sorted(p.name for p in file.parent.iterdir()) == ["w.u8", "w.u8.json"]


@pytest.mark.parametrize("damage", ["flip", "cut", "no sidecar"])
def test_damaged_working_file_is_made_again(damage: str, photos: Path, folder: Path, tmp_path: Path) -> None:
    catalog, store = stored(photos, folder)
    file = tmp_path / "w.u8"
    first = np.array(working_pixels(store, catalog, PREPROCESS, file=file))
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[5] ^= 255
        file.write_bytes(bytes(data))
    elif damage == "cut":
        file.write_bytes(bytes(data[:-1]))
    else:
        (tmp_path / "w.u8.json").unlink()
        file.write_bytes(bytes(len(data)))
    assert np.array_equal(working_pixels(store, catalog, PREPROCESS, file=file), first)


def test_working_pixels_refuse_another_side_and_unreadable_records(photos: Path, folder: Path) -> None:
    (photos / "a/bad.png").write_bytes(b"bad")
    catalog, store = stored(photos, folder)
    with pytest.raises(UsageError, match="side 16, preprocess 320"):
        working_pixels(store, catalog.usable(), Preprocess(size=12), file=None)
    with pytest.raises(DataError, match=r"a/bad\.png"):
        working_pixels(store, catalog, PREPROCESS, file=None)
