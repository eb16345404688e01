"""`Recipe`: all the settings of one run, one field for each layer's spec, checked against each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, model_validator

from budwood.augment.balance import BalanceSpec
from budwood.augment.transforms import AugmentSpec
from budwood.config import apply_overrides, parse_toml, validate
from budwood.data.audit import AuditSpec
from budwood.data.cleaning.clean_spec import TIDY, CleanSpec
from budwood.data.split import SplitSpec
from budwood.errors import SettingsError
from budwood.evaluation.class_tree import CascadeSpec
from budwood.evaluation.controls import ExplainSpec
from budwood.evaluation.joining import JoinMethod
from budwood.evaluation.views import View, views_from
from budwood.export.spec import ExportSpec
from budwood.models.backbones import check_name
from budwood.models.build import ModelSpec
from budwood.models.nets import SCRATCH
from budwood.recipes import packaged_recipes, read_recipe
from budwood.search.space import SweepSpec
from budwood.train.adversarial import SynthesisSpec
from budwood.train.autoencode import OneClassSpec
from budwood.train.heads import HeadSpec
from budwood.train.stages import TrainSpec

# What --tiny trains: timm's smallest network of the family, untrained, for a run of seconds that proves nothing. Nets
# that are trained from scratch anyway are only made small.
TINY_BACKBONE = "test_efficientnet"
_TINY_FAMILIES = {"resnet": "test_resnet", "convnext": "test_convnext", "vit": "test_vit", "deit": "test_vit"}
TINY_PICTURES_PER_CLASS = 12


__all__ = ["PredictSpec", "Recipe", "load_recipe", "packaged_recipes", "parse_recipe", "read_recipe", "shrink"]


class PredictSpec(BaseModel):
    """How the bundle answers.

    views: which views of a picture are averaged; each costs as much time as one. ``"auto"`` takes all flips and turns
        that the audit finds harmless (up to eight), a number so many of them; a text names sets (``"flips"``,
        ``"turns*scales"``), a list turns (0-7), windows (``{scale = 1.1}``) and names; ``"tuned"`` lets the validation
        part choose. See docs/tta.md.
    average: what is averaged over views.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    views: int | str | tuple[int | str | dict[str, int | float], ...] = "auto"
    average: Literal["probabilities", "logits"] = "probabilities"

    @model_validator(mode="after")
    def _known_views(self) -> PredictSpec:
        if isinstance(self.views, int) and not 1 <= self.views <= 8:
            raise ValueError("views, as a number, goes from 1 to 8")
        if not isinstance(self.views, int) and not self.views:
            raise ValueError("views is empty; the picture as it is: [0]")
        self.named_views()
        return self

    def named_views(self) -> tuple[View, ...]:
        """The views that are named one by one or in sets; none for ``"auto"``, ``"tuned"`` and a number."""
        if isinstance(self.views, int) or self.views in ("auto", "tuned"):
            return ()
        return views_from((self.views,) if isinstance(self.views, str) else self.views)


