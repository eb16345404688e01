"""`LineLog`: an append-only file of JSON lines. What `append` has returned from is on the disk, whatever happens next.

A line counts once its line end is written. What a crash or a full disk left behind it is passed over when reading and
cut off by the next append. Several processes may append at once; what the lines mean is for their owner to say.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from budwood.errors import IntegrityError, OutputError
from budwood.files import sync_folder

_STEP = 1 << 16  # bytes read at a time when the last whole line is looked for


class LineLog:
    """JSON objects in ``file``, one a line; the file and its folder are made by the first `append`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = FileLock(file.with_name(f".{file.name}.lock"))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out, for a step that reads before it appends; may be nested.

        Raises:
            OutputError: the folder cannot be written.
        """
        with self._disk():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def append(self, values: Sequence[dict[str, Any]]) -> None:
        """Add one line for each of ``values``, all of them or none as long as the process lives.

        Raises:
            OutputError: the disk refuses; nothing was added.
        """
        data = b"".join(json.dumps(value, ensure_ascii=True, allow_nan=False).encode() + b"\n" for value in values)
        if not data:
            return
        with self.locked(), self._disk():
            made = not self.file.exists()
            with self.file.open("ab", buffering=0) as file:
                _append_durably(file.fileno(), self.file, data)
            if made:
                sync_folder(self.file.parent)

    def lines(self) -> list[dict[str, Any]]:
        """All whole lines, oldest first.

        Raises:
            IntegrityError: a whole line is no JSON object, so the file was changed.
        """
        try:
            *whole, _ = self.file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise IntegrityError(f"{self.file} cannot be read ({error.strerror or error})") from error
        return [self._parsed(line, number) for number, line in enumerate(whole, start=1) if line.strip()]

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            values = json.loads(line.decode("ascii"))
            if not isinstance(values, dict):
                raise ValueError("no JSON object")
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"{self.file}: line {number} cannot be read ({error}); it was changed") from error
        return values

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write {self.file} ({reason}); free some space or give write access") from error


def _append_durably(handle: int, file: Path, data: bytes) -> None:
    """Write ``data`` after the last whole line and wait for the disk; on failure the file is as it was."""
    start = _end_of_last_line(file)
    os.ftruncate(handle, start)
    try:
        at = 0
        while at < len(data):  # a nearly full disk takes a part and refuses the rest
            at += os.write(handle, data[at:])
        os.fsync(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, start)
        raise


def _end_of_last_line(file: Path) -> int:
    with file.open("rb") as reader:
        end = reader.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _STEP)
            reader.seek(start)
            found = reader.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
