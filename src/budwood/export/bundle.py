"""`Bundle`: a folder that answers on its own: weights or members, classes, preprocess, calibration, sha256 of files.

Safetensors, JSON, text and PNG only. Loading verifies every file and one golden picture. What a run reports is made by
this very predictor. What the bundle knows is in `bundle_facts.py`; a zip of it is opened by `zipped.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from budwood.data.preprocess import Preprocess
from budwood.errors import IntegrityError, UnreadableImage, UsageError
from budwood.evaluation.calibrate import apply_temperature
from budwood.evaluation.deciding import Decision, decide
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.views import View
from budwood.export.batches import refuse_odd
from budwood.export.bundle_facts import FACTS_NAME, FORMAT, BundleFacts, read_facts
from budwood.export.golden import check_golden
from budwood.export.joining import JOINS
from budwood.export.network import BATCH_SIZE, NetworkAnswers
from budwood.export.reading import Unreadable, read_each
from budwood.export.sealing import WEIGHTS_NAME, seal, write_bundle
from budwood.export.weights import read_weights
from budwood.export.zipped import opened_zip
from budwood.files import check_manifest
from budwood.models.build import Classifier

__all__ = ["BATCH_SIZE", "FORMAT", "Bundle", "BundleFacts", "Unreadable", "load", "read_facts", "seal", "write_bundle"]

MEMBERS_NAME = "members"
_WEIGHTS_OF_FORMAT_1 = "weights.safetensors"
_MAX_DEPTH = 4  # of members within members
T = TypeVar("T")

# One picture at the input size of every network that will see it.
Prepared = dict[Preprocess, NDArray[np.uint8]]


def _unheard(count: int) -> None:
    """For those who do not want to hear of progress."""


class Bundle:
    """A loaded bundle: answers pictures with class probabilities, calibrated where the bundle carries a calibration."""

    def __init__(
        self, folder: Path, facts: BundleFacts, model: Classifier | None = None, *, members: Sequence[Bundle] = ()
    ) -> None:
        """A network (``model``), or ``members`` that ``facts`` says how to join.

        Raises:
            ValueError: the facts describe something else.
        """
        self.folder = folder
        self.facts = facts
        self.members = tuple(members)
        self._network: NetworkAnswers | None = None
        if facts.kind == "network":
            if model is None or facts.preprocess is None:
                raise ValueError("a network's bundle needs a model, and facts with spec and preprocess")
            self._network = NetworkAnswers(model, preprocess=facts.preprocess, views=facts.views, average=facts.average)
        else:
            if facts.kind not in JOINS:
                raise ValueError(f"bundles of the kind {facts.kind} cannot be read by this Budwood: update it")
            self._join = JOINS[facts.kind](facts, [member.classes for member in members])

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        return self.facts.classes

    @property
    def model(self) -> Classifier:
        """The network.

        Raises:
            ValueError: this is an ensemble or a cascade; its ``members`` have networks.
        """
        return self._own_network().model

    @property
    def preprocess(self) -> Preprocess:
        """How pictures become the network's input; raises as `model` does."""
        return self._own_network().preprocess

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
        self, paths: str | Path | Sequence[str | Path], *, advance: Callable[[int], None] = _unheard
    ) -> tuple[Predictions, tuple[Unreadable, ...]]:
        """Class probabilities of the files that can be read, and a list of those that cannot."""
        paths = [paths] if isinstance(paths, str | Path) else paths
        probs: list[NDArray[np.float32]] = []
        names: list[str] = []
        unreadable: list[Unreadable] = []
        for chunk in _chunks(paths, BATCH_SIZE):
            read = list(read_each(chunk, self.prepare))
            unreadable += [found for _, found in read if isinstance(found, Unreadable)]
            names += [name for name, found in read if not isinstance(found, Unreadable)]
            probs.append(self.answer([found for _, found in read if not isinstance(found, Unreadable)]))
            advance(len(chunk))
        table = np.concatenate(probs) if probs else np.zeros((0, len(self.classes)), np.float32)
        return (
            Predictions(probs=table, targets=None, paths=tuple(names), classes=self.classes),
            tuple(unreadable),
        )

    def predict_images(
        self, images: Sequence[NDArray[np.uint8]], *, advance: Callable[[int], None] = _unheard
    ) -> NDArray[np.float32]:
        """Probabilities ``[N, K]`` float32 of decoded pictures ``[H, W, 3]`` uint8 RGB of any size.

        Raises:
            ValueError: an image has another form or type, or is a strip (longer than 100 times its width).
        """
        tables = [np.zeros((0, len(self.classes)), np.float32)]
        for chunk in _chunks(images, BATCH_SIZE):
            tables.append(self.answer([self.prepare(image) for image in chunk]))
            advance(len(chunk))
        return np.concatenate(tables)

    def predict_pixels(
        self, pixels: NDArray[np.uint8], *, advance: Callable[[int], None] = _unheard
    ) -> NDArray[np.float32]:
        """Probabilities ``[N, K]`` float32 of pictures already at the working size, ``[N, S, S, 3]`` uint8.

        The mean over the bundle's views; always computed in float32 and in batches of one size.

        Raises:
            ValueError: this is an ensemble or a cascade, whose members may have several working sizes.
        """
        return self._calibrated(self._own_network()(pixels, advance=advance))

    def decide(self, probs: NDArray[np.float32], *, risk: float = 0.05, coverage: float = 0.9) -> tuple[Decision, ...]:
        """Answers where at most ``risk`` of them are wrong, and elsewhere the classes that it may be.

        Args:
            probs: what this bundle's ``predict...`` gave, ``[N, K]``.
            risk: see `evaluation.deciding.decide`. coverage: the share of pictures whose candidates hold the truth.

        Raises:
            UsageError: the bundle carries no calibration, or none for this risk or coverage.
        """
        if self.facts.calibration is None:
            raise UsageError(
                f"the bundle {self.folder} carries no calibration, so it cannot tell when to abstain; make it again"
                " with: budwood fit"
            )
        return decide(probs, classes=self.classes, calibration=self.facts.calibration, risk=risk, coverage=coverage)

    def with_views(self, views: Sequence[int | View]) -> Bundle:
        """The same network, asked in other views; to measure what views bring.

        Raises:
            ValueError: this is an ensemble or a cascade.
        """
        network = self._own_network()
        other = Bundle(self.folder, replace(self.facts, views=tuple(views)), network.model)
        other._network = network.showing(views)
        return other

    def _own_network(self) -> NetworkAnswers:
        if self._network is None:
            raise ValueError(f"this bundle is of the kind {self.facts.kind}: ask its members, or use predict_images")
        return self._network

    def _calibrated(self, probs: NDArray[np.float32]) -> NDArray[np.float32]:
        known = self.facts.calibration
        return apply_temperature(probs, known.temperature) if known else probs

    def _preprocesses(self) -> set[Preprocess]:
        if self._network:
            return {self._network.preprocess}
        return set().union(*(member._preprocesses() for member in self.members))

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """One picture ``[H, W, 3]`` uint8 at each size that the bundle's networks take; what `answer` goes on from.

        Raises:
            ValueError: it has another form, or is a strip.
        """
        refuse_odd(image)
        return {preprocess: preprocess.pixels(image) for preprocess in self._preprocesses()}

    def answer(self, prepared: Sequence[Prepared], *, plain: bool = False) -> NDArray[np.float32]:
        """Calibrated probabilities; ``plain``: computed by the networks as stored, for a picture or two."""
        if not prepared:
            return np.zeros((0, len(self.classes)), np.float32)
        if self._network is None:
            return self._calibrated(self._join([member.answer(prepared, plain=plain) for member in self.members]))
        pixels = np.stack([sizes[self._network.preprocess] for sizes in prepared])
        return self._calibrated(self._network.plain(pixels) if plain else self._network(pixels))


