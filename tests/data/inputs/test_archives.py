"""Archives: what is unpacked, what never is, and that nothing is written outside of the cache whatever they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood import cache
from budwood.data.inputs import extraction
from budwood.data.inputs.archives import unpack_archive
from budwood.data.inputs.sources import open_source
from budwood.errors import DataError, OutputError
from budwood.events import Event, StepAdvanced, StepFinished, StepStarted, Warned
from budwood.files import unescape_name

Files = dict[str, bytes]


def png(seed: int = 0) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


FLOWERS = {f"{tree}/{number}.png": png(number) for tree in ("oak", "elm") for number in range(3)}


def zipped(files: Files, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return out.getvalue()


def tarred(files: Files, *specials: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in specials:
            archive.addfile(info)
    return out.getvalue()


PACKERS: dict[str, Callable[[Files], bytes]] = {
    ".zip": zipped,
    ".tar": tarred,
    ".tar.gz": lambda files: gzip.compress(tarred(files)),
    ".tgz": lambda files: gzip.compress(tarred(files)),
    ".tar.bz2": lambda files: bz2.compress(tarred(files)),
    ".tar.xz": lambda files: lzma.compress(tarred(files)),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUDWOOD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(folder: Path, data: bytes, name: str = "set.zip") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def unpacked_files(archive: Path) -> dict[str, bytes]:
    folder = unpack_archive(archive).folder
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


@pytest.mark.parametrize("suffix", PACKERS)
def test_every_kind_is_read_like_its_folder(tmp_path: Path, suffix: str) -> None:
    archive = write(tmp_path, PACKERS[suffix](FLOWERS), f"set{suffix}")
    listing = open_source(archive)
    assert {entry.path: entry.label for entry in listing.entries} == {name: name.split("/")[0] for name in FLOWERS}
    for entry in listing.entries:
        assert entry.place == str(listing.root / unescape_name(entry.path))
        assert Path(entry.place).read_bytes() == FLOWERS[entry.path]
    assert listing.ignored == ()


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
def test_the_first_bytes_decide_what_it_is(tmp_path: Path, suffix: str) -> None:
    for packed in (zipped, tarred, PACKERS[".tar.xz"]):
        assert len(open_source(write(tmp_path, packed(FLOWERS), f"set{suffix}")).entries) == 6


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_method_of_a_zip_is_read(tmp_path: Path, method: int) -> None:
    assert unpacked_files(write(tmp_path, zipped(FLOWERS, method))) == FLOWERS


@pytest.mark.parametrize("wrapper", ["flowers/", "a/b/", "./", "train/"])
def test_folders_around_the_class_folders_are_unwrapped(tmp_path: Path, wrapper: str) -> None:
    listing = open_source(write(tmp_path, zipped({wrapper + name: data for name, data in FLOWERS.items()})))
    assert listing.classes == ("elm", "oak")
    assert {entry.path for entry in listing.entries} == set(FLOWERS)


def test_parts_inside_are_kept(tmp_path: Path) -> None:
    files = {f"set/{part}/{name}": data for part in ("train", "test") for name, data in FLOWERS.items()}
    listing = open_source(write(tmp_path, zipped(files)))
    assert {(entry.part, entry.label) for entry in listing.entries} == {
        (part, label) for part in ("train", "test") for label in ("elm", "oak")
    }


@pytest.mark.parametrize("wrapper", ["", "set/"])
def test_a_table_without_class_folders_is_read(tmp_path: Path, wrapper: str) -> None:
    files = {f"{wrapper}images/{n}.png": png(n) for n in range(4)}
    files[f"{wrapper}train.csv"] = b"id,species\n0,oak\n1,oak\n2,elm\n3,elm\n"
    listing = open_source(write(tmp_path, zipped(files)))
    assert {entry.path: entry.label for entry in listing.entries} == {
        "0.png": "oak",
        "1.png": "oak",
        "2.png": "elm",
        "3.png": "elm",
    }


def test_a_table_inside_reaches_no_file_outside(tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(png())
    rows = f"path,label\n1.png,oak\n2.png,elm\n{tmp_path / 'mine.png'},elm\n"
    rows += "".join(f"{'../' * depth}mine.png,elm\n" for depth in range(1, 3))
    files = {"1.png": png(1), "2.png": png(2), "3.png": png(3), "t.csv": (rows + "3.png,elm\n").encode()}
    listing = open_source(write(tmp_path, zipped(files)))
    assert [entry.path for entry in listing.entries] == ["1.png", "2.png", "3.png"]


def test_a_table_beside_class_folders_is_not_read_and_that_is_said(tmp_path: Path) -> None:
    events: list[Event] = []
    listing = open_source(write(tmp_path, zipped({**FLOWERS, "meta.csv": b"path,label\n"})), listen=events.append)
    assert len(listing.entries) == 6
    assert "meta.csv, which is not read" in next(event.text for event in events if isinstance(event, Warned))


def test_only_pictures_and_tables_are_written(tmp_path: Path) -> None:
    junk = {"run.sh": b"x", "oak/x.py": b"x", "oak/in.zip": zipped(FLOWERS), "__MACOSX/oak/._1.png": png()}
    archive = write(tmp_path, zipped({**FLOWERS, **junk, "oak/.hidden.png": png(), "oak/Thumbs.db": b"x"}))
    assert unpacked_files(archive) == FLOWERS
    assert open_source(archive).ignored == (
        "__MACOSX/oak/._1.png: hidden",
        "oak/.hidden.png: hidden",
        "oak/Thumbs.db: made by an operating system, not a picture",
        "oak/in.zip: not a picture file",
        "oak/x.py: not a picture file",
        "run.sh: not a picture file",
    )


HOSTILE_NAMES = {
    "/abs.png": "an absolute path",
    "../out.png": "a path out of the archive",
    "oak/../../out.png": "a path out of the archive",
    "..\\out.png": "a path out of the archive",
    "oak\\..\\..\\out.png": "a path out of the archive",
    "\\\\host\\share\\x.png": "an absolute path",
    "C:/x.png": "an absolute path",
    "c:x.png": "an absolute path",
    "n" * 300 + ".png": "a name too long",
    "d/" * 40 + "x.png": "a name too long",
}


@pytest.mark.parametrize("packer", [zipped, tarred], ids=["zip", "tar"])
def test_hostile_names_are_passed_over_with_their_reason(tmp_path: Path, packer: Callable[[Files], bytes]) -> None:
    archive = write(tmp_path, packer({**dict.fromkeys(HOSTILE_NAMES, png()), **FLOWERS}))
    before = tree_of(tmp_path)
    assert unpacked_files(archive) == FLOWERS
    ignored = unpack_archive(archive).facts["ignored"]
    assert len(ignored) == len(HOSTILE_NAMES)
    for reason in HOSTILE_NAMES.values():
        assert any(reason in line for line in ignored)
    assert {place: value for place, value in tree_of(tmp_path).items() if "/cache" not in place} == before


def test_links_and_devices_are_never_made(tmp_path: Path) -> None:
    def special(name: str, type_flag: bytes, link: str = "") -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = type_flag, link
        return info

    (tmp_path / "target").mkdir()
    odd = [
        special("oak/l.png", tarfile.SYMTYPE, "/etc/passwd"),
        special("out", tarfile.SYMTYPE, str(tmp_path / "target")),
        special("oak/h.png", tarfile.LNKTYPE, str(tmp_path / "set.tar")),
        special("oak/p.png", tarfile.FIFOTYPE),
        special("oak/d.png", tarfile.CHRTYPE),
    ]
    data = tarred({}, *odd)[:-10240] if len(tarred({}, *odd)) > 10240 else tarred({}, *odd)[: 512 * len(odd)]
    archive = write(tmp_path, data + tarred({"out/x.png": png(), **FLOWERS}), "set.tar")
    assert unpacked_files(archive) == {"out/x.png": png(), **FLOWERS}
    assert list((tmp_path / "target").iterdir()) == []
    assert len(unpack_archive(archive).facts["ignored"]) == 5


def test_a_link_in_a_zip_is_passed_over(tmp_path: Path) -> None:
    out = io.BytesIO(zipped(FLOWERS))
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo("oak/link.png")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    file = write(tmp_path, out.getvalue())
    assert unpacked_files(file) == FLOWERS
    assert unpack_archive(file).facts["ignored"] == ["oak/link.png: a symbolic link is not unpacked"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_nothing_is_overwritten(tmp_path: Path) -> None:
    out = io.BytesIO(zipped(FLOWERS))
    with zipfile.ZipFile(out, "a") as archive:
        for name in ("oak/0.png", "oak//0.png", "./oak/0.png", "oak/0.png/deep.png"):
            archive.writestr(name, b"another")
    assert unpacked_files(write(tmp_path, out.getvalue())) == FLOWERS
    data = tarred(FLOWERS)
    twice = data[: data.rstrip(b"\0").rfind(b"IEND") // 512 * 512 + 512] + tarred({"oak/0.png": b"another"})
    assert unpacked_files(write(tmp_path, twice, "set.tar")) == FLOWERS


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    names = [b"oak/caf\xe9.png", b"oak/\xff\xfe\x80.png", "elm/\u00e9.png".encode(), b"elm/a b\x01.png"]
    for packer, name in ((tarred, "set.tar"), (raw_zip, "set.zip")):
        archive = write(tmp_path, packer({os.fsdecode(name): png() for name in names}), name)
        listing = open_source(archive)
        assert {os.fsencode(unescape_name(entry.path)) for entry in listing.entries} == set(names)
        assert all(os.path.isfile(entry.place) for entry in listing.entries)


def raw_zip(files: Files) -> bytes:
    """A zip whose names are bytes without the UTF-8 mark, as Linux and macOS programs write them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, data in enumerate(files.values()):
            archive.writestr(f"{number:04d}", data)
    packed = out.getvalue()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        for number, name in enumerate(files):
            place = f"{number:04d}".encode()
            assert archive.getinfo(place.decode()).flag_bits == 0
            packed = _renamed(packed, place, os.fsencode(name))
    return packed


