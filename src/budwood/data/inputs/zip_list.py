"""Opening a zip without believing its own sizes: `zipfile` would read a list of any claimed length into memory."""

from __future__ import annotations

import zipfile
from typing import IO, cast

from budwood.errors import DataError

# The list of 200,000 entries has some 26 MB.
_MAX_LIST_BYTES = 48 * 2**20


def open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """The list of a zip's members, read from the open ``file``.

    Raises:
        DataError: there is none, or it is damaged or too long; the text lacks the file's name.
    """
    try:
        return zipfile.ZipFile(cast(IO[bytes], _ShortReads(file)))
    except DataError:
        raise
    except Exception as error:  # hostile lists raise struct, Unicode, value and other errors
        raise DataError("is damaged or cut: its list of files cannot be read; make or copy it again") from error


class _ShortReads:
    """What `zipfile` needs of a file; refuses to read pieces as large as only a hostile list would be."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _MAX_LIST_BYTES:
            raise DataError(f"claims a list of {size // 2**20} MB, more than the {_MAX_LIST_BYTES // 2**20} MB allowed")
        return self._file.read(size)
