"""Between the two phases: fit the solved head's confidence to what fine-tuning will show it.

A head solved on clean, frozen features is far too sure of augmented and mixed pictures seen in training mode (other
BatchNorm statistics, dropped paths): on plants its loss started at 7.0, where guessing costs 2.1, and the first
gradients destroyed the network they were meant to adapt (after eight epochs 3.5 points behind a head of zeros).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional

from budwood.augment.mix import mix_batch
from budwood.models.build import Classifier
from budwood.seeding import batch_generator
from budwood.train.feed import drawn_batches
from budwood.train.freezing import freeze, train_mode
from budwood.train.stage_input import StageInput

_BATCHES = 8
_SCALES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


@torch.no_grad()
def tempered_scale(model: Classifier, data: StageInput) -> float:
    """The factor on the head's weights and bias at which augmented training batches cost least, from a fixed grid.

    Args:
        model: with its solved head and nothing between it and the features; it is not changed but for its BatchNorm
            statistics being kept as they are.
        data: the stage that is about to begin; batches of an epoch that training will not use are drawn.
    """
    features, targets = _training_features(model, data)
    logits = features @ model.head.weight.T
    losses = [
        functional.cross_entropy(scale * (logits + model.head.bias), targets, label_smoothing=data.spec.label_smoothing)
        for scale in _SCALES
    ]
    return _SCALES[int(torch.stack(losses).argmin())]


def _training_features(model: Classifier, data: StageInput) -> tuple[Tensor, Tensor]:
    """Features ``[M, D]`` of some augmented batches in training mode, and their mixed targets ``[M, K]``."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    freeze(model, data.stage)
    train_mode(model)
    settings = data.settings
    unused_epoch = data.first_epoch + settings.epochs
    order = data.balancing.order(data.train.labels, seed=data.seed, epoch=unused_epoch)
    stream = drawn_batches(data.train, order, batch_size=settings.batch_size, epoch=unused_epoch)
    features, targets = [], []
    for batch in itertools.islice(stream, _BATCHES):
        generator = batch_generator(data.seed, unused_epoch, batch.number)
        torch.manual_seed(int(generator.integers(2**31)))
        onehot = functional.one_hot(batch.targets, data.balancing.num_classes).float()
        images, mixed = mix_batch(batch.inputs, onehot, spec=data.augment, generator=generator)
        features.append(model.features(images))
        targets.append(mixed)
    model.load_state_dict(before)  # training mode moved the running statistics of BatchNorm
    model.eval()
    return torch.cat(features), torch.cat(targets)
