"""Picture files, decoded and made ready a few at a time; one that cannot be read takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from budwood.data.decode import decode_file
from budwood.errors import UnreadableImage
from budwood.files import escape_name

_DECODERS = 2
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that could not be answered, and why."""

    path: str
    reason: str


def read_each(
    paths: Sequence[str | Path], prepare: Callable[[NDArray[np.uint8]], T]
) -> Iterator[tuple[str, T | Unreadable]]:
    """The name of each file with what ``prepare`` makes of its picture ``[H, W, 3]`` uint8, in order."""

    def one(path: str | Path) -> tuple[str, T | Unreadable]:
        name = escape_name(str(path))
        try:
            return name, prepare(decode_file(Path(path)).image)
        except UnreadableImage as error:
            return name, Unreadable(path=name, reason=str(error))

    with ThreadPoolExecutor(_DECODERS) as pool:
        yield from pool.map(one, paths)
