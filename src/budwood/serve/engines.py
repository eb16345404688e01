"""What answers behind a server: a bundle on torch, or anything else that answers decoded pictures.

An engine prepares a picture where it was decoded, so that what waits in the queue is small, and answers batches. It is
asked from one thread at a time; `prepare` from several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from budwood.describing import network_of
from budwood.errors import UsageError
from budwood.evaluation.calibrate import Calibration
from budwood.explaining import cam_of
from budwood.export.bundle import Bundle
from budwood.models.gradcam import GradCam, overlay
from budwood.report.thumbnails import thumbnail

# Batches of the bundle have one fixed size (`export/network.py`), so one picture costs as much as 32. Up to here the
# network as it is stored, asked for just these pictures, is faster; the answers agree to 1e-5.
_FEW = 16
_MAP_SIDE = 512  # pixels


class Engine(Protocol):
    """``runtime``: its name. ``about``: what else ``/info`` tells, as plain values. ``can_explain``: it draws maps."""

    runtime: str
    classes: tuple[str, ...]
    calibration: Calibration | None
    about: dict[str, Any]
    can_explain: bool

    def prepare(self, image: NDArray[np.uint8]) -> Any:
        """What is kept of a decoded picture ``[H, W, 3]`` until its turn comes."""
        ...

    def answer(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Calibrated probabilities ``[N, K]`` of prepared pictures."""
        ...

    def explain(self, image: NDArray[np.uint8], label: str) -> bytes:
        """A JPEG of the picture that shows where the evidence for a class lies."""
        ...


class TorchEngine:
    """A bundle on torch; of an ensemble or a cascade, the first network's maps are drawn."""

    runtime = "torch"

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.classes = bundle.classes
        self.calibration = bundle.facts.calibration
        facts = bundle.facts
        self.about = {"kind": facts.kind, "versions": facts.versions, "metrics": facts.metrics, "split": facts.split}
        self._network = network_of(bundle)
        self._maps: GradCam | None = None
        try:
            self._maps = GradCam(self._network.model, size=self._network.preprocess.size)
        except UsageError:
            self._maps = None  # a network of dense layers alone keeps no places
        self.can_explain = self._maps is not None

    def prepare(self, image: NDArray[np.uint8]) -> Any:
        """The picture at the input size of every network of the bundle."""
        return self._bundle.prepare(image)

    def answer(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """What `Bundle.predict_images` gives for the same pictures."""
        return self._bundle.answer(prepared, plain=len(prepared) <= _FEW)

    def explain(self, image: NDArray[np.uint8], label: str) -> bytes:
        """A JPEG with Grad-CAM over the part of the picture that the network sees.

        Raises:
            UsageError: no maps can be drawn, or the network that draws them does not know the class.
        """
        if self._maps is None:
            raise UsageError("this network keeps no places, so there is no map of where it looks")
        if label not in self._network.classes:
            raise UsageError("the network whose maps are drawn does not know this class")
        picture = self._network.preprocess.pixels(image)
        heat = cam_of(self._maps, self._network, picture, classes=[self._network.classes.index(label)])[0]
        return thumbnail(overlay(picture, heat), side=_MAP_SIDE, quality=88)
