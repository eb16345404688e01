"""First weights: what every arm of one architecture and seed starts from, kept in the sweep's folder.

Arms then differ by their settings alone, and a resumed sweep goes on from the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from budwood.data.preprocess import Preprocess
from budwood.files import sha256_bytes, to_json, write_bytes
from budwood.models.backbones import Backbone
from budwood.models.build import attach_head, classifier_state
from budwood.recipe import Recipe
from budwood.train.features import FeatureSource


def first_weights(folder: Path, recipe: Recipe, backbone: Backbone, *, num_classes: int) -> dict[str, Tensor]:
    """The weights by name, as `models.build.classifier_state` names them: from ``folder``, or new there.

    Published weights are known by their digest and not copied; what is random is kept, and loaded into ``backbone``.
    """
    spec = recipe.model
    shape: dict[str, object] = {
        "backbone": spec.backbone,
        "weights": backbone.digest,
        "pool": spec.pool,
        "top": list(spec.top),
    }
    if backbone.untrained:
        shape["weights"] = "random"
    if backbone.fixed_size:
        shape["size"] = backbone.fixed_size
    name = sha256_bytes(to_json(shape).encode())[:12]
    file = folder / f"{name}-{recipe.seed}.safetensors"
    if not file.is_file():
        state = classifier_state(attach_head(backbone, num_classes=num_classes, spec=spec, seed=recipe.seed))
        kept = {n: v for n, v in state.items() if backbone.untrained or not n.startswith("backbone.")}
        write_bytes(file, save(kept))
    weights: dict[str, Tensor] = load_file(str(file))
    if backbone.untrained:
        inner = {n.removeprefix("backbone."): v for n, v in weights.items() if n.startswith("backbone.")}
        backbone.module.load_state_dict(inner)
    return weights


def source_of(
    backbone: Backbone, weights: Mapping[str, Tensor], preprocess: Preprocess, *, bf16: bool
) -> FeatureSource:
    """The backbone as a source of features, known by the weights that it has."""
    digest = backbone.digest
    if backbone.untrained:  # what was loaded from the sweep's folder
        digest = sha256_bytes(save({n: v.contiguous() for n, v in weights.items() if n.startswith("backbone.")}))
    return FeatureSource(
        module=backbone.module,
        num_features=backbone.num_features,
        preprocess=preprocess,
        identity=f"{backbone.name} {backbone.source} {digest}",
        bf16=bf16,
    )
