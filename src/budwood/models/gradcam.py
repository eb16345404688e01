"""Where in a picture a network found its answer: Grad-CAM, for convolutional networks and transformers.

R. R. Selvaraju and others, Grad-CAM: visual explanations from deep networks via gradient-based localization, ICCV 2017:
the last maps of features, each weighted by the mean gradient of a class's logit, summed, negative parts dropped. A map
shows where the evidence for a class lies; it does not prove that the network reads nothing else (`evaluation/controls`
covers parts up and asks again). Hooks sit on a copy that shares the weights, so the model itself is never touched.
"""

from __future__ import annotations

import copy
import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budwood.errors import UsageError
from budwood.models.blocks import blocks_of
from budwood.models.build import Classifier

Layout = Literal["NCHW", "NHWC", "tokens"]

_MOST_PREFIXES = 8  # class, distillation and register tokens before those of the picture
_DEEPEST = 2  # dots in the name of what lies in no block: deeper it is the inside of something, such as an attention
_NORMS = ("LayerNorm", "RmsNorm", "RMSNorm")
# How a map is laid over a picture: it fades to dark grey where nothing was found, and keeps its colours where much was.
_FADE, _CONTRAST = 0.5, 1.5
_RIM, _RIM_AT = np.array([255, 170, 40], np.uint8), 0.5  # a line around what has half of the strongest evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialLayer:
    """The last module whose output still has places: its name in the model, and how the places are laid out.

    prefixes: tokens that stand before those of the picture. side: places along a side.
    """

    name: str
    layout: Layout
    side: int
    prefixes: int = 0

    def maps(self, activation: Tensor) -> Tensor:
        """The layer's output as ``[N, C, side, side]``."""
        if self.layout == "NCHW":
            return activation
        if self.layout == "NHWC":
            return activation.permute(0, 3, 1, 2)
        tokens = activation[:, self.prefixes :]
        return tokens.transpose(1, 2).reshape(len(tokens), -1, self.side, self.side)


