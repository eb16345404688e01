"""`SweepPlan`: which arms a sweep has, and the recipe of each. Settings in, recipes out; nothing is read or trained.

``freeze`` is a key of its own: how much of the backbone the last stage trains, whatever else the recipe does.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from budwood.config import apply_overrides, validate
from budwood.errors import SettingsError, UsageError
from budwood.files import sha256_bytes
from budwood.models.backbones import check_name
from budwood.models.blocks import blocks_of
from budwood.models.build import ModelSpec, open_backbone
from budwood.recipe import Recipe, load_recipe, shrink
from budwood.search.space import Axis, Choices, Range, Space, SweepSpec, label, shown, toml_text
from budwood.train.stages import Stage

FREEZE = "freeze"
# What every arm has in common, and why.
_SHARED = {
    "seed": "it makes the split: train each arm with several seeds by --seeds 0,1,2",
    "split": "every arm is judged on the same pictures",
    "audit": "every arm is judged on the same pictures",
    "clean": "every arm is judged on the same pictures; budwood fit --compare clean tells what cleaning brings",
    "refit": "a sweep ends before anything is trained on all parts",
    "tiny": "it is a setting of the whole sweep",
    "name": "it changes nothing",
    "description": "it changes nothing",
    "sweep": "it is the sweep itself",
}
# What decides which weights are opened and how large pictures are kept.
_OPENING = ("model.backbone", "model.weights", "model.pretrained", "model.size", "model.pool")
# Settings that change what a frozen start sees or makes.
_OTHER_PICTURES = re.compile(r"model\.|augment\.|train\.cache|train\.stages\.\d+\.augment")
_LOOKS = 16  # corners of a space that are checked before anything is trained


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What a sweep goes through.

    base: the recipe that arms change. borders: for ``freeze``, the first block that each depth trains, by its words.
    """

    base: Recipe
    space: Space
    trials: int | None
    folds: int | None
    seeds: tuple[int, ...]
    prune: bool
    tiny: bool
    borders: Mapping[str, str]

    @property
    def shared(self) -> Recipe:
        """The recipe as far as reading and splitting go by it."""
        return shrink(self.base) if self.tiny else self.base

    @property
    def num_arms(self) -> int:
        """How many arms will be run."""
        return self.trials or len(self.space.arms())

    @property
    def depths(self) -> tuple[Stage, ...]:
        """What fine-tunes last, once for each depth that arms have; none where a search draws the arms one by one."""
        if self.trials:
            return ()
        found: dict[tuple[Any, str], Stage] = {}
        for settings in self.space.arms():
            train = self.arm(settings).train
            for stage in [stage for stage in train.stages if not stage.is_head][-1:]:
                known = found.get((stage.trains, stage.frozen), stage)
                found[stage.trains, stage.frozen] = max(known, stage, key=lambda each: each.epochs)
        return tuple(found.values())

    @property
    def logarithmic(self) -> tuple[str, ...]:
        """Keys that are searched in the logarithm."""
        return tuple(axis.key for axis in self.space.axes if isinstance(axis, Range) and axis.log)

    @property
    def identity(self) -> dict[str, Any]:
        """What a resumed sweep must have in common; more trials may be added."""
        return {
            "recipe": sha256_bytes(self.base.to_toml().encode()),
            "over": self.space.to_json(),
            "search": "trials" if self.trials else "grid",
            "folds": self.folds,
            "seeds": list(self.seeds),
            "prune": self.prune,
            "tiny": self.tiny,
        }

    def as_overrides(self, settings: Mapping[str, Any]) -> list[str]:
        """An arm's settings as ``--set`` takes them."""
        found = [f"{key}={toml_text(value)}" for key, value in settings.items() if key != FREEZE]
        return found + (self._freezing(settings[FREEZE]) if FREEZE in settings else [])

    def shown(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """An arm's values in words, by key."""
        return {key: _depth(value) if key == FREEZE else shown(value) for key, value in settings.items()}

    def name(self, settings: Mapping[str, Any]) -> str:
        """An arm in few words."""
        rest = {key: value for key, value in settings.items() if key != FREEZE}
        return ", ".join(([_depth(settings[FREEZE])] if FREEZE in settings else []) + ([label(rest)] if rest else []))

    def _freezing(self, depth: Any) -> list[str]:
        number = last_fine_tuning(self.base)
        stages = [stage.model_dump(mode="json", exclude_unset=True) for stage in self.base.train.stages]
        if depth == 0:
            return [f"train.stages={toml_text([stage for i, stage in enumerate(stages) if i != number])}"]
        if self.base.train.stages[number].frozen:
            del stages[number]["frozen"]
            stages[number]["trains"] = depth
            return [f"train.stages={toml_text(stages)}"]
        return [f"train.stages.{number}.trains={toml_text(depth)}"]

    def arm(self, settings: Mapping[str, Any]) -> Recipe:
        """The recipe of one arm.

        Raises:
            SettingsError: the settings are not the recipe's, or contradict each other; names the arm.
        """
        values = self.base.model_dump(mode="json", exclude_none=True)
        # A stage's defaults would be taken for what was said: frozen and trains exclude each other.
        values["train"]["stages"] = [s.model_dump(mode="json", exclude_unset=True) for s in self.base.train.stages]
        changed = apply_overrides(values, self.as_overrides(settings))
        recipe = validate(Recipe, changed, source=f"the arm {self.name(settings)}")
        check_name(recipe.model.backbone)
        return shrink(recipe) if self.tiny else recipe

    def models(self) -> list[ModelSpec]:
        """Every network that arms may open, so that what is missing is found before anything is trained."""
        axes = [axis for axis in self.space.axes if axis.key in _OPENING]
        values = [[(axis.key, value) for value in ends(axis)] for axis in axes]
        rest = {axis.key: ends(axis)[0] for axis in self.space.axes}
        return [self.arm({**rest, **dict(chosen)}).model for chosen in itertools.product(*values)]


def _depth(value: Any) -> str:
    """What a value of ``freeze`` trains."""
    if isinstance(value, int):
        return f"last {value} block{'s' if value > 1 else ''}" if value else "head only"
    return "whole network" if value == "all" else f"from {value}"


def ends(axis: Axis) -> tuple[Any, ...]:
    """All values of a choice; the two ends of a range."""
    if isinstance(axis, Choices):
        return axis.values
    return (int(axis.low), int(axis.high)) if axis.whole else (axis.low, axis.high)


def plan_sweep(
    recipe: str | Recipe,
    *,
    over: Sequence[str],
    trials: int | None,
    folds: int | None,
    seeds: Sequence[int],
    overrides: Sequence[str],
    seed: int | None,
    tiny: bool,
) -> SweepPlan:
    """Put together what the call says and what the recipe says, and check every arm as far as that can be done.

    Raises:
        UsageError: there is nothing to sweep over. SettingsError: an arm is no recipe. BackboneError: unknown.
    """
    if isinstance(recipe, str):
        recipe = load_recipe(recipe, overrides=overrides, seed=seed)
    elif overrides or seed is not None:
        raise SettingsError("a Recipe already holds seed and all settings: change them in it")
    recipe.refuse_other_systems("a sweep")
    spec = recipe.sweep
    recipe = recipe.model_copy(
        update={"sweep": SweepSpec()}
    )  # what an arm or a fit of the winner is not concerned with
    if recipe.split.folds is not None:
        raise SettingsError(
            "split.folds makes every picture a test picture once, and a sweep leaves the test part alone:"
            " drop it, and give --folds for folds of the other parts"
        )
    if not over and not spec.over:
        raise UsageError(
            "there is nothing to sweep over: give --over train.lr=1e-4,1e-3 (see docs/sweeps.md), or a recipe with a"
            " [sweep] table"
        )
    tiny = tiny or recipe.tiny
    chosen, borders = _with_freeze(tuple(over) or spec.over, recipe, tiny=tiny)
    space, trials = Space.parse(chosen), trials or (None if over else spec.trials)
    plan = SweepPlan(
        base=recipe,
        space=space if trials else _from_the_input(space),
        trials=trials,
        folds=folds or spec.folds,
        seeds=tuple(seeds) or spec.seeds or (recipe.seed,),
        prune=spec.prune,
        tiny=tiny,
        borders=borders,
    )
    _check(plan)
    return plan


def _check(plan: SweepPlan) -> None:
    for key in plan.space.keys:
        if key.partition(".")[0] in _SHARED:
            raise SettingsError(f"{key} cannot be swept over: {_SHARED[key.partition('.')[0]]}")
    if len(set(plan.seeds)) < len(plan.seeds):
        raise SettingsError(f"--seeds names a seed twice: {', '.join(map(str, plan.seeds))}")
    if plan.folds is not None and plan.base.clean.relabel:
        raise SettingsError("clean.relabel changes labels of the training part, and folds mix it: drop one of them")
    if plan.trials and all(isinstance(axis, Choices) for axis in plan.space.axes):
        combinations = len(plan.space.arms())
        if plan.trials >= combinations:
            raise SettingsError(
                f"these values make {combinations} combinations: leave --trials out to try each of them once"
            )
    if plan.trials is None:
        for settings in plan.space.arms():
            plan.arm(settings)
        return
    first = {axis.key: ends(axis)[0] for axis in plan.space.axes}
    for axis in plan.space.axes:
        for value in ends(axis)[:_LOOKS]:
            plan.arm({**first, axis.key: value})


def _with_freeze(overs: Sequence[str], recipe: Recipe, *, tiny: bool) -> tuple[list[str], dict[str, str]]:
    """The axes with every depth written out where that was asked for, and what the depths are."""
    found, borders = [], {}
    for text in overs:
        key, _, values = (part.strip() for part in text.partition("="))
        if key != FREEZE:
            found.append(text)
            continue
        last_fine_tuning(recipe)
        if values in ("", "all") and any(other.startswith("model.backbone") for other in overs):
            raise SettingsError("backbones have depths of their own: with model.backbone, list them: freeze=1,2,3,all")
        model = (shrink(recipe) if tiny else recipe).model
        names = [block.name for block in blocks_of(open_backbone(model).module)]
        depths: list[Any] = [*range(1, len(names)), "all"]
        if recipe.train.stages[0].is_head:
            depths = [0, *depths]
        borders = {_depth(0): ""} | {_depth(k): names[-k] for k in range(1, len(names))} | {_depth("all"): names[0]}
        found.append(f"{FREEZE}={','.join(map(toml_text, depths))}" if values in ("", "all") else text)
    return found, borders


def _from_the_input(space: Space) -> Space:
    """The axes so that arms with equal activations follow one another, depths from the input to the output.

    First what makes other activations, then the depth, then all else. Depths that are named by a block stay in their
    order.
    """
    axes = []
    for axis in space.axes:
        if (
            axis.key == FREEZE
            and isinstance(axis, Choices)
            and all(v == "all" or isinstance(v, int) for v in axis.values)
        ):
            axis = replace(axis, values=tuple(sorted(axis.values, key=lambda v: -math.inf if v == "all" else -v)))
        axes.append(axis)
    if FREEZE not in space.keys:
        return space
    return Space(
        tuple(sorted(axes, key=lambda axis: 1 if axis.key == FREEZE else 0 if _OTHER_PICTURES.match(axis.key) else 2))
    )


def last_fine_tuning(recipe: Recipe) -> int:
    """The number of the last stage that trains the backbone.

    Raises:
        SettingsError: there is none.
    """
    stages: tuple[Stage, ...] = recipe.train.stages
    numbers = [number for number, stage in enumerate(stages) if not stage.is_head]
    if not numbers:
        raise SettingsError(
            f"the recipe {recipe.name} trains the head only, so there is no depth to sweep over: take one that"
            " fine-tunes, such as --recipe transfer"
        )
    return numbers[-1]