def load(folder: str | Path) -> Bundle:
    """Load a bundle after verifying every file in it, and asking for one of its golden pictures.

    Args:
        folder: a bundle's folder, a run's folder, a zip made of a bundle, or ``hf-hub:USER/NAME[@REVISION]``.

    Raises:
        UsageError: there is no bundle at ``folder``.
        IntegrityError: a file was changed, is missing or was added since it was written, or the bundle answers its
            golden picture otherwise than it should.
    """
    if str(folder).startswith("hf-hub:"):
        from budwood.export.hub import fetch_from_hub

        folder = fetch_from_hub(str(folder))
    place = Path(folder)
    if place.is_file():
        with opened_zip(place) as unpacked:
            bundle = _loaded(unpacked)
        bundle.folder = place
        return bundle
    if (place / "bundle" / FACTS_NAME).is_file() and not (place / FACTS_NAME).is_file():
        place = place / "bundle"  # a run's folder was given
    if not (place / FACTS_NAME).is_file():
        raise UsageError(f"{folder} is no bundle (no {FACTS_NAME} in it); give RUN/bundle or the folder of a run")
    return _loaded(place)


def _loaded(place: Path) -> Bundle:
    bundle = _opened(place, depth=0)
    check_golden(
        place,
        lambda image: bundle.answer([bundle.prepare(image)], plain=True)[0],
        num_classes=len(bundle.classes),
    )
    return bundle


def _opened(place: Path, *, depth: int) -> Bundle:
    """The bundle at ``place`` and its members, verified but for the golden pictures."""
    try:
        problems = check_manifest(place)
    except (OSError, ValueError) as error:  # names that no file can have
        problems = [f"the manifest cannot be followed ({error})"]
    if problems:
        raise IntegrityError(f"the bundle {place} is not what was written: {'; '.join(problems[:3])}")
    facts = read_facts(place)
    if facts.spec is not None and facts.preprocess is not None:
        weights = place / WEIGHTS_NAME
        if not weights.is_file():
            weights = place / _WEIGHTS_OF_FORMAT_1
        model = read_weights(weights, facts.spec, num_classes=len(facts.classes), size=facts.preprocess.size)
        return Bundle(place, facts, model)
    if depth >= _MAX_DEPTH:
        raise IntegrityError(f"{place} holds members within members, deeper than the {_MAX_DEPTH} allowed")
    for name in facts.members:
        if Path(name).name != name or not (place / MEMBERS_NAME / name / FACTS_NAME).is_file():
            raise IntegrityError(f"{place} names the member {name!r}, which it does not hold")
    members = [_opened(place / MEMBERS_NAME / name, depth=depth + 1) for name in facts.members]
    try:
        return Bundle(place, facts, members=members)
    except ValueError as error:
        raise IntegrityError(f"the members in {place} cannot be joined as it says: {error}") from error


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
