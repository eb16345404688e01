"""Golden pictures: a few small ones in the bundle, with the probabilities that they must get, wherever it runs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budwood.data.decode import decode_file
from budwood.errors import IntegrityError, UnreadableImage
from budwood.evaluation.plain_values import share
from budwood.files import read_json, write_bytes, write_json

GOLDEN_NAME = "golden.json"
GOLDEN_SIDE = 256
# Another processor or thread count changes the seventh digit; what is told apart here is another answer.
TOLERANCE = 1e-4
_FILE = re.compile(r"golden/[1-9]\.png")


def golden_form(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture ``[H, W, 3]`` uint8 as it is kept: its longer side at most 256 px."""
    picture = Image.fromarray(image)
    picture.thumbnail((GOLDEN_SIDE, GOLDEN_SIDE), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def write_golden(folder: Path, images: Sequence[NDArray[np.uint8]], probs: NDArray[np.float32]) -> None:
    """Put pictures (in their `golden_form`) and their probabilities ``[N, K]`` into a bundle; seal it afterwards."""
    entries = []
    for number, (image, row) in enumerate(zip(images, probs, strict=True), start=1):
        data = io.BytesIO()
        Image.fromarray(image).save(data, format="PNG")
        write_bytes(folder / "golden" / f"{number}.png", data.getvalue())
        entries.append({"file": f"golden/{number}.png", "probabilities": [float(p) for p in row]})
    write_json(folder / GOLDEN_NAME, {"pictures": entries})


def read_golden(folder: Path, *, num_classes: int) -> tuple[tuple[Path, NDArray[np.float64]], ...]:
    """The golden pictures' files and probabilities ``[K]``; empty where the bundle has none.

    Raises:
        IntegrityError: the list of them is damaged.
    """
    if not (folder / GOLDEN_NAME).is_file():
        return ()
    values = read_json(folder / GOLDEN_NAME)
    found = []
    try:
        for entry in values["pictures"]:
            name, probs = entry["file"], [share(p, "a probability") for p in entry["probabilities"]]
            if not _FILE.fullmatch(name) or len(probs) != num_classes:
                raise ValueError(f"{str(name)[:40]!r} with {len(probs)} probabilities")
            found.append((folder / name, np.array(probs)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{folder / GOLDEN_NAME} is no list of golden pictures ({error})") from error
    return tuple(found)


def check_golden(
    folder: Path, answer: Callable[[NDArray[np.uint8]], NDArray[np.float32]], *, num_classes: int, limit: int = 1
) -> float | None:
    """Ask for the first ``limit`` golden pictures and compare.

    Args:
        answer: one picture ``[H, W, 3]`` uint8 -> its probabilities ``[K]``.

    Returns:
        The largest difference; None where the bundle has no golden picture.

    Raises:
        IntegrityError: an answer differs by more than `TOLERANCE`, or a picture cannot be read.
    """
    worst: float | None = None
    for file, expected in read_golden(folder, num_classes=num_classes)[:limit]:
        try:
            found = answer(decode_file(file).image)
        except UnreadableImage as error:
            raise IntegrityError(f"the golden picture {file} cannot be read ({error})") from error
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:
            raise IntegrityError(
                f"the bundle {folder} answers its golden picture {file.name} otherwise than when it was written: a"
                f" probability differs by {difference:.2g}, allowed is {TOLERANCE:g}. Libraries may have changed what"
                " they compute; compare the versions in bundle.json with those installed"
            )
        worst = max(difference, worst or 0.0)
    return worst
