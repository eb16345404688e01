"""Renaming that never overwrites, as one step of the system where the system has one."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_NOREPLACE = 1  # RENAME_NOREPLACE of linux/fs.h
_AT_FDCWD = -100
# Old kernels and some file systems do not know the flag.
_UNKNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})


def rename_without_overwriting(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``.

    On Linux this is one step. Elsewhere a file that appears in the same instant could be replaced, except on Windows,
    whose rename refuses.

    Raises:
        FileExistsError: something is at ``target``; both stay. OSError: the system refuses, with its ``errno``
            (``EXDEV``: the two are on different file systems).
    """
    if sys.platform.startswith("linux") and _renamed_by_linux(source, target):
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    os.rename(source, target)


def _renamed_by_linux(source: Path, target: Path) -> bool:
    """Whether renameat2 did it; False where it is not known."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_NOREPLACE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), os.fspath(source), None, os.fspath(target))
