"""Class probabilities of a network for the inputs of a part, one view each, in batches of a fixed size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budwood.data.preprocess import Preprocess
from budwood.train.feed import Feed, plain_batches

_BATCH = 64


def predict_feed(
    model: nn.Module, feed: Feed, *, positions: NDArray[np.int64] | None = None, device: Any = "cpu"
) -> NDArray[np.float32]:
    """Class probabilities ``[N, K]`` of a part, or of some positions of it; no augmentation."""
    chosen = np.arange(len(feed.labels)) if positions is None else positions
    return _predicted(model, plain_batches(feed, chosen, batch_size=_BATCH), size=len(chosen), device=device)


def predict_pixels(
    model: nn.Module, pixels: NDArray[np.uint8], preprocess: Preprocess, *, device: Any = "cpu"
) -> NDArray[np.float32]:
    """Class probabilities ``[N, K]`` of pixels ``[N, S, S, 3]``, one view."""
    chunks = (np.ascontiguousarray(pixels[at : at + _BATCH]) for at in range(0, len(pixels), _BATCH))
    batches = (preprocess.normalise(torch.from_numpy(chunk).to(device)) for chunk in chunks)
    return _predicted(model, batches, size=len(pixels), device=device)


@torch.inference_mode()
def _predicted(model: nn.Module, batches: Iterator[Tensor], *, size: int, device: Any) -> NDArray[np.float32]:
    was_training = model.training
    model.eval()
    out: NDArray[np.float32] = np.zeros((0, 0), np.float32)
    at = 0
    for inputs in batches:
        probs = model(inputs.to(device)).float().softmax(1).cpu().numpy()
        if not at:
            out = np.empty((size, probs.shape[1]), np.float32)
        # Kept as they are, these small results would lie between the large activations in the heap and keep each one's
        # space from being used again: 1.3 MB more with every batch of 64 pictures of 64 px, more with larger ones.
        out[at : at + len(probs)] = probs
        at += len(probs)
    model.train(was_training)
    return out


def loss_and_accuracy(probs: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Mean log loss and accuracy of probabilities ``[N, K]``."""
    right = np.clip(probs[np.arange(len(labels)), labels], 1e-12, 1)
    return float(-np.log(right).mean()), float((probs.argmax(1) == labels).mean())
