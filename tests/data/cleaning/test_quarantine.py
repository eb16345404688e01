"""The quarantine: each file in one place at any moment, nothing overwritten, everything brought back with its time."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from budwood.data.cleaning import quarantine as module
from budwood.data.cleaning.quarantine import Quarantine, refuse_unmovable
from budwood.data.records import Catalog, ImageRecord
from budwood.errors import DataError, IntegrityError, OutputError
from budwood.files import escape_name, sha256_bytes

NAMES = ("a/1.jpg", "a/2.jpg", "a/deep/3.jpg", "b/1.jpg", "b/no suffix", "b/\udcff\udcfe.jpg", "b/~2.jpg", "b/x\ny.jpg")
OLD = 1_000_000_007  # nanoseconds: no clock of today


def photos_in(folder: Path, names: tuple[str, ...] = NAMES) -> Catalog:
    records = []
    for number, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        data = f"picture {number}".encode()
        file.write_bytes(data)
        os.utime(file, ns=(OLD + number, OLD + number))
        records.append(ImageRecord(path=escape_name(name), label=name[0], file_digest=sha256_bytes(data)))
    return Catalog(root=folder, records=tuple(records), classes=("a", "b"))


def files_below(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in found}


def opened(tmp_path: Path, names: tuple[str, ...] = NAMES) -> tuple[Catalog, Quarantine]:
    made = photos_in(tmp_path / "photos", names)
    return made, Quarantine(tmp_path / "work" / "quarantine", tmp_path / "work" / "log.jsonl", root=made.root)


def all_of(catalog: Catalog) -> dict[str, str]:
    return {record.path: "why" for record in catalog.records}


def test_what_is_moved_comes_back_equal_in_name_content_and_time(tmp_path: Path) -> None:
    made, place = opened(tmp_path)
    before = files_below(made.root)
    moved = place.apply(made, {r.path: "too dark" for r in made.records[1:]})
    assert set(moved.moved) == {r.path for r in made.records[1:]}
    assert moved.left == ()
    assert set(files_below(made.root)) == {"a/1.jpg"}
    assert files_below(place.folder) == {name: value for name, value in before.items() if name != "a/1.jpg"}
    assert {move.why for move in place.held()} == {"too dark"}
    assert set(place.restore().moved) == set(moved.moved)
    assert files_below(made.root) == before
    assert place.held() == ()
    assert not place.folder.exists()
    assert place.restore().moved == ()


def test_every_move_is_in_the_log_before_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, place = opened(tmp_path)
    seen = []

    def watch(source: Path, target: Path) -> None:
        text = (tmp_path / "work" / "log.jsonl").read_text()
        seen.append(sum(str(line.count('"path"')) == "1" for line in text.splitlines()))
        os.rename(source, target)

    monkeypatch.setattr(module, "rename_without_overwriting", watch)
    place.apply(made, all_of(made))
    assert seen == [len(NAMES)] * len(NAMES)


def test_a_file_that_changed_since_the_scan_is_left_alone(tmp_path: Path) -> None:
    made, place = opened(tmp_path)
    (made.root / "a/1.jpg").write_bytes(b"another picture")
    (made.root / "a/2.jpg").unlink()
    result = place.apply(made, {r.path: "" for r in made.records[:3]})
    assert result.moved == ("a/deep/3.jpg",)
    assert dict(result.left)["a/1.jpg"].startswith("it was changed since the scan")
    assert dict(result.left)["a/2.jpg"].startswith("it cannot be read")
    assert (made.root / "a/1.jpg").read_bytes() == b"another picture"


def test_a_name_that_is_taken_in_the_quarantine_is_not_overwritten(tmp_path: Path) -> None:
    made, place = opened(tmp_path)
    place.apply(made, {"a/1.jpg": ""})
    again = photos_in(made.root, ("a/1.jpg",))
    (made.root / "a/1.jpg").write_bytes(b"new")
    again = Catalog(
        root=made.root,
        records=(ImageRecord(path="a/1.jpg", label="a", file_digest=sha256_bytes(b"new")),),
        classes=("a",),
    )
    assert place.apply(again, {"a/1.jpg": ""}).moved == ("a/1.jpg",)
    assert {value[0] for value in files_below(place.folder).values()} == {b"picture 0", b"new"}
    result = place.restore()  # the later one first; the earlier finds its place taken
    assert (made.root / "a/1.jpg").read_bytes() == b"new"
    assert len(result.left) == 1
    assert [move.place for move in place.held()] == ["a/1.jpg"]


def test_undo_never_overwrites_a_file_that_has_appeared_since(tmp_path: Path) -> None:
    made, place = opened(tmp_path)
    place.apply(made, all_of(made))
    (made.root / "a/1.jpg").write_bytes(b"the user's new picture")
    result = place.restore()
    assert (made.root / "a/1.jpg").read_bytes() == b"the user's new picture"
    assert (place.folder / "a/1.jpg").read_bytes() == b"picture 0"
    assert [path for path, _ in result.left] == ["a/1.jpg"]
    assert "another file has appeared" in result.left[0][1]
    (made.root / "a/1.jpg").unlink()
    assert place.restore().moved == ("a/1.jpg",)


def test_undo_makes_folders_again_that_were_removed(tmp_path: Path) -> None:
    made, place = opened(tmp_path)
    before = files_below(made.root)
    place.apply(made, all_of(made))
    shutil.rmtree(made.root)
    place.restore()
    assert files_below(made.root) == before


def test_links_and_what_they_lead_to_stay(tmp_path: Path) -> None:
    made, place = opened(tmp_path)
    (made.root / "b/link.jpg").symlink_to(made.root / "a/1.jpg")
    link = ImageRecord(path="b/link.jpg", label="b", file_digest=made.records[0].file_digest)
    made = Catalog(root=made.root, records=(*made.records, link), classes=made.classes)
    assert "leads to it" in place.apply(made, {"a/1.jpg": ""}).left[0][1]
    assert "symbolic link" in place.apply(made, {"b/link.jpg": ""}).left[0][1]
    assert (made.root / "b/link.jpg").read_bytes() == b"picture 0"


def test_a_read_only_folder_leaves_every_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, place = opened(tmp_path)

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    monkeypatch.setattr(module, "rename_without_overwriting", refuse)
    before = files_below(made.root)
    result = place.apply(made, all_of(made))
    assert result.moved == ()
    assert {why for _, why in result.left} == {"the system refused (Permission denied)"}
    assert files_below(made.root) == before
    assert place.held() == ()


def test_when_the_log_cannot_be_written_nothing_moves(tmp_path: Path) -> None:
    made, place = opened(tmp_path)
    before = files_below(made.root)
    (tmp_path / "work" / "log.jsonl").mkdir(parents=True)
    with pytest.raises((OutputError, IntegrityError)):
        place.apply(made, all_of(made))
    assert files_below(made.root) == before


@pytest.fixture
def other_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Between photos and quarantine every rename is refused, as it is between two file systems."""
    real = module.rename_without_overwriting

    def rename(source: Path, target: Path) -> None:
        if source.parent != target.parent:
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "File exists")
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(module, "rename_without_overwriting", rename)
    return monkeypatch.undo


