"""Pictures -> what a bundle makes of them: features and answers.

What drift, doubts and controls have in common. No file of pictures is changed, and nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from budwood.data.decode import decode_file
from budwood.data.inputs.sources import list_pictures
from budwood.data.measures import measure
from budwood.data.records import Catalog
from budwood.data.store import PictureStore
from budwood.errors import DataError, IntegrityError, UnreadableImage
from budwood.evaluation.calibrate import apply_temperature
from budwood.evaluation.drift import PictureSet
from budwood.evaluation.plain_measures import measures_of
from budwood.events import Listener, silent
from budwood.export.bundle import BATCH_SIZE, Bundle, Unreadable
from budwood.models.fold import fold_batch_norm


def _unheard(count: int) -> None:
    """For those who do not want to hear of progress."""


class Beholder:
    """A bundle's network as it looks at upright pictures: features and calibrated probabilities in one pass."""

    def __init__(self, bundle: Bundle) -> None:
        """Of an ensemble or a cascade the first network is taken."""
        self.bundle = network_of(bundle)
        size = self.bundle.preprocess.size
        folded = fold_batch_norm(self.bundle.model, torch.zeros(2, 3, size, size))
        self._model: Any = folded.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(
        self, pixels: NDArray[np.uint8], *, advance: Callable[[int], None] = _unheard
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features ``[N, D]`` and probabilities ``[N, K]`` of ``[N, S, S, 3]`` uint8 at the working size."""
        features = np.empty((len(pixels), 0), np.float32)
        probs = np.empty((len(pixels), len(self.bundle.classes)), np.float32)
        for at in range(0, len(pixels), BATCH_SIZE):
            some = torch.from_numpy(np.ascontiguousarray(pixels[at : at + BATCH_SIZE]))
            found = self._model.features(self.bundle.preprocess.normalise(some))
            if not features.shape[1]:
                features = np.empty((len(pixels), found.shape[1]), np.float32)
            features[at : at + len(some)] = found.numpy()
            probs[at : at + len(some)] = self._model.classify(found).double().softmax(1).float().numpy()
            advance(len(some))
        known = self.bundle.facts.calibration
        return features, apply_temperature(probs, known.temperature) if known else probs


def network_of(bundle: Bundle) -> Bundle:
    """The bundle itself, or the first network among the members of an ensemble or a cascade."""
    while bundle.members:
        bundle = bundle.members[0]
    return bundle


def stored_pixels(
    bundle: Bundle, catalog: Catalog, paths: Sequence[str], store: PictureStore
) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Pictures of a catalog at a network's working size ``[N, S, S, 3]``, with the paths of those that are there.

    Raises:
        DataError: none of them is there any more.
    """
    records = {record.path: record for record in catalog.records}
    found: list[NDArray[np.uint8]] = []
    names: list[str] = []
    for path in paths:
        try:
            found.append(bundle.preprocess.pixels(store.fetch(catalog, records[path])))
        except (DataError, IntegrityError, OSError):
            continue  # moved or changed since; how many are left is told by what is returned
        names.append(path)
    if not found:
        raise DataError(
            f"none of the {len(paths)} pictures is to be found below {catalog.root} as it was; nothing to show"
        )
    return tuple(names), np.stack(found)


@dataclass(frozen=True, kw_only=True)
class Described:
    """Picture files as a bundle sees them; ``pixels`` ``[N, S, S, 3]`` at the working size; row i is ``files[i]``."""

    pictures: PictureSet
    upright: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    files: tuple[Path, ...]
    unreadable: tuple[Unreadable, ...]


def describe_files(
    bundle: Bundle, named: Sequence[tuple[str, Path]], *, advance: Callable[[int], None] = _unheard
) -> Described:
    """Decode, measure and answer picture files.

    A picture counts as labelled where the folder that it lies in is called like one of the bundle's classes.

    Raises:
        DataError: none of them can be read.
    """
    beholder = Beholder(bundle)
    network = beholder.bundle
    index = {name: k for k, name in enumerate(bundle.classes)}
    pixels, probs, measured, names, files, unreadable = [], [], [], [], [], []
    for chunk in _chunks(named):
        images = []
        for name, file in chunk:
            try:
                image = decode_file(file).image
            except UnreadableImage as error:
                unreadable.append(Unreadable(path=name, reason=str(error)))
                continue
            images.append(image)
            names.append(name)
            files.append(file)
            measured.append(_measures(image))
        if images:
            pixels.append(np.stack([network.preprocess.pixels(image) for image in images]))
            probs.append(bundle.predict_images(images))
        advance(len(chunk))
    if not pixels:
        raise DataError(f"none of the {len(named)} pictures can be read; first: {unreadable[0].reason}")
    shown = np.concatenate(pixels)
    features, upright = beholder(shown)
    return Described(
        pictures=PictureSet(
            paths=tuple(names),
            classes=bundle.classes,
            features=features,
            probs=np.concatenate(probs),
            targets=np.array([index.get(_folder_of(name), -1) for name in names], dtype=np.int64),
            measures=measures_of(measured),
        ),
        upright=upright,
        pixels=shown,
        files=tuple(files),
        unreadable=tuple(unreadable),
    )


def named_files(photos: str | Path | Sequence[str | Path], *, listen: Listener = silent) -> list[tuple[str, Path]]:
    """(name to show, file) of all pictures that are meant: files as they are, and all in folders, archives and tables.

    Raises:
        UsageError: a path does not exist. DataError: a folder or an archive holds no picture.
    """
    given = [photos] if isinstance(photos, str | Path) else photos
    return [pair for one in given for pair in list_pictures(Path(one), listen=listen)]


def _folder_of(name: str) -> str:
    """The folder that a picture lies in: ``a/b/c.jpg`` -> ``b``."""
    return name.rpartition("/")[0].rpartition("/")[2]


def _chunks(named: Sequence[tuple[str, Path]]) -> Iterator[Sequence[tuple[str, Path]]]:
    for at in range(0, len(named), BATCH_SIZE):
        yield named[at : at + BATCH_SIZE]


def _measures(image: NDArray[np.uint8]) -> Mapping[str, float]:
    return {**measure(image)._asdict(), "width": float(image.shape[1]), "height": float(image.shape[0])}
