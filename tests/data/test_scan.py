"""`scan` on folders drawn here: what becomes a record, what is passed over, which words an error uses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.data import scan as scan_module
from budwood.data.inputs.sources import open_source
from budwood.data.reader import Job, read_files
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.data.worker_answers import Batch
from budwood.errors import DataError, UsageError
from budwood.events import Event, StepAdvanced, StepFinished, StepStarted
from budwood.files import sha256_file, unescape_name


def draw(path: Path, seed: int = 0, *, size: tuple[int, int] = (32, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """3 classes x 4 pictures."""
    root = tmp_path / "photos"
    for number in range(12):
        draw(root / "abc"[number // 4] / f"{number:02}.png", number)
    return root


def tree(root: Path) -> dict[str, tuple[str, int]]:
    return {str(p): (sha256_file(p), p.stat().st_mtime_ns) for p in sorted(root.rglob("*")) if p.is_file()}


def test_every_picture_becomes_a_record_in_order(photos: Path) -> None:
    catalog = scan(photos)
    assert [r.path for r in catalog.records] == [f"{'abc'[n // 4]}/{n:02}.png" for n in range(12)]
    assert catalog.classes == ("a", "b", "c")
    assert catalog.counts() == {"a": 4, "b": 4, "c": 4}
    assert catalog.ignored == ()


def test_record_describes_the_file(photos: Path) -> None:
    record = scan(photos).records[0]
    file = photos / record.path
    luma = (np.asarray(Image.open(file)) @ [0.299, 0.587, 0.114]).mean()
    assert (record.width, record.height, record.mode, record.format) == (32, 24, "RGB", "PNG")
    assert (record.state, record.label, record.num_bytes) == ("ok", "a", file.stat().st_size)
    assert record.file_digest == sha256_file(file)
    assert record.brightness == pytest.approx(luma, abs=0.05)  # Pillow's luma is rounded for each pixel


def test_equal_pixels_have_one_digest_and_equal_bytes_of_another_shape_do_not(photos: Path) -> None:
    Image.open(photos / "a/00.png").save(photos / "a/again.bmp")
    flat = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    flat.save(photos / "a/wide.png")
    flat.transpose(Image.Transpose.ROTATE_90).save(photos / "a/tall.png")
    digest = {r.path: r.pixel_digest for r in scan(photos).records}
    assert digest["a/00.png"] == digest["a/again.bmp"]
    assert digest["a/wide.png"] != digest["a/tall.png"]


def test_deeper_folders_belong_to_the_class_folder(photos: Path) -> None:
    draw(photos / "a/day 1/camera/x.png", 50)
    draw(photos / "a/zz.png", 51)
    records = scan(photos).records
    assert next(r for r in records if r.path == "a/day 1/camera/x.png").label == "a"
    assert [r.path for r in records] == sorted(r.path for r in records)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a/.hidden.png", "hidden"),
        (".cache/x.png", "hidden"),
        ("__MACOSX/a/x.png", "operating system"),
        ("a/Thumbs.db", "operating system"),
        ("a/.ipynb_checkpoints/x.png", "hidden"),
        ("a/labels.csv", "not a picture file"),
        ("loose.png", "beside the class folders"),
        ("d/notes.txt", "not a picture file"),
    ],
)
def test_what_is_no_picture_of_a_class_is_listed_with_its_reason(photos: Path, name: str, reason: str) -> None:
    draw((photos / name).with_suffix(".png")).rename(photos / name)
    catalog = scan(photos)
    assert len(catalog) == 12
    assert catalog.classes == ("a", "b", "c")
    assert any(reason in line for line in catalog.ignored)


def test_folder_without_pictures_is_no_class_and_said_so(photos: Path) -> None:
    (photos / "empty/deeper").mkdir(parents=True)
    assert scan(photos).ignored == ("empty: a folder without any picture is no class",)


def test_damaged_picture_is_kept_as_unreadable(photos: Path) -> None:
    (photos / "a/cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    (photos / "b/empty.png").touch()
    (photos / "b/phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    catalog = scan(photos)
    found = {r.path: r.reason for r in catalog.records if r.state == "unreadable"}
    assert found.keys() == {"a/cut.jpg", "b/empty.png", "b/phone.heic"}
    assert found["b/empty.png"] == "empty file"
    assert len(catalog.usable()) == 12


def test_symbolic_link_loop_adds_no_picture(photos: Path) -> None:
    (photos / "a/loop").symlink_to(photos)
    (photos / "up").symlink_to(photos.parent)
    catalog = scan(photos)
    assert len(catalog) == 12
    assert sum("symbolic link to a folder" in line for line in catalog.ignored) == 2


def test_symbolic_link_is_a_picture_only_inside_the_root(photos: Path) -> None:
    outside = draw(photos.parent / "outside.png", 99)
    (photos / "a/in.png").symlink_to(photos / "b/04.png")
    (photos / "a/out.png").symlink_to(outside)
    (photos / "a/gone.png").symlink_to(photos / "nothing.png")
    catalog = scan(photos)
    assert "a/in.png" in {r.path for r in catalog.records}
    assert catalog.ignored == (
        "a/gone.png: a broken symbolic link",
        "a/out.png: a symbolic link out of the folder",
    )


def test_pipe_with_a_picture_name_does_not_block(photos: Path) -> None:
    os.mkfifo(photos / "a/pipe.png")
    assert scan(photos).ignored == ("a/pipe.png: not a plain file",)


def test_name_that_is_not_utf8_is_escaped_and_found_again(photos: Path) -> None:
    folder = os.fsencode(photos) + b"/caf\xe9"
    os.mkdir(folder)
    shutil.copy(photos / "a/00.png", folder + b"/\xff\n.png")
    record = next(r for r in scan(photos).records if r.label.startswith("caf"))
    assert (record.label, record.state) == ("caf\\xe9", "ok")
    assert (photos / unescape_name(record.path)).is_file()
    record.path.encode("utf-8")


def test_folder_that_cannot_be_read_is_listed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(photos / "locked/1.png")
    real = os.scandir

    def refusing(path: str | int) -> object:  # the tests may run as root, whom no mode bits stop
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert "locked: the folder cannot be read (permission denied)" in scan(photos).ignored


def test_result_does_not_depend_on_workers_or_store(photos: Path, tmp_path: Path) -> None:
    (photos / "a/bad.png").write_bytes(b"bad")
    plain = scan(photos, workers=1)
    assert scan(photos, workers=7) == plain
    assert scan(photos, store=PictureStore(tmp_path / "store", side=16)) == plain
    assert scan(photos, store=PictureStore(tmp_path / "store", side=16)) == plain


def test_file_that_goes_away_after_the_walk_is_listed_and_no_other_is_read_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PictureStore(tmp_path / "store", side=16)
    first, listing = scan(photos, store=store), open_source(photos)
    (photos / "b/05.png").unlink()
    monkeypatch.setattr(scan_module, "open_source", lambda path, listen: listing)
    asked: list[bytes] = []

    def spied(jobs: list[Job], *, side: int, workers: int) -> Iterator[Batch]:
        asked.extend(job.name for job in jobs)
        return read_files(jobs, side=side, workers=workers)

    monkeypatch.setattr(scan_module, "read_files", spied)
    second = scan(photos, store=store)
    assert asked == [os.fsencode(photos / "b/05.png")]
    assert (second.records[5].state, second.records[5].reason) == ("unreadable", "no such file or directory")
    assert [r for r in second.records if r.path != "b/05.png"] == [r for r in first.records if r.path != "b/05.png"]


def test_nothing_in_the_folder_is_changed(photos: Path, tmp_path: Path) -> None:
    before = tree(photos)
    scan(photos, store=PictureStore(tmp_path / "store", side=16))
    assert tree(photos) == before


def test_events_count_every_picture(photos: Path) -> None:
    events: list[Event] = []
    scan(photos, listen=events.append)
    assert events[0] == StepStarted(step="scan", total=12)
    assert sum(e.count for e in events if isinstance(e, StepAdvanced)) == 12
    assert isinstance(events[-1], StepFinished)
    assert events[-1].note == "12 pictures, 3 classes, 0 unreadable"


def test_missing_folder_and_file_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        scan(tmp_path / "none")
    (tmp_path / "photos.doc").touch()
    with pytest.raises(UsageError, match="is a file of a kind that is not known; give a folder of class folders"):
        scan(tmp_path / "photos.doc")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "it is empty"),
        (["a/readme.txt"], "no pictures"),
        (["1.png", "2.png"], "2 pictures directly, and no class folders"),
        (["a/1.png", "a/2.png"], 'one class, "a"'),
        (["train/1.png", "test/2.png"], "the parts test, train and not classes"),
    ],
    ids=["empty", "no pictures", "no class folders", "one class", "parts"],
)
def test_folder_that_cannot_be_used_says_what_was_found(tmp_path: Path, names: list[str], words: str) -> None:
    (tmp_path / "photos").mkdir()
    for name in names:
        draw((tmp_path / "photos" / name).with_suffix(".png")).rename(tmp_path / "photos" / name)
    with pytest.raises(DataError, match=words):
        scan(tmp_path / "photos")


def test_folder_of_unreadable_pictures_is_refused(photos: Path) -> None:
    for file in photos.rglob("*.png"):
        file.write_bytes(b"x")
    with pytest.raises(DataError, match="none of the 12 pictures"):
        scan(photos)