class EnsembleSpec(BaseModel):
    """Several recipes trained on one split and joined (docs/ensembles.md); nothing of it where there are no members.

    members: names of recipes, or files. What else stands in this recipe holds for each of them.
    backbones: one for each member, instead of its own; empty: each has its own.
    method: how answers are joined; ``auto`` lets the validation part choose.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    method: JoinMethod = "auto"

    @model_validator(mode="after")
    def _enough_members(self) -> EnsembleSpec:
        if len(self.members) == 1:
            raise ValueError("members names one recipe; an ensemble needs two or more")
        if self.backbones and len(self.backbones) != len(self.members):
            raise ValueError(
                f"backbones names {len(self.backbones)} networks for {len(self.members)} members; name one for each"
            )
        return self


class Recipe(BaseModel):
    """All the settings of one run. Defaults < recipe file < ``--set``.

    system: what is made: a classifier, or one of the systems of `systems.py`, each with a field of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "custom"
    description: str = ""
    seed: int = Field(default=0, ge=0, lt=2**31)
    tiny: bool = False
    refit: bool = False
    system: Literal["classifier", "cascade", "one-class", "synthesis"] = "classifier"
    audit: AuditSpec = AuditSpec()
    clean: CleanSpec = CleanSpec()
    split: SplitSpec = SplitSpec()
    model: ModelSpec = ModelSpec()
    head: HeadSpec = HeadSpec()
    balance: BalanceSpec = BalanceSpec()
    augment: AugmentSpec = AugmentSpec()
    train: TrainSpec = TrainSpec()
    predict: PredictSpec = PredictSpec()
    ensemble: EnsembleSpec = EnsembleSpec()
    explain: ExplainSpec = ExplainSpec()
    export: ExportSpec = ExportSpec()
    cascade: CascadeSpec = CascadeSpec()
    one_class: OneClassSpec = OneClassSpec()
    synthesis: SynthesisSpec = SynthesisSpec()
    sweep: SweepSpec = SweepSpec()

    @model_validator(mode="after")
    def _weights_are_for_pretrained(self) -> Recipe:
        if self.model.weights and not self.model.pretrained:
            raise ValueError("model.weights names a file, but model.pretrained is false: drop one of them")
        return self

    @model_validator(mode="after")
    def _ensembles_have_one_split(self) -> Recipe:
        if self.ensemble.members and self.split.folds is not None:
            raise ValueError(
                "split.folds: members of an ensemble share one split, which folds are not; drop one of them"
            )
        return self

    @model_validator(mode="after")
    def _systems_have_one_split(self) -> Recipe:
        if self.system != "classifier" and (self.split.folds is not None or self.refit or self.ensemble.members):
            raise ValueError(
                f'system = "{self.system}" is trained and scored on one split: drop split.folds, refit and'
                " ensemble.members"
            )
        return self

    @model_validator(mode="after")
    def _stages_fit_the_rest(self) -> Recipe:
        for number, stage in enumerate(self.train.stages):
            if stage.augment:
                self.augment.with_overrides(stage.augment, source=f"train.stages.{number}.augment")
            if stage.solve and self.model.top:
                raise ValueError(
                    f"train.stages.{number}.solve: only a linear head can be solved, and model.top puts"
                    f" {len(self.model.top)} layers before it; drop one of them"
                )
        return self

    def refuse_other_systems(self, command: str) -> None:
        """Refuse, for a ``command`` that trains one classifier, what is several of them or none.

        Raises:
            SettingsError: the recipe is an ensemble or an experiment.
        """
        if self.ensemble.members:
            what = f"joins {len(self.ensemble.members)} recipes; give one of them: {', '.join(self.ensemble.members)}"
        elif self.system != "classifier":
            what = f'is no plain classifier (system = "{self.system}"); run it with: budwood fit'
        else:
            return
        raise SettingsError(f"{command} trains one classifier, and recipe {self.name} {what}")

    def to_toml(self) -> str:
        """TOML text that gives this recipe again."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def _without_none(values: Any) -> Any:
    """TOML knows no null: leaving a key out means its default, which is None wherever None is allowed."""
    if isinstance(values, dict):
        return {k: _without_none(v) for k, v in values.items() if v is not None}
    return [_without_none(v) for v in values] if isinstance(values, list) else values


def load_recipe(
    name_or_file: str,
    *,
    overrides: Iterable[str] = (),
    seed: int | None = None,
    folds: int | None = None,
    refit: bool = False,
    tiny: bool = False,
    clean: bool = False,
) -> Recipe:
    """Read a recipe and apply what the call adds to it.

    Raises:
        UsageError: there is no such recipe. SettingsError: a wrong key, type or contradiction.
    """
    name, text = read_recipe(name_or_file)
    values = parse_toml(text, source=f"recipe {name}")
    values.setdefault("name", name)
    additions = [f"seed={seed}"] if seed is not None else []
    additions += [f"split.folds={folds}"] if folds is not None else []
    additions += ["refit=true"] if refit else []
    additions += ["tiny=true"] if tiny else []
    recipe = validate(Recipe, apply_overrides(values, [*overrides, *additions]), source=f"recipe {name}")
    if clean and recipe.clean.is_off:
        recipe = recipe.model_copy(update={"clean": TIDY})
    if not recipe.tiny or recipe.ensemble.members:  # members are made small one by one
        return recipe
    check_name(recipe.model.backbone)  # another network takes its place, but a wrong name is wrong here too
    return shrink(recipe)


def shrink(recipe: Recipe) -> Recipe:
    """The recipe with everything that takes time cut down: it shows that the recipe runs, not what it can do."""
    train, name = recipe.train, recipe.model.backbone
    batch_size = min(8, train.batch_size)
    stages = tuple(
        stage.model_copy(update={"epochs": 1, "batch_size": min(stage.batch_size or batch_size, batch_size)})
        for stage in train.stages
    )
    net = SCRATCH.get(name)
    family = next((tiny for part, tiny in _TINY_FAMILIES.items() if part in name), TINY_BACKBONE)
    update = {
        "backbone": name if net else family,
        "pretrained": False,
        "weights": "",
        "size": max(32, net.least) if net else 32,
    }
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update=update),
            "train": train.model_copy(
                update={"stages": stages, "batch_size": batch_size, "views": 2, "cache_views": 2}
            ),
            "head": recipe.head.model_copy(update={"penalties": recipe.head.penalties[:2], "folds": 2}),
            "one_class": recipe.one_class.model_copy(update={"size": 16, "width": 4, "code": 8, "epochs": 2}),
            "synthesis": recipe.synthesis.model_copy(update={"size": 16, "width": 4, "epochs": 2, "per_class": 8}),
        }
    )


def parse_recipe(text: str, *, source: str) -> Recipe:
    """Read back what `Recipe.to_toml` wrote.

    Raises:
        SettingsError: the text is no recipe.
    """
    recipe = validate(Recipe, parse_toml(text, source=source), source=source)
    if not recipe.name:
        raise SettingsError(f"{source}: name is empty; give the recipe a name")
    return recipe
