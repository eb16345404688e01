"""Archives made to do harm: each is refused or read, and no byte is written outside of the cache."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood import cache
from budwood.data.inputs.sources import open_source
from budwood.errors import BudwoodError


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG")
    return out.getvalue()


def tree_of(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file, folder and link below ``root`` but the unpacked inputs."""
    found = {}
    for place, folders, names in os.walk(root):
        if place == str(root / "cache"):
            folders.remove("inputs")
        for name in folders + names:
            status = os.lstat(os.path.join(place, name))
            path = Path(place, name)
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path)] = (status.st_mode, status.st_nlink, data)
    return found


def hostile_name(generator: np.random.Generator, box: Path) -> str:
    choices = [
        f"{box}/stray.png",
        "../" * int(generator.integers(1, 12)) + "stray.png",
        "oak/" + "../" * int(generator.integers(1, 6)) + "stray.png",
        "..\\" * int(generator.integers(1, 6)) + "stray.png",
        "C:\\stray.png",
        "oak/stray.png\0.txt",
        "oak/" + "n" * int(generator.integers(200, 600)) + ".png",
        "d/" * int(generator.integers(1, 60)) + "s.png",
        "oak",
        "oak/l.png",
        "oak/l.png/inside.png",
        "out/stray.png",
        "",
        ".",
        "/",
        "~/stray.png",
        "../complete.json",
        "./../files/../../stray.png",
        "oak/\u202egnp.png",
        "oak/con.png",
        "oak/\n\x1b.png",
        "OAK/0.PNG",
        os.fsdecode(bytes(generator.integers(1, 256, 12).astype(np.uint8))) + ".png",
    ]
    return choices[int(generator.integers(len(choices)))]


def hostile_tar(generator: np.random.Generator, box: Path) -> bytes:
    out = io.BytesIO()
    form = [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT][int(generator.integers(2))]
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for _ in range(int(generator.integers(1, 12))):
            info = tarfile.TarInfo(hostile_name(generator, box).replace("\0", ""))
            kind = int(generator.integers(4))
            info.type = [b"0", b"0", [b"1", b"2", b"3", b"4", b"5", b"6"][int(generator.integers(6))], b"0"][kind]
            info.linkname = [f"{box}/outside", "..", "/etc/passwd", "../../../../"][int(generator.integers(4))]
            info.mode = 0o7777
            data = png() if info.type == b"0" else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            if generator.random() < 0.3:  # a link, and then a file through it
                link = tarfile.TarInfo("out")
                link.type, link.linkname = b"2", f"{box}/outside"
                archive.addfile(link)
    data = out.getvalue()
    return [data, gzip.compress(data, 1), bz2.compress(data, 1), lzma.compress(data, preset=0)][
        int(generator.integers(4))
    ]


def hostile_zip(generator: np.random.Generator, box: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", [0, 8][int(generator.integers(2))]) as archive:
        for _ in range(int(generator.integers(1, 12))):
            info = zipfile.ZipInfo("x")
            info.filename = hostile_name(generator, box).encode("utf-8", "replace").decode()
            info.create_system = int(generator.integers(4))
            info.external_attr = int(generator.integers(16)) << 28
            archive.writestr(info, [png(), f"{box}/outside".encode()][int(generator.integers(2))])
    return out.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_hostile_archives_write_nothing_outside_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setenv("BUDWOOD_CACHE", str(tmp_path / "cache"))
    for name in ("outside", "work", "home", "temp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.png").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    generator = np.random.default_rng(count)
    inputs = cache.input_folder("x").parent
    opened = 0
    for number in range(count):
        data = bytearray([hostile_zip, hostile_tar][number % 2](generator, tmp_path))
        if generator.random() < 0.3:
            for at in generator.integers(0, len(data), 3):
                data[at] = int(generator.integers(256))
        if generator.random() < 0.1:
            del data[int(generator.integers(len(data))) :]
        archive = tmp_path / f"set{['.zip', '.tar'][number % 2]}"
        archive.write_bytes(data)
        before = tree_of(tmp_path)
        with suppress(BudwoodError):  # and nothing else
            open_source(archive)
            opened += 1
        assert tree_of(tmp_path) == before
        assert_plain(inputs)
    assert opened > count // 10


def assert_plain(inputs: Path) -> None:
    """In the cache lie locks and entries of a marker and plain files, and no byte beside them."""
    for entry in os.scandir(inputs):
        assert entry.name.endswith(".lock") or len(entry.name) == 32
        if not entry.is_dir(follow_symlinks=False):
            continue
        assert sorted(os.listdir(entry)) == ["complete.json", "files"]
        for place, folders, names in os.walk(entry):
            assert not any(os.path.islink(os.path.join(place, name)) for name in folders + names)
            assert all(os.path.isfile(os.path.join(place, name)) for name in names)
            assert not any(os.lstat(os.path.join(place, name)).st_mode & 0o7000 for name in names)


def test_a_stray_file_would_be_seen(tmp_path: Path) -> None:
    before = tree_of(tmp_path)
    (tmp_path / "stray.png").touch()
    assert tree_of(tmp_path) != before
