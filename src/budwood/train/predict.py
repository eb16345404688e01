"""Class probabilities of a network for the inputs of a part, one view each, in batches of a fixed size."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from budwood.data.preprocess import Preprocess
from budwood.train.feed import Feed, plain_batches

_BATCH = 64


@torch.inference_mode()
def predict_feed(
    model: nn.Module, feed: Feed, *, positions: NDArray[np.int64] | None = None, device: Any = "cpu"
) -> NDArray[np.float32]:
    """Class probabilities ``[N, K]`` of a part, or of some positions of it; no augmentation."""
    chosen = np.arange(len(feed.labels)) if positions is None else positions
    was_training = model.training
    model.eval()
    out = []
    for inputs in plain_batches(feed, chosen, batch_size=_BATCH):
        out.append(model(inputs.to(device)).float().softmax(1).cpu().numpy())
    model.train(was_training)
    return np.concatenate(out) if out else np.zeros((0, 0), np.float32)


@torch.inference_mode()
def predict_pixels(
    model: nn.Module, pixels: NDArray[np.uint8], preprocess: Preprocess, *, device: Any = "cpu"
) -> NDArray[np.float32]:
    """Class probabilities ``[N, K]`` of pixels ``[N, S, S, 3]``, one view."""
    was_training = model.training
    model.eval()
    out = []
    for at in range(0, len(pixels), _BATCH):
        images = preprocess.normalise(torch.from_numpy(np.ascontiguousarray(pixels[at : at + _BATCH])).to(device))
        out.append(model(images).float().softmax(1).cpu().numpy())
    model.train(was_training)
    return np.concatenate(out) if out else np.zeros((0, 0), np.float32)


def loss_and_accuracy(probs: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Mean log loss and accuracy of probabilities ``[N, K]``."""
    right = np.clip(probs[np.arange(len(labels)), labels], 1e-12, 1)
    return float(-np.log(right).mean()), float((probs.argmax(1) == labels).mean())
