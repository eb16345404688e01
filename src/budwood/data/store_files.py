"""The files of the picture store: raw bytes of pictures and planes that only grow, mapped for reading.

Which bytes mean what is the index's matter (`picture_index.py`), and what is stored and when that of `store.py`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budwood.data.picture_index import INDEX_NAME
from budwood.errors import OutputError

_PIECES = 256  # written at once; Linux takes 1024


class StoreFiles:
    """The files in ``folder`` by name; any of them may be deleted by another process at any time."""

    def __init__(self, folder: Path, *, guard: threading.RLock) -> None:
        """Open or create the folder.

        Args:
            guard: held by the thread that writes.

        Raises:
            OutputError: it cannot be created.
        """
        self.folder = folder
        self._guard = guard
        self._maps: dict[str, NDArray[np.uint8]] = {}
        with self.disk():
            folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def disk(self) -> Iterator[None]:
        """Tells in the user's words what the system refuses inside."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write the picture cache {self.folder} ({reason}); free some space") from error

    def mapped(self, name: str, end: int) -> NDArray[np.uint8]:
        """The bytes of a file, read-only, up to ``end`` at least; fewer where the file is shorter or gone."""
        with self._guard:
            if name not in self._maps or len(self._maps[name]) < end:
                try:
                    self._maps[name] = np.asarray(np.memmap(self.folder / name, np.uint8, "r"))
                except (OSError, ValueError):
                    return np.empty(0, np.uint8)  # deleted or emptied under us: the caller sees too few bytes
            return self._maps[name]

    def write(self, name: str, offset: int, pieces: Sequence[memoryview]) -> None:
        """Put bytes, in pieces that follow one another, into a file that `fit_to` has made."""
        left = list(pieces)
        with self.disk(), (self.folder / name).open("r+b", buffering=0) as file:
            file.seek(offset)
            while left:
                some = left[:_PIECES]
                done = os.writev(file.fileno(), some) if hasattr(os, "writev") else file.write(some[0])
                while left and done >= len(left[0]):
                    done -= len(left.pop(0))
                if done:
                    left[0] = left[0][done:]

    def identity(self) -> tuple[int, int, int] | None:
        """Tells one index file from the next."""
        try:
            status = (self.folder / INDEX_NAME).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def hold(self, sizes: Mapping[str, int]) -> bool:
        """Whether every file is at least as long as that."""
        return all(self._size(name) >= size for name, size in sizes.items())

    def let_go(self) -> None:
        """Map the files anew when they are next read."""
        with self._guard:
            self._maps.clear()

    def remove(self, *names: str) -> None:
        """Removed, not emptied: a process that still maps an old file keeps its pages."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def fit_to(self, sizes: Mapping[str, int]) -> None:
        """Make what is missing, and cut off what a killed scan left behind; no index names it."""
        for name, size in sizes.items():
            (self.folder / name).touch()
            if self._size(name) > size:
                os.truncate(self.folder / name, size)

    def _size(self, name: str) -> int:
        try:
            return (self.folder / name).stat().st_size
        except OSError:
            return -1
