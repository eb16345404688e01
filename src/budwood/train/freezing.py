"""Which parameters of a network a stage trains, and at which rate: `Stage` applied to a `Classifier`."""

from __future__ import annotations

from torch import nn

from budwood.models.backbones import Backbone
from budwood.models.blocks import blocks_of, frozen_share, trained_from
from budwood.models.build import Classifier
from budwood.train.optimizers import OPTIMIZERS, depth_factors
from budwood.train.stages import Stage, StageSettings, TrainSpec


def first_trained_block(model: Classifier, stage: Stage) -> int:
    """Index of the first block of the backbone that ``stage`` trains; the number of blocks for the head alone.

    Raises:
        SettingsError: the stage names a block that the backbone lacks.
    """
    if stage.frozen:
        return frozen_share(model.backbone, stage.frozen)
    return trained_from(model.backbone, stage.trains)


def freeze(model: Classifier, stage: Stage) -> None:
    """Set which parameters of ``model`` train in ``stage``; frozen ones need no gradient."""
    first = first_trained_block(model, stage)
    frozen = {name for block in blocks_of(model.backbone)[:first] for name in block.parameters}
    for name, parameter in model.backbone.named_parameters():
        parameter.requires_grad_(name not in frozen)
    for module in (model.top, model.head):
        module.requires_grad_(True)


def train_mode(model: nn.Module) -> None:
    """Training mode, but frozen modules in eval: their BatchNorm keeps its statistics, their dropout is off.

    So is the dropout that stands before the first module of the backbone that trains and has no weights of its own.
    """
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=True))
        if own and not any(p.requires_grad for p in own):
            module.eval()
    backbone = next((part for name, part in model.named_modules() if name.rpartition(".")[2] == "backbone"), None)
    for module in backbone.modules() if backbone is not None else ():
        own = list(module.parameters(recurse=False))
        if any(p.requires_grad for p in own):
            break
        if not own and next(module.children(), None) is None:
            module.eval()


def parameter_groups(model: Classifier, spec: TrainSpec, settings: StageSettings) -> list[dict[str, object]]:
    """Optimiser groups of what trains: the head and each depth at its rate, no decay on 1-d parameters.

    1-d parameters are biases and the scales of normalisations. Without layer decay the backbone has one rate.
    """
    depth = _depths(model)
    decay = OPTIMIZERS[settings.optimizer].weight_decay if spec.weight_decay is None else spec.weight_decay
    factors = depth_factors(1 + max(depth.values(), default=0), settings.layer_decay)
    groups: dict[tuple[int | None, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            place = depth.get(id(parameter)) if settings.layer_decay < 1 else (0 if id(parameter) in depth else None)
            groups.setdefault((place, parameter.ndim > 1), []).append(parameter)
    found: list[dict[str, object]] = []
    for (place, decayed), parameters in groups.items():
        factor = 1.0 if place is None or settings.layer_decay == 1 else factors[place]
        rate = settings.head_lr if place is None else settings.lr * factor
        found.append(
            {
                "params": parameters,
                "part": "head" if place is None else "backbone",
                "lr": rate,
                "base_lr": rate,
                "weight_decay": decay if decayed else 0.0,
            }
        )
    return found


def _depths(model: Classifier) -> dict[int, int]:
    """Block number of each parameter of the backbone, by identity; all above the backbone is in none."""
    parameters = dict(model.backbone.named_parameters())
    found = {id(parameter): 0 for parameter in parameters.values()}
    for number, block in enumerate(blocks_of(model.backbone)):
        found |= {id(parameters[name]): number for name in block.parameters}
    return found


def refuse_unknown_blocks(spec: TrainSpec, backbone: Backbone) -> None:
    """Refuse a plan that names a block which the backbone lacks, before any picture is read.

    Raises:
        SettingsError: the message lists the blocks.
    """
    for stage in spec.stages:
        if not stage.frozen:
            trained_from(backbone.module, stage.trains)
