"""The process that decodes: file names come in by a pipe, facts and reduced pictures go out by another.

It may crash or be killed at any file without harm to the scan (`reader.py` is the other side). It writes no file and
knows no store. As little as possible is imported, since every scan starts such processes anew; numpy alone would double
that time, so the measures are taken on the other side (`worker_answers.py`).

In: groups of names, each name and each group ended by a zero byte. Out: the word READY, then for each group its length
in bytes and the answers to its names, column by column: the HEADs, the rows of facts, the reasons, the stored pictures,
their luma planes, the lumas of the looks, and the looks that are not stored; each in the order of the names, nothing is
left out, only empty. The first byte of the note file tells which name of the group is in hands.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import mmap
import os
import signal
import struct
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

from budwood.data.decode import damaged, open_picture, read_picture
from budwood.data.fact_row import PACKED, Facts
from budwood.data.planes import LOOK_SIDE, look_digest, plane_bytes

READY = b"budwood worker ready\n"
HEAD = struct.Struct("<3I")  # bytes of the reason, width and height of the look
NO_NAME = 255  # in the note: all names of the group are decoded, and their answers are being made
LENGTH = struct.Struct("<Q")  # of the answers to one group
READ_BYTES = 1 << 16

SECONDS = 4.5  # for one picture, of real time; what takes longer is killed
LARGE_PIXELS = 6_000_000  # of larger pictures only one is decoded at a time over all workers
LARGE_SECONDS_PER_PIXEL = 0.2e-6  # in addition, for each pixel above LARGE_PIXELS
MEMORY_BYTES = 400 * 2**20  # that one process may allocate while it decodes


class Decoded(NamedTuple):
    """A file that was read; without ``look``, ``reason`` says why it is no picture.

    ``stamp``: size and times of the file. ``look`` and ``kept``: the picture reduced to LOOK_SIDE and to the side of
    the store. ``size``: its width and height.
    """

    stamp: tuple[int, int, int]
    num_bytes: int
    file_digest: bytes
    reason: str = ""
    look: Image.Image | None = None
    kept: Image.Image | None = None
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    format: str = ""


class Turn:
    """The right to decode a large picture, held by one worker at a time; the kernel frees it when a worker dies."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._handle = -1

    def take(self) -> None:
        """Wait for the right. Where there are no such locks (Windows), memory is not bounded over all workers."""
        with contextlib.suppress(ImportError):
            import fcntl

            self._handle = os.open(self._file, os.O_RDONLY)
            fcntl.flock(self._handle, fcntl.LOCK_EX)

    def give_back(self) -> None:
        """Free it, if it is held."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def main(turn_file: str, note_file: str, side: int) -> None:
    """Answer names until there are no more; never returns.

    Args:
        turn_file: a file that workers lock to decode a large picture.
        note_file: a file of one byte, see the module's text.
        side: of the stored pictures; 0: none are sent.
    """
    source, sink = _private_pipes()
    warnings.simplefilter("ignore")
    _limit_memory()
    gc.freeze()
    turn = Turn(turn_file)
    with contextlib.suppress(BrokenPipeError), open(note_file, "r+b") as file:  # broken: the scan is gone
        note = mmap.mmap(file.fileno(), 1)
        _write(sink, [READY])
        for names in _groups(source):
            decoded = []
            for number, name in enumerate(names):
                note[0] = number
                decoded.append(_decoded(os.fsdecode(name), side=side, turn=turn))
            note[0] = NO_NAME
            answers = _answers(decoded)
            _clock(0)
            _write(sink, [LENGTH.pack(sum(map(len, answers))), *answers])
    os._exit(0)  # nothing is left to tidy up


def _groups(source: int) -> Iterator[list[bytes]]:
    rest = b""
    while data := os.read(source, READ_BYTES):
        *groups, rest = (rest + data).split(b"\0\0")
        for group in groups:
            yield group.split(b"\0")


def _decoded(place: str, *, side: int, turn: Turn) -> Decoded:
    def before(num_pixels: int) -> None:
        if num_pixels > LARGE_PIXELS:
            _clock(0)
            turn.take()
            _clock(SECONDS + LARGE_SECONDS_PER_PIXEL * (num_pixels - LARGE_PIXELS))

    data, stamp, kind = b"", (0, 0, 0), "file"
    _clock(SECONDS)
    try:
        data, status = read_picture(place)
        stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        picture = open_picture(data, before=before)
        kind = picture.format
        kept = look = picture.reduced(LOOK_SIDE)
        if side and side != LOOK_SIDE and min(picture.size) > min(side, LOOK_SIDE):
            kept = picture.reduced(side)
    except Exception as error:
        return Decoded(stamp, len(data), _sha256(data), str(damaged(error, kind)))
    finally:
        turn.give_back()
    stored = kept if side else None
    return Decoded(stamp, len(data), _sha256(data), "", look, stored, picture.size, picture.mode, picture.format)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest() if data else b""


def _answers(group: list[Decoded]) -> list[bytes]:
    """The columns of the answers to all files, see the module's text.

    Step by step for all of them: code and data of one step then stay in the processor's cache.
    """
    looks = [one.look.tobytes() if one.look is not None else b"" for one in group]
    digests = [look_digest(k, height=one.size[1], width=one.size[0]) for one, k in zip(group, looks, strict=True)]
    lumas = [one.look.convert("L") if one.look is not None else None for one in group]
    heads, rows, reasons, pictures, others = [], [], [], [], []
    kept: list[Image.Image] = []
    for one, look, digest, luma in zip(group, looks, digests, lumas, strict=True):
        words = one.reason.encode("utf-8", "backslashreplace")
        heads.append(HEAD.pack(len(words), *(luma.size if luma is not None else (0, 0))))
        reasons.append(words)
        check, stored_size = digest, (0, 0)
        if luma is None or one.kept is not one.look:
            others.append(look)
        if luma is not None and one.kept is not None:
            same = one.kept is one.look
            pictures.append(look if same else one.kept.tobytes())
            if not same:
                check = look_digest(pictures[-1], height=one.size[1], width=one.size[0])
            kept.append(luma if same else one.kept.convert("L"))
            stored_size = one.kept.size
        rows.append(_row(one, digest=digest, check=check, stored_size=stored_size))
    shades = [luma.tobytes() for luma in lumas if luma is not None]
    return [*heads, *rows, *reasons, *pictures, *plane_bytes(kept), *shades, *others]


def _row(one: Decoded, *, digest: bytes, check: bytes, stored_size: tuple[int, int]) -> bytes:
    """The facts but for the measures."""
    size, mtime, ctime = one.stamp
    facts = Facts(0, size, mtime, ctime, one.num_bytes, one.file_digest)
    if one.look is not None:
        described = (digest, *one.size, one.mode.encode(), one.format.encode())
        columns, num_rows = stored_size
        facts = Facts(1, *facts[1:6], *described, num_rows, columns, int.from_bytes(check[:8], "little"))
    return PACKED.pack(*facts)


def _private_pipes() -> tuple[int, int]:
    """The two pipes under other numbers, so that a library that prints does not print into them."""
    source, sink = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    return source, sink


def _limit_memory() -> None:
    """Let an allocation beyond MEMORY_BYTES fail rather than the machine; Linux only."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm", "rb") as file:
            held = int(file.read().split()[5]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY_BYTES, hard))


def _clock(seconds: float) -> None:
    """Let the kernel end this process after ``seconds``; 0: let it live. Not on Windows, see `reader.PATIENCE`."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _write(sink: int, parts: list[bytes]) -> None:
    done = os.writev(sink, parts) if hasattr(os, "writev") else 0
    if done < sum(map(len, parts)):
        left = memoryview(b"".join(parts))[done:]
        while left:
            left = left[os.write(sink, left) :]
