"""The scan's worker processes: what crashes, hangs or never starts in them, and what of that a scan notices.

The decoder is made to fail as a checker from outside would: by a ``sitecustomize`` that the workers inherit.
"""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.data import scan as scan_module
from budwood.data.inputs.listing import Entry, Listing
from budwood.data.records import Catalog
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.errors import BudwoodError, DataError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

# Time passes ten times faster for a worker's clock, so that a hanging decoder costs half a second here.
EVIL = """
import ctypes, os, signal, sys, time
import PIL.Image
if "budwood.data.worker" in sys.orig_argv[3]:
    real_open, real_timer = PIL.Image.open, signal.setitimer
    signal.setitimer = lambda which, seconds: real_timer(which, seconds / 10)
    def evil_open(file, *args, **kwargs):
        data = file.getvalue()
        if b"CRASH" in data: ctypes.string_at(0)
        if b"ABORT" in data: os.abort()
        if b"LEAVE" in data: os._exit(3)
        if b"SLEEP" in data: time.sleep(100)
        if b"SPIN" in data:
            while True: pass
        if b"PRINT" in data: os.write(1, b"printed into the pipe"); print("and so")
        if b"BREAK" in data: raise RuntimeError("something new")
        if b"ONCE" in data and os.path.exists(os.environ["ONCE"]): os.unlink(os.environ["ONCE"]); os.abort()
        return real_open(file, *args, **kwargs)
    PIL.Image.open = evil_open
    print("a start that is not silent")
"""


def picture(seed: int, *, kind: str = "PNG", size: tuple[int, int] = (20, 16)) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """2 classes, 60 pictures: more than one group for each of two workers."""
    root = tmp_path / "photos"
    for number in range(60):
        file = root / "ab"[number % 2] / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number))
    return root


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(EVIL)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("ONCE", str(tmp_path / "once"))
    return folder


def mark(photos: Path, words: dict[int, str]) -> None:
    for number, word in words.items():
        with (photos / "ab"[number % 2] / f"{number:02}.png").open("ab") as file:
            file.write(word.encode())


def reasons(catalog: Catalog) -> dict[int, str]:
    return {int(r.path[2:4]): r.reason for r in catalog.records if r.state == "unreadable"}


@pytest.mark.parametrize("workers", [1, 2])
def test_exactly_the_files_that_crash_the_decoder_are_named(photos: Path, evil: Path, workers: int) -> None:
    mark(photos, {0: "CRASH", 1: "CRASH", 30: "ABORT", 44: "LEAVE", 59: "CRASH"})
    catalog = scan(photos, workers=workers)
    assert reasons(catalog) == {
        0: "the decoder crashed on it (signal 11, SIGSEGV)",
        1: "the decoder crashed on it (signal 11, SIGSEGV)",
        30: "the decoder crashed on it (signal 6, SIGABRT)",
        44: "the decoder ended on it (exit code 3)",
        59: "the decoder crashed on it (signal 11, SIGSEGV)",
    }
    blamed = next(r for r in catalog.records if r.path == "a/00.png")
    assert blamed.num_bytes == (photos / "a/00.png").stat().st_size
    assert len(blamed.file_digest) == 64


