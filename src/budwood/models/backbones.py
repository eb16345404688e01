"""Which network a name means: packaged, timm's, torchvision's, the Hugging Face hub's, or one from scratch.

A name that cannot be had is an error that names the alternatives; no other network and no random weights are ever
put in its place silently. The sources themselves are `from_timm`, `from_torchvision` and `scratch`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from budwood.data.preprocess import Preprocess
from budwood.errors import BackboneError
from budwood.files import sha256_file
from budwood.models.from_timm import drop_last_pool, find_packaged, find_timm, packaged_file
from budwood.models.from_torchvision import find_torchvision, is_torchvision
from budwood.models.hub import PACKAGED, timm_architecture, unknown_backbone
from budwood.models.nets import SCRATCH
from budwood.models.pooling import Pool, set_pool
from budwood.models.weights import RANDOM, Found, load_file, state_digest

__all__ = ["Backbone", "check_name", "load_backbone", "outline_backbone", "packaged_file"]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network without its classifier: images ``[B, 3, S, S]`` -> features ``[B, num_features]``.

    architecture is a name that builds the same network again without a network connection. preprocess is that of the
    weights, at their native size. source says in words where the weights come from; digest is the sha256 of their file,
    or of the tensors where there is no one file. fixed_size is the only side of the input that this module takes, where
    the shapes of its weights or the number of its features depend on it (a flattened map, an MLP, a transformer's
    positions); None: any side.
    """

    name: str
    architecture: str
    module: nn.Module
    num_features: int
    preprocess: Preprocess
    source: str
    digest: str
    fixed_size: int | None = None

    @property
    def untrained(self) -> bool:
        """Whether the weights are random, because they were asked to be or because the net has no others."""
        return self.source.startswith(RANDOM)


def load_backbone(
    name: str,
    *,
    pretrained: bool = True,
    weights: Path | None = None,
    drop_path: float = 0.0,
    size: int | None = None,
    pool: Pool = "avg",
    dropout: float = 0.0,
) -> Backbone:
    """Build the backbone ``name`` with its weights.

    Args:
        name: ``lite0``, ``lite1``, ``lite2`` (packaged), a timm name, ``hf-hub:`` and an id, a torchvision name, or a
            net from scratch (`nets.SCRATCH`).
        pretrained: False gives random weights, said so in ``source``; nets from scratch know no others.
        weights: a local file (``.safetensors``, ``.pth``) for this architecture, instead of the published weights.
        drop_path: stochastic depth rate for networks that know it.
        size: the side of the input in pixels for networks that are built for one side; others ignore it.
        pool: how the last maps become features; ``"avg"`` is what the network does itself.
        dropout: the rate of a scratch net's own dropout layers.

    Raises:
        BackboneError: the name is unknown, or the weights cannot be had here now.
    """
    if name.startswith("hf-hub:") and not pretrained:
        raise BackboneError(f"{name} names weights, but model.pretrained is false: name the architecture instead")
    if weights is not None and not weights.is_file():
        raise BackboneError(f"the weights file {weights} does not exist; check model.weights")
    if name in PACKAGED:
        found = find_packaged(name, pretrained=pretrained, weights=weights, drop_path=drop_path)
    elif name in SCRATCH:
        found = _find_scratch(name, pretrained=pretrained, weights=weights, size=size, dropout=dropout)
        pool = _scratch_pool(name, pool)
    else:
        found = _find(name, pretrained=pretrained, weights=weights, drop_path=drop_path, size=size)
    set_pool(found.module, pool, name=name)
    if pool == "flatten":
        side = size or found.fixed_size or found.preprocess.size
        found = replace(found, fixed_size=side, preprocess=replace(found.preprocess, size=side))
    if pool != "avg":
        # Features are kept under these words: the same weights pooled in another way are other features.
        found = replace(found, source=f"{found.source}, pool {pool}")
    return _made(name, found)


def outline_backbone(name: str, *, size: int | None = None) -> Backbone:
    """The backbone's shapes, without weights: for tables of it, built in a second whatever its size.

    Raises:
        BackboneError: the name is unknown.
    """
    import torch

    check_name(name)
    try:
        with torch.device("meta"):
            return load_backbone(name, pretrained=False, size=size)
    except (BackboneError, NotImplementedError):  # a few compute their own shapes with tensors, which needs values
        return load_backbone(name, pretrained=False, size=size)


def check_name(name: str) -> None:
    """Refuse an unknown backbone before any picture is read.

    Raises:
        BackboneError: no source knows the name.
    """
    if name in PACKAGED or name in SCRATCH or name.startswith("hf-hub:") or timm_architecture(name):
        return
    import timm

    if not timm.is_model(name) and not is_torchvision(name):
        raise BackboneError(unknown_backbone(name))


def _find(name: str, *, pretrained: bool, weights: Path | None, drop_path: float, size: int | None) -> Found:
    import timm

    if name.startswith("hf-hub:") or timm.is_model(name):
        return find_timm(name, pretrained=pretrained, weights=weights, drop_path=drop_path, size=size)
    if is_torchvision(name):
        return find_torchvision(name, pretrained=pretrained, weights=weights)
    raise BackboneError(unknown_backbone(name))


def _find_scratch(name: str, *, pretrained: bool, weights: Path | None, size: int | None, dropout: float) -> Found:
    from budwood.models.scratch import build_net

    net = SCRATCH[name]
    if net.weights_of:
        found = find_timm(net.weights_of, pretrained=pretrained, weights=weights, drop_path=0.0)
        drop_last_pool(found.module)
        return found
    side = size or net.size
    # ImageNet's mean and std: report A4 took them on purpose, so that nets from scratch and pretrained ones compare.
    preprocess = Preprocess(size=side if net.fixed else net.size, interpolation="bilinear")
    if name == "resnet50_scratch":
        module = find_timm("resnet50", pretrained=False, weights=None, drop_path=0.0).module
        classifier: tuple[str, ...] = ("fc",)
    else:
        module, classifier = build_net(name, size=side, dropout=dropout), ("head",)
    source, digest = f"{RANDOM} (from scratch)", ""
    if weights is not None:
        load_file(module, weights, classifier=classifier)
        source, digest = f"local file {weights.name}", sha256_file(weights)
    return Found(
        module=module, preprocess=preprocess, source=source, digest=digest, fixed_size=side if net.fixed else None
    )


def _scratch_pool(name: str, pool: Pool) -> Pool:
    """Nets that are built for one side flatten their maps themselves, as their reports did."""
    if not SCRATCH[name].fixed:
        return pool
    if pool == "max":
        raise BackboneError(f'{name} flattens its maps itself, so model.pool = "max" has no place: drop it')
    return "avg"


def _made(name: str, found: Found) -> Backbone:
    import torch

    module, side = found.module.eval(), found.preprocess.size
    try:
        with torch.no_grad():
            num_features = module(torch.zeros(1, 3, side, side)).shape[1]
    except RuntimeError as error:
        if found.fixed_size is None:
            raise
        raise BackboneError(f"{name} cannot be built for {side} px or with this model.pool: {error}") from error
    cfg = getattr(module, "pretrained_cfg", None) or {}
    return Backbone(
        name=name,
        architecture=str(cfg["architecture"]) if name.startswith("hf-hub:") else name,
        module=module,
        num_features=int(num_features),
        preprocess=found.preprocess,
        source=found.source,
        digest=found.digest or state_digest(module),
        fixed_size=found.fixed_size,
    )
