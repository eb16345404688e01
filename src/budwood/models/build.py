"""`ModelSpec` -> `Classifier`: a backbone, the layers on its features, and the last linear one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from budwood.data.preprocess import Preprocess
from budwood.models.backbones import Backbone, load_backbone
from budwood.models.nets import SCRATCH
from budwood.models.pooling import Pool
from budwood.models.tops import build_top, check_top


class ModelSpec(BaseModel):
    """What to build.

    backbone: packaged (``lite0``, ``lite1``, ``lite2``), timm's or torchvision's name, ``hf-hub:`` and an id, or a net
        from scratch (`nets.SCRATCH`).
    pretrained: False asks for random weights.
    weights: a local weights file, instead of the published ones.
    size: side of the square input in pixels; None chooses it from the pictures.
    growth: the most that pictures are enlarged when the size is chosen from them.
    crop_fraction: the part that the centre crop keeps; None keeps the whole picture.
    pool: how the last maps become features. ``"avg"`` is what the network does itself, the mean in nearly all.
    top: the layers between the features and the last linear one, such as ``"dense 256"`` (with a ReLU),
        ``"dropout 0.3"``, ``"batchnorm"``.
    dropout: before the last linear layer, and in a scratch net's own dropout layers.
    input_dropout: on the numbers of the standardised picture. drop_path: stochastic depth in the backbone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = "lite0"
    pretrained: bool = True
    weights: str = ""
    size: int | None = Field(default=None, ge=16, le=1024)
    growth: float = Field(default=1.667, ge=1.0, le=8.0)
    crop_fraction: float | None = Field(default=None, gt=0.2, le=1.0)
    pool: Pool = "avg"
    top: tuple[str, ...] = ()
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    input_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    drop_path: float = Field(default=0.1, ge=0.0, lt=1.0)

    @field_validator("top")
    @classmethod
    def _known_layers(cls, top: tuple[str, ...]) -> tuple[str, ...]:
        check_top(top)
        return top

    @property
    def starts_trained(self) -> bool:
        """Whether the network knows pictures before it is trained: it has published weights, or those of a file."""
        net = SCRATCH.get(self.backbone)
        return self.pretrained and (net is None or bool(net.weights_of or self.weights))


class Classifier(nn.Module):
    """Images ``[B, 3, S, S]`` -> logits ``[B, K]``: input dropout, backbone; top, dropout, one linear layer."""

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_features: int,
        num_classes: int,
        dropout: float,
        top: tuple[str, ...] = (),
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.input_dropout = nn.Dropout(input_dropout)
        self.backbone = backbone
        self.top, width = build_top(top, num_features=num_features)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """What the backbone makes of the pictures, pooled: ``[B, D]``."""
        out: Tensor = self.backbone(self.input_dropout(images))
        return out

    def classify(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> logits ``[B, K]``."""
        out: Tensor = self.head(self.dropout(self.top(features)))
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, K]``."""
        return self.classify(self.features(images))


def open_backbone(spec: ModelSpec, size: int | None = None) -> Backbone:
    """Load the backbone that ``spec`` names, with its weights.

    Args:
        size: the side of the input for networks that are built for one side; without it ``spec.size``, or else the
            network's native one.

    Raises:
        BackboneError: the name is unknown, or the weights cannot be had here now.
    """
    return load_backbone(
        spec.backbone,
        pretrained=spec.pretrained,
        weights=Path(spec.weights).expanduser() if spec.weights else None,
        drop_path=spec.drop_path,
        size=size or spec.size,
        pool=spec.pool,
        dropout=spec.dropout,
    )


def attach_head(
    backbone: Backbone, *, num_classes: int, spec: ModelSpec | None = None, dropout: float | None = None, seed: int = 0
) -> Classifier:
    """A `Classifier` on ``backbone``'s module (shared, not copied).

    Without a top the last layer starts at zero, so that all classes are equally likely. With one it starts as PyTorch's
    linear layers do: zeros would let nothing through to the top.

    Args:
        spec: its ``top``, ``dropout`` and ``input_dropout`` are built; None: a linear layer only.
        dropout: instead of ``spec.dropout``.
        seed: of the new layers' first weights; torch's global generator is left as it is.
    """
    spec = spec or ModelSpec(dropout=0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(
            backbone.module,
            num_features=backbone.num_features,
            num_classes=num_classes,
            dropout=spec.dropout if dropout is None else dropout,
            top=spec.top,
            input_dropout=spec.input_dropout,
        )
    if not spec.top:
        nn.init.zeros_(model.head.weight)
        nn.init.zeros_(model.head.bias)
    return model


def build_empty(spec: ModelSpec, *, num_classes: int, size: int | None = None) -> Classifier:
    """The same architecture with random weights, to be filled from a bundle; needs no network.

    Args:
        size: the side of the input that the bundle was made for.
    """
    bare = spec.model_copy(update={"pretrained": False, "weights": ""})
    return attach_head(open_backbone(bare, size), num_classes=num_classes, spec=spec)


def choose_preprocess(
    spec: ModelSpec, native: Preprocess, *, shorter_side: int, fixed_size: int | None = None
) -> Preprocess:
    """The working input of a run.

    A picture is never enlarged by more than ``spec.growth`` and never beyond the backbone's native size: more pixels
    than the pictures hold cost time and bring little. The whole picture is kept unless ``spec`` says otherwise.

    Args:
        shorter_side: the median shorter side of the pictures.
        fixed_size: `Backbone.fixed_size`; a network that takes one side only gets that.
    """
    size = fixed_size or spec.size or min(native.size, max(64, round(shorter_side * spec.growth / 32) * 32))
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
