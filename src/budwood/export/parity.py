"""Does an exported file answer as its bundle does? Golden pictures, and random ones of random sizes and forms.

It compares answers; what is done about a difference is the exporter's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budwood.data.decode import decode_file
from budwood.export.bundle import Bundle
from budwood.export.golden import read_golden

TOLERANCE = 1e-4
NUM_PICTURES = 100
_SIDES = (24, 700)  # pixels; from smaller than any input to larger than the training store

Answer = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The largest difference of a probability from the bundle's, and on how many pictures it was looked for.

    changed: pictures that were given another class. allowed: how large ``worst`` may be.
    """

    num_pictures: int
    num_golden: int
    worst: float
    changed: int
    allowed: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether it is within what is allowed; a probability that is no number is not."""
        return self.worst <= self.allowed

    @property
    def words(self) -> str:
        """A sentence's part."""
        return (
            f"probabilities differ by at most {self.worst:.1e} on {self.num_pictures} pictures"
            f" ({self.num_golden} golden, the rest random in size and content)"
        )


def measure_parity(
    bundle: Bundle, answer: Answer, *, num_pictures: int = NUM_PICTURES, seed: int = 0, allowed: float = TOLERANCE
) -> Parity:
    """Ask the bundle and ``answer`` for the same pictures."""
    golden = golden_images(bundle)
    images = [*golden, *random_images(num_pictures, seed=seed)]
    wanted, found = bundle.predict_images(images), answer(images)
    differences = np.abs(wanted - found)
    worst = float(differences.max()) if np.isfinite(differences).all() else float("inf")
    return Parity(
        num_pictures=len(images),
        num_golden=len(golden),
        worst=worst,
        changed=int((wanted.argmax(axis=1) != found.argmax(axis=1)).sum()),
        allowed=allowed,
    )


def golden_images(bundle: Bundle) -> list[NDArray[np.uint8]]:
    """The pictures that the bundle carries, ``[H, W, 3]`` uint8; none, where it carries none."""
    if not bundle.folder.is_dir():
        return []
    return [decode_file(file).image for file, _ in read_golden(bundle.folder, num_classes=len(bundle.classes))]


def random_images(num: int, *, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Pictures ``[H, W, 3]`` uint8 of random sizes: every other one noise, the others smooth, as photos are."""
    generator = np.random.default_rng(seed)
    low, high = np.log(_SIDES[0]), np.log(_SIDES[1])
    images = []
    for number in range(num):
        height, width = (int(side) for side in np.exp(generator.uniform(low, high, 2)))
        if number % 2:
            coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            images.append(np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)))
        else:
            images.append(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return images
