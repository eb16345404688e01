"""How the last maps of a convolutional network become features: their mean, their maximum, or all of them in a row."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from budwood.errors import BackboneError

Pool = Literal["avg", "max", "flatten"]


def set_pool(module: nn.Module, pool: Pool, *, name: str) -> None:
    """Put another pooling in the place of ``module``'s own, which ``"avg"`` keeps.

    Args:
        name: the network's, for the error.

    Raises:
        BackboneError: the network has no one layer that pools its last maps.
    """
    if pool == "avg":
        return
    place = _timm_place(module, pool) or _torchvision_place(module, pool)
    if place is None:
        raise BackboneError(
            f"{name} has no pooling layer of its own that could be replaced, so model.pool can only be avg (what it "
            f'does itself), found "{pool}"; drop model.pool, or choose a convolutional network of timm'
        )
    path, layer = place
    parent, _, leaf = path.rpartition(".")
    setattr(module.get_submodule(parent), leaf, layer)


def _timm_place(module: nn.Module, pool: Pool) -> tuple[str, nn.Module] | None:
    from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d

    found: list[tuple[str, Any]] = [
        (path, part) for path, part in module.named_modules() if isinstance(part, SelectAdaptivePool2d)
    ]
    if len(found) != 1:
        return None
    path, own = found[0]
    fast = own.pool  # timm's fast poolings flatten by themselves, and know which sides are height and width
    flattens = isinstance(own.flatten, nn.Flatten) or bool(getattr(fast, "flatten", False))
    if pool == "flatten":
        return path, nn.Flatten(1) if flattens else nn.Identity()
    layout = "NHWC" if getattr(fast, "dim", None) == (1, 2) else "NCHW"
    kind = "max" if layout == "NCHW" else "fastmax"
    return path, SelectAdaptivePool2d(pool_type=kind, flatten=flattens, input_fmt=layout)


def _torchvision_place(module: nn.Module, pool: Pool) -> tuple[str, nn.Module] | None:
    own = getattr(module, "avgpool", None)
    if not isinstance(own, nn.AdaptiveAvgPool2d) or own.output_size not in (1, (1, 1)):
        return None
    return "avgpool", nn.AdaptiveMaxPool2d(1) if pool == "max" else nn.Identity()
