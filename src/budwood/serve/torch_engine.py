"""`TorchEngine`: a bundle on torch, behind a server; it draws Grad-CAM besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.describing import network_of
from budwood.errors import UsageError
from budwood.explaining import cam_of
from budwood.export.bundle import BATCH_SIZE, Bundle
from budwood.models.gradcam import GradCam, overlay
from budwood.report.thumbnails import thumbnail

# Batches of the bundle have one fixed size (`export/network.py`), so one picture costs as much as 32. Up to here the
# network as it is stored, asked for just these pictures, is faster; the answers agree to 1e-5.
_FEW = 16
_MAP_SIDE = 512  # pixels
_NO_PLACES = "this network keeps no places, so there is no map of where it looks"


class TorchEngine:
    """A bundle on torch; of an ensemble or a cascade, the first network's maps are drawn."""

    runtime = "torch"
    batch = BATCH_SIZE

    def __init__(self, bundle: Bundle, *, lanes: int = 1) -> None:
        """``lanes``: batches that are answered at the same time; torch's own threads are the caller's to set."""
        self._bundle = bundle
        self.lanes = lanes
        self.classes = bundle.classes
        self.calibration = bundle.facts.calibration
        facts = bundle.facts
        self.about = {"kind": facts.kind, "versions": facts.versions, "metrics": facts.metrics, "split": facts.split}
        self._network = network_of(bundle)
        self._maps: GradCam | None = None
        self.no_maps = ""
        try:
            self._maps = GradCam(self._network.model, size=self._network.preprocess.size)
        except UsageError:  # a network of dense layers alone
            self.no_maps = _NO_PLACES

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
            raise UsageError(self.no_maps)
        if label not in self._network.classes:
            raise UsageError("the network whose maps are drawn does not know this class")
        picture = self._network.preprocess.pixels(image)
        heat = cam_of(self._maps, self._network, picture, classes=[self._network.classes.index(label)])[0]
        return thumbnail(overlay(picture, heat), side=_MAP_SIDE, quality=88)
