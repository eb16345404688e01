"""What fewer bits cost: accuracy on labelled pictures with a paired interval, probabilities, size, speed.

It measures an exported file against the one in float32; what is done about a loss is the reader's matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.data.decode import decode_file
from budwood.data.preprocess import reduce_to
from budwood.errors import IntegrityError
from budwood.evaluation.compare import Difference, paired_difference
from budwood.evaluation.predictions import Predictions
from budwood.export.onnx_runtime import OnnxBundle

_CHUNK = 32  # decoded pictures held at once
_ROUNDS = 7  # of the timing


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFiles:
    """Pictures to measure with.

    files, targets: N of them, ``targets`` ``[N]`` indices of the bundle's classes. training: other pictures, which may
    have been trained on. what: where they are from, as words; note: what makes the accuracies flatter, if anything.
    """

    files: tuple[Path, ...]
    targets: NDArray[np.int64]
    training: tuple[Path, ...]
    what: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A reduced file against the float32 one: ``accuracy`` is the difference of the two, reduced minus float32.

    worst: the largest difference of a probability. changed: pictures that were given another class. size: bytes as a
    share of the float32 file's. speed: how many times as fast, the median of rounds in turn, and speed_range.
    """

    precision: str
    what: str
    note: str
    num_pictures: int
    accuracy: Difference
    worst: float
    changed: int
    size: float
    speed: float
    speed_range: tuple[float, float]

    @property
    def words(self) -> str:
        """Sentences for a person."""
        it, span = self.accuracy, self.accuracy.interval
        text = (
            f"{self.precision} against fp32 on {self.num_pictures} pictures of {self.what}: accuracy {it.b:.4f} against"
            f" {it.a:.4f}, {it.value:+.4f} ({span.low:+.4f} to {span.high:+.4f}): {it.words}; probabilities differ by"
            f" at most {self.worst:.1e}, {self.changed} pictures get another class; {self.size:.0%} of the size, its"
            f" networks {self.speed:.2f} times as fast on this machine ({self.speed_range[0]:.2f}-"
            f"{self.speed_range[1]:.2f} over {_ROUNDS} rounds)"
        )
        return f"{text}. {self.note}" if self.note else text

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "verdict": self.accuracy.verdict}


def measure_cost(
    whole: Path,
    reduced: Path,
    *,
    pictures: LabelledFiles,
    precision: str,
    side: int,
    store_side: int,
    advance: Callable[[int], None] = lambda count: None,
) -> Cost:
    """Ask both ONNX files for the same pictures.

    Args:
        whole: the file in float32. reduced: the other one.
        side: of the squares that the speed is measured on, in pixels: the input of the network.
        store_side: pictures are reduced to it first, for both files; it takes less time than in the graph.
        advance: hears of the pictures that were answered.

    Raises:
        IntegrityError: the reduced file's probabilities are no numbers. UnreadableImage: a picture cannot be read.
    """
    files = OnnxBundle(whole), OnnxBundle(reduced)
    tables: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    for images in _decoded(pictures.files, store_side=store_side):
        for file, table in zip(files, tables, strict=True):
            table.append(file.predict_images(images))
        advance(len(images))
    first, second = (_predictions(np.concatenate(table), files[0].classes, pictures) for table in tables)
    if not np.isfinite(second.probs).all():
        raise IntegrityError(f"in {precision} this network's numbers overflow: not written; use another --precision")
    ratios = _speed_ratios(*(file.predict_images for file in files), side=side)
    return Cost(
        precision=precision,
        what=pictures.what,
        note=pictures.note,
        num_pictures=len(first),
        accuracy=paired_difference(first, second).accuracy,
        worst=float(np.abs(first.probs - second.probs).max()),
        changed=int((first.predicted != second.predicted).sum()),
        size=reduced.stat().st_size / whole.stat().st_size,
        speed=float(np.median(ratios)),
        speed_range=(min(ratios), max(ratios)),
    )


def _decoded(files: Sequence[Path], *, store_side: int) -> Iterator[list[NDArray[np.uint8]]]:
    for at in range(0, len(files), _CHUNK):
        yield [reduce_to(decode_file(file).image, store_side) for file in files[at : at + _CHUNK]]


def _predictions(probs: NDArray[np.float32], classes: tuple[str, ...], pictures: LabelledFiles) -> Predictions:
    return Predictions(probs=probs, targets=pictures.targets, paths=tuple(map(str, pictures.files)), classes=classes)


def _speed_ratios(
    whole: Callable[[list[NDArray[np.uint8]]], Any], reduced: Callable[[list[NDArray[np.uint8]]], Any], *, side: int
) -> list[float]:
    """Seconds of ``whole`` by seconds of ``reduced``, in rounds that take turns; the first round warms up."""
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(_CHUNK)]
    ratios = []
    for _ in range(_ROUNDS + 1):
        seconds = []
        for answer in (whole, reduced):
            start = time.perf_counter()
            answer(images)
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return ratios[1:]