class GradCam:
    """Maps of one model, opened once and asked often; several threads may ask (they take turns)."""

    def __init__(self, model: Classifier, *, size: int) -> None:
        """Find the layer.

        Args:
            model: its weights are shared, not copied, and not changed.
            size: the side of its input.

        Raises:
            UsageError: no layer of the network has places.
        """
        self._model = _sharing_copy(model)
        self._lock = threading.Lock()
        self.layer = spatial_layer(self._model, size=size)

    def logits_and_maps(self, batch: Tensor, *, classes: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Logits ``[N, K]`` and raw maps ``[N, side, side]``, not below 0, of ``classes`` (None: the likeliest).

        The network runs once; what lies before the layer leaves no graph behind.
        """
        with self._lock, torch.inference_mode(False), torch.no_grad(), self._watched() as seen:
            # A tensor made in inference mode may not take part in a graph.
            logits: Tensor = self._model(batch.clone() if batch.is_inference() else batch)
            chosen = logits.argmax(1) if classes is None else torch.tensor(classes, device=logits.device)
            score = logits.gather(1, chosen[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, seen[0])
        maps, slopes = self.layer.maps(seen[0].detach()).float(), self.layer.maps(gradient).float()
        weights = slopes.mean((2, 3), keepdim=True)
        return logits.detach(), (weights * maps).sum(1).clamp_min(0)

    def __call__(self, batch: Tensor, *, classes: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Maps ``[N, H, W]`` float32 in 0-1, 1 where the evidence for the class is strongest.

        Args:
            batch: images ``[N, 3, H, W]`` as the network takes them.
            classes: one class index for each image; None takes the likeliest.

        Returns:
            All zero where nothing speaks for the class.
        """
        return enlarged(self.logits_and_maps(batch, classes=classes)[1], size=batch.shape[-1])

    @contextmanager
    def _watched(self) -> Iterator[list[Tensor]]:
        """Inside, the layer's output is the first tensor of the graph, and lies in the list."""
        seen: list[Tensor] = []

        def begin(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            torch.set_grad_enabled(True)  # from here on; the caller's ``no_grad`` sets it back
            seen.append(output.detach().requires_grad_(True))
            return seen[0]

        handle = self._model.get_submodule(self.layer.name).register_forward_hook(begin)
        try:
            yield seen
        finally:
            handle.remove()


def gradcam(model: Classifier, batch: Tensor, *, classes: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Grad-CAM maps ``[N, H, W]`` float32 in 0-1; see `GradCam`, which is to be kept where this is asked often.

    Args:
        batch: images ``[N, 3, H, W]`` as the network takes them.
        classes: one class index for each image; None takes the likeliest.

    Raises:
        UsageError: no layer of the network has places.
    """
    return GradCam(model, size=batch.shape[-1])(batch, classes=classes)


def enlarged(maps: Tensor, *, size: int) -> NDArray[np.float32]:
    """Raw maps ``[N, h, w]`` -> ``[N, size, size]`` in 0-1: enlarged bilinearly, then divided by each one's largest."""
    large = nn.functional.interpolate(maps[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
    highest = large.amax((1, 2), keepdim=True)
    scaled = torch.where(highest > 0, large / highest.clamp_min(torch.finfo(large.dtype).tiny), 0.0)
    return np.asarray(scaled.cpu().numpy(), dtype=np.float32)


def overlay(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture ``[H, W, 3]`` that keeps its colours where ``heat`` ``[H, W]`` is high, and is dark grey elsewhere.

    An amber line goes around what has half of the strongest evidence or more.

    Raises:
        ValueError: the sides differ.
    """
    if pixels.shape[:2] != heat.shape:
        raise ValueError(f"pixels are {pixels.shape[:2]}, the map {heat.shape}: enlarge the map first")
    picture = pixels.astype(np.float32)
    grey = (picture @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    share = (heat**_CONTRAST)[..., None]
    shown = np.asarray((grey * _FADE * (1 - share) + picture * share).round().clip(0, 255), dtype=np.uint8)
    inside = np.pad(heat >= _RIM_AT, 1, mode="edge")
    deep = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    shown[inside[1:-1, 1:-1] & ~deep] = _RIM
    return shown


def spatial_layer(model: Classifier, *, size: int) -> SpatialLayer:
    """The last layer with places on which the answer depends place by place.

    Looked at are the blocks, what lies outside of them, and each block's own norms; not the insides of blocks, whose
    outputs are branches. Behind the last attention only the class token counts in some transformers; there it is the
    norm before that attention, as is usual.

    Raises:
        UsageError: there is none.
    """
    seen: dict[str, Tensor] = {}
    copied = _sharing_copy(model).eval()
    names = _candidates(copied)

    def note(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.requires_grad:
                seen.pop(name, None)
                seen[name] = output

        return hook

    for name in names:
        copied.get_submodule(name).register_forward_hook(note(name))
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.enable_grad():
        images = torch.randn((2, 3, size, size), generator=generator).to(next(copied.parameters()))
        # Of the features, since the last layer of a new head is zero.
        features = copied.features(images.requires_grad_(True))
        mix = torch.randn(features.shape, generator=generator).to(features)
        gradients = torch.autograd.grad((features * mix).sum(), list(seen.values()), allow_unused=True)
    for (name, output), gradient in reversed(list(zip(seen.items(), gradients, strict=True))):
        layer = _layer(name, output.shape, size=size, prefixes=getattr(copied.backbone, "num_prefix_tokens", None))
        if layer and gradient is not None and bool((layer.maps(gradient) != 0).any()):
            return layer
    raise UsageError(
        f"no layer of this network keeps {size} px pictures as a grid of places, so there is nothing to draw a map of;"
        " networks made of dense layers alone have none"
    )


def _sharing_copy(model: Classifier) -> Classifier:
    """The model's modules copied, its weights and buffers shared: hooks and modes stay out of the model itself."""
    shared: dict[int, Any] = {id(t): t for t in itertools.chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, shared).eval()


def _candidates(model: Classifier) -> list[str]:
    blocks = [f"backbone.{block.module}" for block in blocks_of(model.backbone) if block.module]
    found = []
    for name, module in model.named_modules():
        if not name.startswith("backbone"):
            continue
        block = next((b for b in blocks if name.startswith(f"{b}.")), None)
        own_norm = block is not None and name.count(".") == block.count(".") + 1 and type(module).__name__ in _NORMS
        outside = block is None and (name in blocks or name.count(".") <= _DEEPEST)
        if outside or own_norm:
            found.append(name)
    return found


def _layer(name: str, shape: Sequence[int], *, size: int, prefixes: int | None) -> SpatialLayer | None:
    """What the output's sides say: ``[N, C, h, h]``, ``[N, h, h, C]`` or ``[N, tokens, C]``; None: no places."""
    if len(shape) == 4:
        if shape[2] == shape[3] and 1 < shape[2] <= size:
            return SpatialLayer(name=name, layout="NCHW", side=shape[2])
        if shape[1] == shape[2] and 1 < shape[1] <= size:
            return SpatialLayer(name=name, layout="NHWC", side=shape[1])
    if len(shape) == 3:
        side = math.isqrt(shape[1] - (prefixes or 0))
        before = shape[1] - side * side
        if side > 1 and before <= _MOST_PREFIXES and before == (before if prefixes is None else prefixes):
            return SpatialLayer(name=name, layout="tokens", side=side, prefixes=before)
    return None
