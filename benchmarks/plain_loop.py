"""The training loop as notebooks write it: the other side of `engine.py`.

Files are read, resized and augmented one by one in every epoch (Pillow and torchvision's transforms in a DataLoader),
the network runs in float32 with the channels first, PyTorch's allocator is as it comes. A frozen start is not trained,
needs no gradients and is in eval mode, which not all notebooks think of, but it runs in every epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Plain:
    """How the plain loop reads and trains. flips_only: the four flips are all the augmentation."""

    preprocess: Any
    epochs: int
    workers: int = 0
    flips_only: bool = False
    lr: float = 1e-3
    head_lr: float = 3e-3


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Files with labels, as torchvision's ImageFolder reads them."""

    def __init__(self, files: Sequence[tuple[str, int]], transform: Any) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, target = self.files[index]
        with Image.open(path) as picture:
            return self.transform(picture.convert("RGB")), target


def loader(files: Sequence[tuple[str, int]], plain: Plain, *, train: bool) -> DataLoader[tuple[torch.Tensor, int]]:
    """A DataLoader over files, shuffled and augmented for training."""
    p = plain.preprocess
    filters = transforms.InterpolationMode
    filter_ = filters.BICUBIC if p.interpolation == "bicubic" else filters.BILINEAR
    steps = [transforms.Resize(round(p.size / p.crop_fraction), interpolation=filter_), transforms.CenterCrop(p.size)]
    if train:
        steps += [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
    if train and not plain.flips_only:
        steps += [transforms.RandomAffine(180, translate=(0.1, 0.1), scale=(0.8, 1.15))]
        steps += [transforms.ColorJitter(0.2, 0.2, 0.2)]
    steps += [transforms.ToTensor(), transforms.Normalize(p.mean, p.std)]
    pictures = Pictures(files, transforms.Compose(steps))
    return DataLoader(pictures, batch_size=BATCH, shuffle=train, num_workers=plain.workers, drop_last=train)


class Training:
    """A model under training; ``trained`` names the backbone's parameters that train, None all of them."""

    def __init__(self, model: Any, plain: Plain, *, steps_per_epoch: int, trained: Sequence[str] | None = None) -> None:
        self.model = model
        self.frozen = trained is not None and not trained
        for name, parameter in model.backbone.named_parameters():
            parameter.requires_grad_(trained is None or name in trained)
        self.loss = nn.CrossEntropyLoss(label_smoothing=0.1)
        groups = [{"params": [p for p in model.backbone.parameters() if p.requires_grad], "lr": plain.lr}]
        groups = groups if groups[0]["params"] else []
        self.optimizer = torch.optim.AdamW(
            [*groups, {"params": model.head.parameters(), "lr": plain.head_lr}], weight_decay=0.05
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, plain.epochs * steps_per_epoch)

    def epoch(self, batches: Any) -> None:
        """One pass over the training pictures."""
        self.model.train()
        for module in self.model.backbone.modules():
            own = list(module.parameters())
            if own and not any(p.requires_grad for p in own):
                module.eval()
        for images, targets in batches:
            if self.frozen:
                with torch.no_grad():
                    features = self.model.backbone(images)
                logits = self.model.head(features)
            else:
                logits = self.model(images)
            loss = self.loss(logits, targets)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            loss.item()  # notebooks print it

    @torch.no_grad()
    def right(self, batches: Any) -> list[bool]:
        """Which pictures are named right."""
        self.model.eval()
        found: list[bool] = []
        for images, targets in batches:
            found += (self.model(images).argmax(1) == targets).tolist()
        return found
