"""One view's activations in one file: raw rows, and beside it a table of the checksums of its chunks.

A chunk counts only when its checksum is in the table and fits, so a kill, a cut or a changed byte costs no more than
the chunks that it touched. Whose activations these are, the folder's name says (`boundary.py`).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.errors import IntegrityError, OutputError
from budwood.files import read_json, write_json

CHUNK = 128  # pictures; a whole number of batches, so that chunks made alone equal those made in a row


@dataclass(frozen=True, kw_only=True)
class ActivationFile:
    """``rows`` activations of ``shape``, as they are stored."""

    path: Path
    rows: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def num_bytes(self) -> int:
        """The size of the whole file."""
        return self.rows * self.row_bytes

    @property
    def row_bytes(self) -> int:
        """The size of one activation."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def table(self) -> Path:
        """The file of the checksums."""
        return self.path.with_suffix(".json")

    def chunks(self) -> list[range]:
        """The rows of each chunk."""
        return [range(at, min(at + CHUNK, self.rows)) for at in range(0, self.rows, CHUNK)]

    def sound_chunks(self) -> dict[int, int]:
        """Number -> checksum of the chunks whose bytes are those that were written."""
        noted, sound = self._noted(), {}
        try:
            with self.path.open("rb") as file:
                for number, rows in enumerate(self.chunks()):
                    if number in noted:
                        file.seek(rows.start * self.row_bytes)
                        data = file.read(len(rows) * self.row_bytes)
                        if len(data) == len(rows) * self.row_bytes and zlib.crc32(data) == noted[number]:
                            sound[number] = noted[number]
        except OSError:
            return {}
        return sound

    def write_chunk(self, number: int, values: NDArray[Any], sound: dict[int, int]) -> None:
        """Write a chunk's rows, then add it to ``sound`` and to the table.

        Raises:
            OutputError: the disk is full or cannot be written.
        """
        data = np.ascontiguousarray(values, dtype=self.dtype).tobytes()
        try:
            # Written, not mapped: on a full disk a write into a mapped hole would kill the process (SIGBUS).
            with self.path.open("r+b" if self.path.exists() else "w+b") as file:
                file.seek(number * CHUNK * self.row_bytes)
                file.write(data)
            sound[number] = zlib.crc32(data)
            write_json(self.table, {str(key): value for key, value in sound.items()})
        except OSError as error:
            raise OutputError(
                f"cannot keep activations in {self.path.parent} ({error.strerror or error}); free "
                f"{self.num_bytes / 1e9:.1f} GB, or do without: --set train.cache=off"
            ) from error

    def mapped(self) -> NDArray[Any]:
        """All rows as they lie on the disk: ``[rows, *shape]``, read-only. Only for a file whose chunks are sound."""
        if not self.rows:
            return np.empty((0, *self.shape), self.dtype)
        return np.memmap(self.path, self.dtype, "r", shape=(self.rows, *self.shape))

    def _noted(self) -> dict[int, int]:
        try:
            table = read_json(self.table)
            return {int(number): int(value) for number, value in table.items()}
        except (IntegrityError, AttributeError, TypeError, ValueError):
            return {}