def test_all_other_pictures_are_as_without_the_crash(photos: Path, evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark(photos, {21: "CRASH"})
    crashed = scan(photos)
    monkeypatch.delenv("PYTHONPATH")
    sound = scan(photos)
    assert [r for r in crashed.records if r.path != "b/21.png"] == [r for r in sound.records if r.path != "b/21.png"]
    assert len(sound.usable()) == 60


def test_decoder_that_hangs_is_ended_and_the_file_tried_again_next_time(photos: Path, evil: Path) -> None:
    mark(photos, {7: "SLEEP", 20: "SPIN"})
    store = PictureStore(photos.parent / "store", side=16)
    found = reasons(scan(photos, store=store))
    assert found.keys() == {7, 20}
    assert set(found.values()) == {"took longer than 4.5 s to decode; the next scan tries it again"}
    mark(photos, {})
    (evil / "sitecustomize.py").unlink()
    assert reasons(scan(photos, store=store)) == {}


def test_crash_that_does_not_happen_again_blames_nobody(photos: Path, evil: Path, tmp_path: Path) -> None:
    mark(photos, {33: "ONCE"})
    (tmp_path / "once").touch()
    assert reasons(scan(photos)) == {}
    assert not (tmp_path / "once").exists()


def test_decoder_that_prints_or_raises_something_new_harms_nothing(photos: Path, evil: Path) -> None:
    mark(photos, {2: "PRINT", 3: "BREAK"})
    assert reasons(scan(photos)) == {3: "damaged PNG"}


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import sys; sys.modules['PIL'] = None"])
def test_worker_that_cannot_start_is_an_error_and_no_fault_of_a_picture(photos: Path, evil: Path, code: str) -> None:
    (evil / "sitecustomize.py").write_text(f"import sys\nif 'budwood.data.worker' in sys.orig_argv[3]:\n    {code}\n")
    with pytest.raises(BudwoodError, match="the process that decodes pictures cannot start: ") as refused:
        scan(photos)
    assert not isinstance(refused.value, DataError)


def test_missing_interpreter_is_an_error(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(BudwoodError, match="cannot start /nowhere/python to decode pictures"):
        scan(photos)


def test_names_that_no_system_opens_are_listed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = ["x\0y.png", "\ud800.png", "", str(photos / "a/none.png"), str(photos)]
    entries = [Entry(f"a/{number}", place, "a") for number, place in enumerate(odd)]
    entries.append(Entry("a/9", str(photos / "a/00.png"), "a"))
    listing = Listing(root=photos, entries=tuple(entries), classes=("a",))
    monkeypatch.setattr(scan_module, "open_source", lambda *_, **__: listing)
    found = {r.path: r.reason for r in scan(photos, min_classes=1).records}
    assert [found[f"a/{number}"] for number in range(3)] == ["cannot be opened"] * 3
    assert found["a/3"] == "no such file or directory"
    assert found["a/4"] == "not a plain file"
    assert found["a/9"] == ""


def children(of: int) -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == of and fields[0] != "Z":
            found.add(int(entry.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def waited(condition: object, *, seconds: float = 30) -> bool:
    assert callable(condition)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def hanging(photos: Path, evil: Path) -> Iterator[subprocess.Popen[str]]:
    """A scan in a process of its own, whose workers are at a file that hangs."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    text = (evil / "sitecustomize.py").read_text().replace("seconds / 10", "min(seconds, 3)")
    (evil / "sitecustomize.py").write_text(text)
    mark(photos, dict.fromkeys(range(60), "SLEEP"))
    code = f"from budwood.data.scan import scan; scan({str(photos)!r})"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stderr=pipe, text=True, start_new_session=True) as scanning:
        assert waited(lambda: len(children(scanning.pid)) == 2)
        yield scanning
        scanning.kill()


def test_workers_end_when_the_scan_is_killed(hanging: subprocess.Popen[str]) -> None:
    workers = children(hanging.pid)
    hanging.kill()
    assert waited(lambda: not any(alive(pid) for pid in workers))


def test_interrupt_in_the_terminal_ends_all_with_one_traceback(hanging: subprocess.Popen[str]) -> None:
    workers = children(hanging.pid)
    os.killpg(hanging.pid, signal.SIGINT)
    _, said = hanging.communicate(timeout=30)
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1
    assert waited(lambda: not any(alive(pid) for pid in workers))


def mutated(chance: random.Random, sources: list[bytes]) -> bytes:
    """Flipped bits, cuts, insertions and swapped headers; some claim sizes of many megapixels."""
    data = bytearray(chance.choice(sources))
    for _ in range(chance.randint(0, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    if chance.random() < 0.2:
        del data[chance.randrange(1, len(data)) :]
    if chance.random() < 0.1:
        at = chance.randrange(len(data))
        data[at:at] = chance.randbytes(chance.randint(1, 40))
    if chance.random() < 0.1 and data[:4] == b"\x89PNG":
        data[16:24] = chance.randint(1, 60_000).to_bytes(4, "big") + chance.randint(1, 60_000).to_bytes(4, "big")
    if chance.random() < 0.1:
        data[:16] = chance.choice(sources)[:16]
    return bytes(data)


def bomb(side: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (side, side)).save(out, "PNG")
    return out.getvalue()


def mutations(root: Path, count: int) -> None:
    chance = random.Random(count)
    kinds = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
    sources = [picture(n, kind=kind, size=(90, 70)) for n, kind in enumerate(kinds)]
    bombs = [bomb(7000), bomb(9000)]
    for number in range(count):
        ending = chance.choice(["jpg", "png", "gif", "bmp", "webp", "tif", "ppm"])
        file = root / "ab"[number % 2] / f"{number:05}.{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bombs[number // 50 % 2] if number % 50 == 49 else mutated(chance, sources))


class Watch:
    """Looks at the memory of this process and its children while it is on; skips where there is no /proc."""

    def __enter__(self) -> Watch:
        self.before = self.peak = self.memory()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, self.memory())

    def memory(self) -> float:
        """Resident bytes of this process and of its children."""
        total = 0
        for pid in (os.getpid(), *children(os.getpid())):
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:
                continue
        return total


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_every_mutated_picture_is_decoded_or_listed_in_bounded_memory(tmp_path: Path, count: int) -> None:
    mutations(tmp_path / "photos", count)
    with Watch() as watch:
        catalog = scan(tmp_path / "photos", store=PictureStore(tmp_path / "store", side=320))
    assert len(catalog) == count
    assert all(
        (r.state == "ok") == (r.reason == "") and bool(r.pixel_digest) == (r.state == "ok") for r in catalog.records
    )
    assert 0 < len(catalog.usable()) < count
    ended = [r.reason for r in catalog.records if "the decoder" in r.reason or "took longer" in r.reason]
    assert ended == []
    # The test's own process holds pytest and what was imported before; two workers and the pictures may add 450 MB.
    assert watch.peak - watch.before < 450 * 2**20


SLOW_LOADS = """
import os, time
from PIL import ImageFile
real_load = ImageFile.ImageFile.load
def slow_load(image):
    handle = os.open(os.environ["ONCE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if large := image.width * image.height > 6_000_000:
        os.write(handle, b"begin ")
        time.sleep(0.02)
    result = real_load(image)
    if large:
        os.write(handle, b"end ")
    os.close(handle)
    return result
ImageFile.ImageFile.load = slow_load
"""


def test_large_pictures_are_decoded_one_at_a_time(photos: Path, evil: Path, tmp_path: Path) -> None:
    (evil / "sitecustomize.py").write_text(SLOW_LOADS)
    for number in range(8):
        (photos / "ab"[number % 2] / f"large{number}.png").write_bytes(bomb(2600))
    assert len(scan(photos).usable()) == 68
    said = (tmp_path / "once").read_text().split()
    assert len(said) >= 16
    assert said[::2] == ["begin"] * (len(said) // 2)
    assert said[1::2] == ["end"] * (len(said) // 2)