def _renamed(packed: bytes, old: bytes, new: bytes) -> bytes:
    """Put a longer name into the local header and the list, and move what stands behind."""
    more = len(new) - len(old)
    local = packed.index(b"PK\3\4", 0)
    while packed[local + 30 : local + 34] != old:
        local = packed.index(b"PK\3\4", local + 4)
    size = len(new).to_bytes(2, "little")
    packed = packed[: local + 26] + size + packed[local + 28 : local + 30] + new + packed[local + 30 + len(old) :]
    end = packed.rindex(b"PK\5\6")
    start = int.from_bytes(packed[end + 16 : end + 20], "little") + more
    at, entries = start, b""
    while packed[at : at + 4] == b"PK\1\2":
        length = int.from_bytes(packed[at + 28 : at + 30], "little")
        entry, name = bytearray(packed[at : at + 46]), packed[at + 46 : at + 46 + length]
        offset = int.from_bytes(entry[42:46], "little")
        entry[42:46] = (offset + more * (offset > local)).to_bytes(4, "little")
        entry[28:30] = size if name == old else entry[28:30]
        entries += bytes(entry) + (new if name == old else name)
        at += 46 + length
    tail = bytearray(packed[end:])
    tail[12:16], tail[16:20] = len(entries).to_bytes(4, "little"), start.to_bytes(4, "little")
    return packed[:start] + entries + bytes(tail)


