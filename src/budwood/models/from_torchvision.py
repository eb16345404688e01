"""Networks of torchvision, such as GoogLeNet, with its weights or a local file, without their classifier."""

from __future__ import annotations

import warnings
from pathlib import Path

from torch import nn

from budwood.data.preprocess import Preprocess
from budwood.errors import BackboneError
from budwood.files import sha256_file
from budwood.models.hub import require_host
from budwood.models.weights import RANDOM, Found, cannot_build, load_file

# Heads beside the main one that torchvision's inception and googlenet train with; they are cut off.
_AUXILIARY = ("aux", "AuxLogits")


def is_torchvision(name: str) -> bool:
    """Whether torchvision knows a picture classifier of this name."""
    import torchvision

    return name in torchvision.models.list_models(module=torchvision.models)


def find_torchvision(name: str, *, pretrained: bool, weights: Path | None) -> Found:
    """A network of torchvision; arguments as in `backbones.load_backbone`."""
    import torch
    import torchvision

    chosen = torchvision.models.get_model_weights(name).DEFAULT
    source, digest = RANDOM, ""
    if pretrained and weights is None:
        cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
        if not cached.is_file():
            require_host(name, chosen.url, "the torchvision weights server")
        source = f"torchvision, {chosen}"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The default weight initialization", category=FutureWarning)
            module = torchvision.models.get_model(name, weights=chosen if pretrained and weights is None else None)
    except (OSError, RuntimeError, ValueError) as error:
        raise cannot_build(name, error) from error
    if hasattr(module, "aux_logits"):
        module.aux_logits, module.AuxLogits, module.aux1, module.aux2 = False, None, None, None
    last = _strip_classifier(name, module)
    if weights is not None:
        load_file(module, weights, classifier=(last, *_AUXILIARY))
        source, digest = f"local file {weights.name}", sha256_file(weights)
    shown = chosen.transforms()
    preprocess = Preprocess(
        size=int(shown.crop_size[0]),
        crop_fraction=shown.crop_size[0] / shown.resize_size[0],
        interpolation="bicubic" if shown.interpolation.value == "bicubic" else "bilinear",
        mean=tuple(shown.mean),
        std=tuple(shown.std),
    )
    fixed = int(module.image_size) if hasattr(module, "image_size") else None  # its vision transformers
    return Found(module=module, preprocess=preprocess, source=source, digest=digest, fixed_size=fixed)


def _strip_classifier(name: str, module: nn.Module) -> str:
    """Put an identity in the place of the last linear layer of a torchvision network; returns its name."""
    linear = [path for path, part in module.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise BackboneError(f"{name} ends in no linear layer, so its classifier cannot be replaced; choose a timm name")
    parent, _, leaf = linear[-1].rpartition(".")
    setattr(module.get_submodule(parent), leaf, nn.Identity())
    return str(linear[-1])
