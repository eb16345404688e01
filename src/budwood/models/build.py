"""`ModelSpec` -> `Classifier`: a backbone, dropout and a linear head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from budwood.data.preprocess import Preprocess
from budwood.models.backbones import Backbone, load_backbone


class ModelSpec(BaseModel):
    """What to build.

    backbone: packaged (``lite0``, ``lite1``, ``lite2``), timm's or torchvision's name, or ``hf-hub:`` and an id.
    pretrained: False asks for random weights.
    weights: a local weights file, instead of the published ones.
    size: side of the square input in pixels; None chooses it from the pictures.
    growth: the most that pictures are enlarged when the size is chosen from them.
    crop_fraction: the part that the centre crop keeps; None keeps the whole picture.
    dropout: before the linear head. drop_path: stochastic depth in the backbone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = "lite0"
    pretrained: bool = True
    weights: str = ""
    size: int | None = Field(default=None, ge=16, le=1024)
    growth: float = Field(default=1.667, ge=1.0, le=8.0)
    crop_fraction: float | None = Field(default=None, gt=0.2, le=1.0)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    drop_path: float = Field(default=0.1, ge=0.0, lt=1.0)


class Classifier(nn.Module):
    """Images ``[B, 3, S, S]`` -> logits ``[B, K]``: backbone, dropout, one linear layer."""

    def __init__(self, backbone: nn.Module, *, num_features: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Pooled features ``[B, D]``."""
        out: Tensor = self.backbone(images)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, K]``."""
        out: Tensor = self.head(self.dropout(self.features(images)))
        return out


def open_backbone(spec: ModelSpec) -> Backbone:
    """Load the backbone that ``spec`` names, with its weights."""
    weights = Path(spec.weights).expanduser() if spec.weights else None
    return load_backbone(spec.backbone, pretrained=spec.pretrained, weights=weights, drop_path=spec.drop_path)


def attach_head(backbone: Backbone, *, num_classes: int, dropout: float) -> Classifier:
    """A `Classifier` on ``backbone``'s module; the head starts at zero, so that all classes are equally likely."""
    model = Classifier(backbone.module, num_features=backbone.num_features, num_classes=num_classes, dropout=dropout)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return model


def build_empty(spec: ModelSpec, *, num_classes: int) -> Classifier:
    """The same architecture with random weights, to be filled from a bundle; needs no network."""
    bare = spec.model_copy(update={"pretrained": False, "weights": ""})
    return attach_head(open_backbone(bare), num_classes=num_classes, dropout=spec.dropout)


def choose_preprocess(spec: ModelSpec, native: Preprocess, *, shorter_side: int) -> Preprocess:
    """The working input of a run.

    A picture is never enlarged by more than ``spec.growth`` and never beyond the backbone's native size: more pixels
    than the pictures hold cost time and bring little. The whole picture is kept unless ``spec`` says otherwise.

    Args:
        shorter_side: the median shorter side of the pictures.
    """
    size = spec.size or min(native.size, max(64, round(shorter_side * spec.growth / 32) * 32))
    return replace(native, size=size, crop_fraction=spec.crop_fraction or 1.0, store_side=store_side(spec, native))


def store_side(spec: ModelSpec, native: Preprocess) -> int:
    """The side that decoded pictures are kept at: enough for any size that may be chosen."""
    return max(native.store_side, native.size, spec.size or 0)


def num_parameters(model: nn.Module) -> int:
    """The number of weights and biases."""
    return sum(p.numel() for p in model.parameters())


def classifier_state(model: Classifier) -> dict[str, Tensor]:
    """The weights as contiguous float32 CPU tensors (integers as they are), ready for safetensors."""
    return {
        name: (value.float() if value.is_floating_point() else value).detach().cpu().contiguous().clone()
        for name, value in model.state_dict().items()
    }


def clone_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's state that later training does not touch."""
    with torch.no_grad():
        return {name: value.detach().clone() for name, value in model.state_dict().items()}