@pytest.mark.usefixtures("other_disk")
def test_between_two_disks_files_are_copied_checked_and_come_back_with_their_time(tmp_path: Path) -> None:
    made, place = opened(tmp_path)
    os.chmod(made.root / "a/1.jpg", 0o444)
    before = files_below(made.root)
    assert len(place.apply(made, all_of(made)).moved) == len(NAMES)
    assert files_below(made.root) == {}
    assert files_below(place.folder) == before
    assert len(place.restore().moved) == len(NAMES)
    assert files_below(made.root) == before
    assert (made.root / "a/1.jpg").stat().st_mode & 0o777 == 0o444


@pytest.mark.usefixtures("other_disk")
@pytest.mark.parametrize("fault", ["full disk", "bad copy"])
def test_a_copy_that_fails_leaves_the_original_and_no_half(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, place = opened(tmp_path)
    before = files_below(made.root)

    def copyfile(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:4])
        if fault == "full disk":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfile", copyfile)
    result = place.apply(made, all_of(made))
    assert result.moved == ()
    assert len(result.left) == len(NAMES)
    assert files_below(made.root) == before
    assert files_below(place.folder) == {}


def test_a_real_second_file_system(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev or not os.access(other, os.W_OK):
        pytest.skip("there is no second file system here")
    made = photos_in(tmp_path / "photos")
    before = files_below(made.root)
    folder = other / f"budwood-test-{os.getpid()}"
    try:
        place = Quarantine(folder / "quarantine", folder / "log.jsonl", root=made.root)
        assert len(place.apply(made, all_of(made)).moved) == len(NAMES)
        assert files_below(made.root) == {}
        assert len(place.restore().moved) == len(NAMES)
        assert files_below(made.root) == before
    finally:
        shutil.rmtree(folder)


MOVER = """
import errno, os, sys, time
from pathlib import Path
from budwood.data.cleaning import quarantine as module
from budwood.data.ledger import read_catalog
root, work, way = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
real = module.rename_without_overwriting
def rename(source, target):
    if source.parent != target.parent:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "File exists")
        raise OSError(errno.EXDEV, "other disk")
    real(source, target)
if way == "disks":
    module.rename_without_overwriting = rename
module.TOGETHER = 8
place = module.Quarantine(work / "quarantine", work / "log.jsonl", root=root)
catalog = read_catalog(work / "catalog.csv", root)
print("ready", flush=True)
while True:
    place.apply(catalog, {r.path: "" for r in catalog.records})
    place.restore()
"""


def kill_movers(times: int, tmp_path: Path, *, way: str) -> None:
    """A child moves all files out and back without end and is killed at random moments."""
    from budwood.data.ledger import write_catalog

    made = photos_in(tmp_path / "photos", (*NAMES, *(f"c/{n}.jpg" for n in range(60))))
    before = files_below(made.root)
    write_catalog(made, tmp_path / "work" / "catalog.csv")
    place = Quarantine(tmp_path / "work" / "quarantine", tmp_path / "work" / "log.jsonl", root=made.root)
    generator, out = random.Random(2), 0
    for _ in range(times):
        arguments = [sys.executable, "-c", MOVER, str(made.root), str(tmp_path / "work"), way]
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        threading.Event().wait(generator.random() / 10)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        inside, outside = files_below(place.folder), files_below(made.root)
        whole = [v for k, v in (*inside.items(), *outside.items()) if module.UNFINISHED not in k]
        if way == "renames":
            assert sorted(whole) == sorted(before.values()), "each file is in exactly one place"
        assert set(whole) == set(before.values()), "no file is lost"
        out += bool(inside)
        if generator.random() < 0.5:
            assert place.restore().left == ()
            assert files_below(made.root) == before
    place.restore()
    assert files_below(made.root) == before
    assert out or times < 20, "some kill hit a half-done move"


@pytest.mark.parametrize("way", ["renames", "disks"])
def test_a_kill_at_any_moment_loses_no_file_and_undo_brings_all_back(way: str, tmp_path: Path) -> None:
    kill_movers(4, tmp_path, way=way)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["renames", "disks"])
