"""`Bundle`: a folder that answers on its own: weights, spec, classes, preprocess, versions, sha256 of each file.

Safetensors and JSON only. Loading verifies every file. What a run reports is made by this very predictor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save

from budwood.data.decode import decode_file
from budwood.data.preprocess import Preprocess
from budwood.errors import IntegrityError, UnreadableImage, UsageError
from budwood.evaluation.predictions import Predictions
from budwood.files import check_manifest, escape_name, read_json, write_bytes, write_json, write_manifest
from budwood.models.build import Classifier, ModelSpec, build_empty, classifier_state
from budwood.models.fold import fold_batch_norm
from budwood.train.features import turned

FORMAT = 1
# Fixed, so that the arithmetic and with it the last digits do not depend on how many pictures are asked for.
BATCH_SIZE = 32
_WEIGHTS, _FACTS = "weights.safetensors", "bundle.json"
_DECODERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that could not be answered, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """What a bundle knows about itself besides its weights.

    views: which of the eight flips and turns are averaged. training: recipe, pictures, scores, as plain values.
    """

    spec: ModelSpec
    classes: tuple[str, ...]
    preprocess: Preprocess
    views: tuple[int, ...]
    training: dict[str, Any]
    versions: dict[str, str]


def write_bundle(folder: Path, model: Classifier, facts: BundleFacts) -> None:
    """Write a bundle; the manifest comes last, so a half-written folder is never taken for one."""
    write_bytes(folder / _WEIGHTS, save(classifier_state(model)))
    write_json(
        folder / _FACTS,
        {
            "format": FORMAT,
            "model": facts.spec.model_dump(mode="json"),
            "classes": list(facts.classes),
            "preprocess": facts.preprocess.to_dict(),
            "views": list(facts.views),
            "training": facts.training,
            "versions": facts.versions,
        },
    )
    write_manifest(folder)


class Bundle:
    """A loaded bundle: answers pictures with class probabilities."""

    def __init__(self, folder: Path, facts: BundleFacts, model: Classifier) -> None:
        self.folder = folder
        self.facts = facts
        self.model = model.eval()
        self._fast: torch.nn.Module | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        return self.facts.classes

    def predict(self, paths: str | Path | Sequence[str | Path]) -> Predictions:
        """Class probabilities of picture files.

        Raises:
            UnreadableImage: some files are no pictures; `predict_files` answers the others.
        """
        predictions, unreadable = self.predict_files(paths)
        if unreadable:
            first, asked = unreadable[0], len(unreadable) + len(predictions)
            raise UnreadableImage(
                f"{len(unreadable)} of {asked} files cannot be read, first {first.path} ({first.reason}); "
                "predict_files answers the others"
            )
        return predictions

    def predict_files(
        self, paths: str | Path | Sequence[str | Path], *, advance: Callable[[int], None] = lambda count: None
    ) -> tuple[Predictions, tuple[Unreadable, ...]]:
        """Class probabilities of the files that can be read, and a list of those that cannot."""
        paths = [paths] if isinstance(paths, str | Path) else paths
        probs: list[NDArray[np.float32]] = []
        names: list[str] = []
        unreadable: list[Unreadable] = []
        for chunk in _chunks(paths, BATCH_SIZE):
            decoded = list(self._decode(chunk))
            pixels = [d for d in decoded if not isinstance(d, Unreadable)]
            unreadable += [d for d in decoded if isinstance(d, Unreadable)]
            names += [_name(p) for p, d in zip(chunk, decoded, strict=True) if not isinstance(d, Unreadable)]
            if pixels:
                probs.append(self.predict_pixels(np.stack(pixels)))
            advance(len(chunk))
        table = np.concatenate(probs) if probs else np.zeros((0, len(self.classes)), np.float32)
        return (
            Predictions(probs=table, targets=None, paths=tuple(names), classes=self.classes),
            tuple(unreadable),
        )

    @torch.inference_mode()
    def predict_pixels(
        self, pixels: NDArray[np.uint8], *, advance: Callable[[int], None] = lambda count: None
    ) -> NDArray[np.float32]:
        """Probabilities ``[N, K]`` float32 of pictures already at the working size, ``[N, S, S, 3]`` uint8.

        The mean over the bundle's views; always computed in float32 and in batches of one size.
        """
        network = self._network()
        out = np.empty((len(pixels), len(self.classes)), dtype=np.float32)
        for at in range(0, len(pixels), BATCH_SIZE):
            some = pixels[at : at + BATCH_SIZE]
            full = np.concatenate([some, np.repeat(some[-1:], BATCH_SIZE - len(some), axis=0)])
            total = torch.zeros(BATCH_SIZE, len(self.classes), dtype=torch.float64)
            for view in self.facts.views:
                batch = torch.from_numpy(np.ascontiguousarray(turned(full, view)))
                total += network(self.facts.preprocess.normalise(batch)).double().softmax(1)
            out[at : at + len(some)] = (total / len(self.facts.views)).float().numpy()[: len(some)]
            advance(len(some))
        return out

    def _network(self) -> torch.nn.Module:
        if self._fast is None:
            size = self.facts.preprocess.size
            folded = fold_batch_norm(self.model, torch.zeros(2, 3, size, size))
            self._fast = folded.to(memory_format=torch.channels_last)
        return self._fast

    def _decode(self, paths: Sequence[str | Path]) -> Iterator[NDArray[np.uint8] | Unreadable]:
        def one(path: str | Path) -> NDArray[np.uint8] | Unreadable:
            try:
                return self.facts.preprocess.pixels(decode_file(Path(path)).image)
            except UnreadableImage as error:
                return Unreadable(path=_name(path), reason=str(error))

        with ThreadPoolExecutor(_DECODERS) as pool:
            yield from pool.map(one, paths)


def load(folder: str | Path) -> Bundle:
    """Load a bundle after verifying every file in it.

    Raises:
        UsageError: there is no bundle at ``folder``.
        IntegrityError: a file was changed, is missing or was added since it was written.
    """
    place = Path(folder)
    if (place / "bundle" / _FACTS).is_file() and not (place / _FACTS).is_file():
        place = place / "bundle"  # a run's folder was given
    if not (place / _FACTS).is_file():
        raise UsageError(f"{folder} is no bundle (no {_FACTS} in it); give RUN/bundle or the folder of a run")
    problems = check_manifest(place)
    if problems:
        raise IntegrityError(f"the bundle {place} is not what was written: {'; '.join(problems[:3])}")
    facts = read_facts(place)
    model = build_empty(facts.spec, num_classes=len(facts.classes), size=facts.preprocess.size)
    try:
        model.load_state_dict(load_file(str(place / _WEIGHTS)), strict=True)
    except RuntimeError as error:
        raise IntegrityError(f"the weights in {place} do not fit their own description: {error}") from error
    return Bundle(place, facts, model)


def read_facts(folder: Path) -> BundleFacts:
    """Read ``bundle.json``.

    Raises:
        IntegrityError: it is missing, damaged or of a newer format.
    """
    values = read_json(folder / _FACTS)
    try:
        if values["format"] != FORMAT:
            raise IntegrityError(
                f"{folder} has bundle format {values['format']}, this Budwood reads {FORMAT}: update it"
            )
        return BundleFacts(
            spec=ModelSpec.model_validate(values["model"]),
            classes=tuple(values["classes"]),
            preprocess=Preprocess.from_dict(values["preprocess"]),
            views=tuple(values["views"]),
            training=values["training"],
            versions=values["versions"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{folder / _FACTS} does not describe a bundle ({error})") from error


def _chunks(paths: Sequence[str | Path], size: int) -> Iterator[Sequence[str | Path]]:
    for at in range(0, len(paths), size):
        yield paths[at : at + size]


def _name(path: str | Path) -> str:
    return escape_name(str(path))