def test_folders_of_windows_programs_are_folders(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in FLOWERS.items():
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = name.replace("/", "\\"), 0
            archive.writestr(info, data)
    assert unpacked_files(write(tmp_path, out.getvalue())) == FLOWERS


def encrypted() -> bytes:
    data = bytearray(zipped(FLOWERS))
    at = data.index(b"PK\1\2")
    data[at + 8] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"PK\3\4 no more", "its list of files cannot be read"),
        (zipped(FLOWERS)[:-30], "its list of files cannot be read"),
        (b"hello, this is text" * 100, "is no zip or tar"),
        (gzip.compress(tarred(FLOWERS))[:-200], "cut or damaged"),
        (bz2.compress(tarred(FLOWERS))[:-20], "cut or damaged"),
        (lzma.compress(tarred(FLOWERS))[:-20], "cut or damaged"),
        (b"\x1f\x8b" + bytes(100), "cut or damaged"),
        (tarred(FLOWERS)[:2000], "cut in the middle"),
        (encrypted(), "is encrypted"),
        (zipped({}), "holds nothing"),
        (zipped({"readme.txt": b"x"}), r"no pictures|holds nothing"),
        (zipped({"../a.png": png()}), "holds nothing|no pictures"),
        (zipped({"a.png": png()}), "1 pictures directly"),
    ],
    ids=["nothing", "no list", "cut zip", "text", "cut gz", "cut bz2", "cut xz", "bad gz", "cut tar", "encrypted",
         "empty zip", "no pictures", "only hostile", "no classes"],
)  # fmt: skip
def test_unusable_archives_are_refused_by_their_own_name(tmp_path: Path, data: bytes, words: str) -> None:
    archive = write(tmp_path, data)
    with pytest.raises(DataError, match=words) as caught:
        open_source(archive)
    assert str(caught.value).startswith(str(archive))
    assert "cache" not in str(caught.value)


