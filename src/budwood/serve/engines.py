"""`Engine`: what answers behind a server. `torch_engine.py` and `onnx_engine.py` hold those that there are.

An engine prepares a picture where it was decoded, so that what waits in the queue is small, and answers batches. All
of it is called from several threads. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.calibrate import Calibration


class Engine(Protocol):
    """``runtime``: its name. ``about``: what else ``/info`` tells, as plain values.

    ``batch``: how many pictures it is given at most. ``lanes``: how many batches at the same time, each from a thread.
    ``no_maps``: why it draws no maps of where the network looks, in words; empty where it draws them.
    """

    runtime: str
    classes: tuple[str, ...]
    calibration: Calibration | None
    about: dict[str, Any]
    batch: int
    lanes: int
    no_maps: str

    def prepare(self, image: NDArray[np.uint8]) -> Any:
        """What is kept of a decoded picture ``[H, W, 3]`` until its turn comes; small, whatever the picture's size."""
        ...

    def answer(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Calibrated probabilities ``[N, K]`` of prepared pictures."""
        ...

    def explain(self, image: NDArray[np.uint8], label: str) -> bytes:
        """A JPEG of the picture that shows where the evidence for a class lies."""
        ...
