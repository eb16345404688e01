"""The tar reader against `tarfile`'s writer, in all its formats, and on damage of every kind."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest

from budwood.data.inputs.tar_stream import MAX_HEADER_BYTES, TarStream
from budwood.errors import DataError

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def tar(*members: tuple[str, bytes] | tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def special(name: str, type_flag: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type_flag, link
    return info


def stream(data: bytes) -> TarStream:
    return TarStream(source=io.BytesIO(data), max_bytes=10**8)


def content(data: bytes) -> list[tuple[str, str, bytes]]:
    return [(member.name, member.kind, b"".join(member.chunks)) for member in stream(data)]


NAMES = {
    "short": "oak/1.jpg",
    "prefix": "folder/" * 12 + "name.jpg",
    "long": "f" * 90 + "/" + "n" * 150 + ".jpg",
    "utf-8": "chêne/é.jpg",
    "raw bytes": os.fsdecode(b"caf\xe9/\xff\x80.jpg"),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_and_bytes_are_those_that_were_packed(form: str, name: str) -> None:
    if form == "ustar" and len(name) > 240:
        pytest.skip("ustar holds no such name")
    files = [(name, b"a" * 700), ("oak/2.jpg", b""), ("oak/3.jpg", bytes(range(256)) * 2)]
    data = tar(*files, form=FORMATS[form])
    assert content(data) == [(name, "file", packed) for name, packed in files]


@pytest.mark.parametrize("form", FORMATS)
def test_members_that_are_not_read_are_skipped(form: str) -> None:
    data = tar(("a", b"x" * 3000), ("b", b"y"), form=FORMATS[form])
    assert [member.name for member in stream(data)] == ["a", "b"]


@pytest.mark.parametrize(
    ("type_flag", "kind"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.DIRTYPE, "folder"),
        (b"Z", "of an unknown kind"),
    ],
)
def test_what_is_no_plain_file_is_called_by_its_name(type_flag: bytes, kind: str) -> None:
    found = content(tar(special("odd", type_flag, "/etc/passwd"), ("after", b"x")))
    assert [(name.rstrip("/"), what) for name, what, _ in found] == [("odd", kind), ("after", "file")]


def test_the_end_mark_is_noticed() -> None:
    data = tar(("a", b"x"))
    whole, cut = stream(data), stream(data[:1024])
    assert [member.name for member in whole] == [member.name for member in cut] == ["a"]
    assert (whole.closed, cut.closed) == (True, False)


def with_size(data: bytes, field: bytes) -> bytes:
    """The first header with another size, and a checksum that fits."""
    header = bytearray(data[:512])
    header[124:136] = field.ljust(12, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:700], "cut in the middle"),
        (lambda data: data[:300], "no zip or tar"),
        (lambda data: b"x" + data[1:], "no zip or tar"),
        (lambda data: data[:1024] + b"rubbish" * 100, "no zip or tar"),
        (lambda data: with_size(data, b"\x80" + b"\xff" * 11), "cut in the middle"),
        (lambda data: with_size(data, b"\xff" * 12), "no tar header"),
        (lambda data: with_size(data, b"-1"), "no tar header"),
        (lambda data: with_size(data, b"77777"), "cut in the middle"),
    ],
    ids=["in a file", "in a header", "checksum", "rubbish behind", "huge", "negative binary", "negative", "too long"],
)
def test_damage_is_an_error_and_not_an_end(change: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(DataError, match=words):
        content(change(tar(("a", b"x" * 300), form=tarfile.GNU_FORMAT)))


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_long_headers_are_refused_before_they_are_read(form: str) -> None:
    with pytest.raises(DataError, match=f"more than the {MAX_HEADER_BYTES} allowed"):
        content(tar(("n" * (MAX_HEADER_BYTES + 1), b""), form=FORMATS[form]))


def test_more_than_the_limit_is_not_read() -> None:
    data = tar(("a", b"x" * 5000))
    with pytest.raises(DataError, match="unpacks to more"):
        list(TarStream(source=io.BytesIO(data), max_bytes=4000))


def test_sparse_files_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"oak\.jpg as a sparse file"):
        content(tar(special("oak.jpg", tarfile.GNUTYPE_SPARSE)))


@pytest.mark.parametrize("count", [300, pytest.param(30_000, marks=pytest.mark.slow)])
def test_changed_bytes_end_in_members_or_a_data_error(count: int) -> None:
    generator = np.random.default_rng(0)
    sources = [
        tar(("a/" * 60 + "b", b"x" * 600), special("l", tarfile.SYMTYPE, "b"), form=form) for form in FORMATS.values()
    ]
    for number in range(count):
        data = bytearray(sources[number % len(sources)])
        for at in generator.integers(0, len(data) // 2, 3):
            data[at] = int(generator.integers(256))
        block = int(generator.integers(4)) * 512
        header = data[block : block + 512]
        header[148:156] = b" " * 8
        data[block + 148 : block + 156] = b"%06o\0 " % sum(header)  # else nearly all stop at the checksum
        with suppress(DataError):  # and nothing else
            content(bytes(data))