def test_a_tar_without_its_end_mark_is_read_and_said_each_time(tmp_path: Path) -> None:
    data = tarred(FLOWERS)
    archive = write(tmp_path, data[: len(data.rstrip(b"\0")) // 512 * 512 + 512], "set.tar")
    for _ in range(2):
        events: list[Event] = []
        assert len(open_source(archive, listen=events.append).entries) == 6
        assert "may be cut" in next(event.text for event in events if isinstance(event, Warned))


def test_a_damaged_member_is_left_out_and_said(tmp_path: Path) -> None:
    data = bytearray(zipped(FLOWERS, zipfile.ZIP_STORED))
    data[data.index(FLOWERS["oak/1.png"]) + 40] ^= 255
    archive = write(tmp_path, bytes(data))
    events: list[Event] = []
    listing = open_source(archive, listen=events.append)
    assert {entry.path for entry in listing.entries} == set(FLOWERS) - {"oak/1.png"}
    assert any(line.startswith("oak/1.png: damaged in the archive") for line in listing.ignored)
    assert "1 files cannot be unpacked" in next(event.text for event in events if isinstance(event, Warned))


@pytest.mark.parametrize("packer", [zipped, PACKERS[".tgz"]], ids=["zip", "tgz"])
def test_limits_count_real_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packer: Callable[[Files], bytes]
) -> None:
    archive = write(tmp_path, packer({**FLOWERS, "oak/bomb.png": bytes(10**6)}))
    monkeypatch.setattr(extraction, "MAX_FILE_BYTES", 2**20 - 10**5)
    assert set(unpacked_files(archive)) == set(FLOWERS)  # one file too large is left out
    for name, value, words in (
        ("MAX_TOTAL_BYTES", 5 * 10**5, "unpacks to more than the"),
        ("_RATIO_COUNTS_FROM", 1000, "200 times its size"),
        ("MAX_ENTRIES", 6, "more than the 6 entries"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(extraction, name, value)
            os.utime(archive)
            with pytest.raises(DataError, match=words):
                unpack_archive(archive)
    assert len([entry for entry in (tmp_path / "cache/inputs").iterdir() if entry.is_dir()]) == 1


def test_sizes_claimed_by_headers_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "MAX_FILE_BYTES", 10**5)
    data = bytearray(zipped({"oak/bomb.png": bytes(10**6)}))
    for at in (data.index(b"PK\3\4") + 22, data.index(b"PK\1\2") + 24):
        data[at : at + 4] = (100).to_bytes(4, "little")
    found = unpacked_files(write(tmp_path, bytes(data)))
    assert sum(map(len, found.values())) <= 100


def test_a_claimed_list_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    data = bytearray(zipped(FLOWERS))
    end = data.rindex(b"PK\5\6")
    data[end + 12 : end + 16] = (2**31).to_bytes(4, "little")
    file = tmp_path / "set.zip"
    with file.open("wb") as out:  # a sparse file, so that the claim could be true
        out.write(data[:4])
        out.seek(2**31 + 1000)
        out.write(data[end:])
    with pytest.raises(DataError, match=r"list of 2048 MB"):
        unpack_archive(file)


def test_the_second_opening_finds_the_first(tmp_path: Path) -> None:
    archive = write(tmp_path, zipped(FLOWERS))
    events: list[Event] = []
    first = open_source(archive, listen=events.append)
    assert isinstance(events[0], StepStarted)
    assert isinstance(events[-1], StepFinished)
    assert sum(isinstance(event, StepAdvanced) for event in events) == 6
    events.clear()
    assert open_source(archive, listen=events.append) == first
    assert events == []


@pytest.mark.parametrize("damage", ["a file less", "a file cut", "no marker", "no files"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: str) -> None:
    archive = write(tmp_path, zipped(FLOWERS))
    folder = unpack_archive(archive).folder
    match damage:
        case "a file less":
            (folder / "oak/1.png").unlink()
        case "a file cut":
            (folder / "oak/1.png").write_bytes(b"")
        case "no marker":
            (folder.parent / "complete.json").unlink()
        case _:
            folder.rename(folder.parent / "elsewhere")
    assert unpacked_files(archive) == FLOWERS


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> int:
        raise OSError(28, "No space left on device")

    archive = write(tmp_path, zipped(FLOWERS))
    with monkeypatch.context() as patch:
        patch.setattr(extraction.Extraction, "_make_folder", full)
        with pytest.raises(OutputError, match="No space left"):
            unpack_archive(archive)
    assert not [entry for entry in (tmp_path / "cache/inputs").iterdir() if entry.is_dir()]
    assert unpacked_files(archive) == FLOWERS


KILLED = """
import os, signal, sys
from pathlib import Path
from budwood.data.inputs import extraction
left = int(sys.argv[2])
real = extraction.Extraction.take
def take(self, *arguments, **options):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, *arguments, **options)
extraction.Extraction.take = take
from budwood.data.inputs.archives import unpack_archive
unpack_archive(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("after", [0, 4])
def test_a_killed_extraction_leaves_nothing_that_is_used(tmp_path: Path, after: int) -> None:
    archive = write(tmp_path, zipped(FLOWERS))
    ended = subprocess.run([sys.executable, "-c", KILLED, str(archive), str(after)], check=False)
    assert ended.returncode == -signal.SIGKILL
    inputs = tmp_path / "cache/inputs"
    assert [entry for entry in inputs.iterdir() if ".partial-" in entry.name]
    assert unpacked_files(archive) == FLOWERS
    assert [entry.name for entry in inputs.iterdir() if entry.is_dir()] == [unpack_archive(archive).folder.parent.name]


def test_inputs_in_use_survive_pruning_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write(tmp_path, zipped(FLOWERS))
    folder = unpack_archive(archive).folder
    monkeypatch.setenv("BUDWOOD_CACHE_GB", "0")
    assert cache.prune() == 0
    os.utime(folder.parent, (0, 0))
    with cache.input_lock(folder.parent):
        cache.prune()
    assert folder.exists()
    unpack_archive(archive)  # use makes it recent
    cache.prune()
    assert folder.exists()
    os.utime(folder.parent, (0, 0))
    assert cache.prune() > 0
    assert not [entry for entry in (tmp_path / "cache/inputs").iterdir() if entry.is_dir()]
    assert unpacked_files(archive) == FLOWERS