def test_two_hundred_kills_lose_no_file(way: str, tmp_path: Path) -> None:
    kill_movers(200, tmp_path, way=way)


@pytest.mark.usefixtures("other_disk")
@pytest.mark.parametrize("call", ["copyfile", "copystat", "sha256_file", "unlink"])
def test_stopped_before_or_after_any_call_every_file_is_whole_and_comes_back(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = {"copyfile": module.shutil, "copystat": module.shutil, "sha256_file": module, "unlink": module.os}[call]
    real = getattr(owner, call)
    made, place = opened(tmp_path, NAMES[:3])
    before = files_below(made.root)
    for late in (False, True):
        for after in range(9):
            left = [after]

            def stop(*arguments: object, left: list[int] = left, late: bool = late, **more: object) -> object:
                if left[0] == 0 and not late:
                    raise KeyboardInterrupt
                value = real(*arguments, **more)
                if left[0] == 0:
                    raise KeyboardInterrupt
                left[0] -= 1
                return value

            with monkeypatch.context() as patch:
                patch.setattr(owner, call, stop)
                with contextlib.suppress(KeyboardInterrupt):
                    place.apply(made, all_of(made))
            held = [*files_below(place.folder).values(), *files_below(made.root).values()]
            assert set(held) == set(before.values())
            assert place.restore().left == ()
            assert files_below(made.root) == before


def test_the_half_of_a_copy_that_a_kill_cut_is_swept_away(tmp_path: Path) -> None:
    made, place = opened(tmp_path)
    before = files_below(made.root)
    place.apply(made, all_of(made))
    for folder in (place.folder / "a", made.root / "b"):
        (folder / f"{module.UNFINISHED}0123").write_bytes(b"ha")
    place.restore()
    assert files_below(made.root) == before
    assert not place.folder.exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", ""])
def test_a_log_that_names_a_place_outside_is_refused(name: str, tmp_path: Path) -> None:
    made, place = opened(tmp_path)
    place.apply(made, {"a/1.jpg": ""})
    log = tmp_path / "work" / "log.jsonl"
    log.write_text(log.read_text().replace("a/1.jpg", name))
    with pytest.raises(IntegrityError, match="changed"):
        place.restore()


def test_only_files_of_a_folder_are_moved(tmp_path: Path) -> None:
    made, _ = opened(tmp_path)
    refuse_unmovable(made.root, made)
    table = tmp_path / "photos.csv"
    table.write_text("path,label\n")
    for photos in (table, tmp_path):
        with pytest.raises(DataError, match="no folder of pictures"):
            refuse_unmovable(photos, made)
