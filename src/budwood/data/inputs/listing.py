"""`Listing`: which files are meant to be pictures, with their labels, before any of them is opened.

Each kind of input (a folder, a table, an archive, arrays) ends as one; `scan` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """One possible picture. ``path``: its id, escaped, relative to the root; ``place``: the file to open.

    ``part`` is train, val or test where the user divided the pictures himself, else empty.
    """

    path: str
    place: str
    label: str
    group: str = ""
    part: str = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """``entries`` are ordered by path; ``classes`` also names classes without any file; ``ignored`` has reasons.

    For every entry ``place`` is ``root / unescape_name(path)``, so that a catalog finds its files again.
    """

    root: Path
    entries: tuple[Entry, ...]
    classes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
