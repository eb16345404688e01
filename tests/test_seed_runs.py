"""The recipes of the five reports run from pictures to report with ``--tiny``: a sample of them, and all when slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from budwood.models.backbones import outline_backbone
from budwood.models.blocks import describe_share
from budwood.recipe import load_recipe
from budwood.recipes import seed_recipes
from budwood.sweep_plan import SweepPlan, plan_sweep
from budwood.sweeping import sweep
from budwood.systems import fit

ROOT = Path(__file__).parents[1]
SAMPLE = {
    "a0-resnet50",  # a head trained by steps on flattened maps
    "a1-convnext-large-clr",  # a share of the layers frozen, cyclical rate, BatchNorm, dropout on the input
    "a1-smote",  # a sweep of a solved head, on folds
    "a2-efficientnet-staged-100-1",  # three stages
    "a3-zero-input",  # a net that sees nothing
}
NEEDED = {"a1-smote": "imblearn", "a3-tuner": "optuna"}

# What a sweep goes over, and in how many arms.
OVER: dict[str, tuple[tuple[str, ...], int]] = {
    "a0-rotation-contrast": (("augment.rotation", "augment.contrast"), 8),
    "a1-augmentation": (("train.stages.1.augment",), 2),
    "a1-efficientnetv2b0-depth": (("freeze",), 4),
    "a1-input-dropout": (("model.input_dropout",), 3),
    "a1-smote": (("balance.method",), 2),
    "a1-upscaling": (("model.size",), 3),
    "a2-mixes": (("train.stages.0.augment",), 3),
    "a2-resnet50v2": (("model.top",), 3),
    "a2-vgg16-freeze": (("train.stages.1.frozen",), 4),
    "a2-vgg19-freeze": (("train.stages.1.frozen",), 6),
    "a2-xception": (("train.stages.1.frozen",), 3),
    "a3-backbones": (("model.backbone",), 3),
    "a3-balance-species1": (("balance.method",), 3),
    "a3-batch-size": (("train.stages.1.batch_size",), 5),
    "a3-cutmix": (("train.stages.1.augment",), 4),
    "a3-tuner": (("model.backbone", "model.pool", "train.optimizer", "train.lr", "train.head_lr"), 20),
    "a3-vgg16-receptive": (("model.backbone",), 2),
    "a4-batch-size": (("train.batch_size",), 3),
    "a4-colour-jitter": (("train.stages.0.augment",), 2),
    "a4-dropout": (("model.dropout",), 2),
    "a4-learning-rate": (("train.lr",), 4),
}

BORDERS = [
    ("vgg16", "6/19", "1-2 of 5"),
    ("vgg16", "8/19", "1-2 of 5"),
    ("vgg16", "10/19", "1-3 of 5"),
    ("vgg16", "12/19", "1-3 of 5"),
    ("vgg19", "8/22", "1-2 of 5"),
    *[("vgg19", f"{k}/22", "1-3 of 5") for k in range(9, 14)],
    ("legacy_xception", "20/132", "1-3 of 14"),
    ("legacy_xception", "132/132", "1-14 of 14"),
    pytest.param("convnext_large", "90/296", "1-12 of 37", marks=pytest.mark.slow),
    pytest.param("tf_efficientnet_b7", "100/813", "1-8 of 56", marks=pytest.mark.slow),
]


# Ensembles and the experiments have tests of their own (test_ensemble_recipes.py, test_systems.py).
CLASSIFIERS = [
    name
    for name in seed_recipes()
    if load_recipe(name).system == "classifier" and not load_recipe(name).ensemble.members
]


def planned(name: str, *, tiny: bool) -> SweepPlan:
    return plan_sweep(name, over=(), trials=None, folds=None, seeds=(), overrides=(), seed=None, tiny=tiny)


def test_every_recipe_with_a_sweep_is_known() -> None:
    assert sorted(OVER) == sorted(name for name in seed_recipes() if load_recipe(name).sweep.over)


@pytest.mark.parametrize("name", OVER)
def test_every_arm_of_a_seed_sweep_is_a_recipe(name: str) -> None:
    plan = planned(name, tiny=True)
    assert (plan.space.keys, plan.num_arms) == OVER[name]


def test_each_arm_has_one_rate_for_the_whole_network_where_rates_are_compared() -> None:
    plan = planned("a4-learning-rate", tiny=False)
    trains = [plan.arm(settings).train for settings in plan.space.arms()]
    rates = [train.settings(train.stages[0]) for train in trains]
    assert [(rate.lr, rate.head_lr) for rate in rates] == [(r, r) for r in (1e-5, 1e-4, 1e-3, 1e-2)]


@pytest.mark.parametrize(("backbone", "share", "blocks"), BORDERS)
def test_a_share_of_the_layers_ends_where_the_document_says(backbone: str, share: str, blocks: str) -> None:
    words = describe_share(outline_backbone(backbone).module, share)
    assert f"blocks {blocks} frozen" in words
    asked, border = words.split(" -> ")
    assert f"| `{backbone}` | {asked} | {border} |" in (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.slow) for name in CLASSIFIERS]
)
def test_a_seed_recipe_runs_from_pictures_to_report(name: str, photos: Path, tmp_path: Path) -> None:
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    if name in OVER:
        found = sweep(photos, recipe=name, out=tmp_path / "run", tiny=True, threads=1)
        assert {arm.state for arm in found.arms} <= {"finished", "pruned"}
        assert len(found.arms) == OVER[name][1]
        assert found.report.is_file()
        return
    run = fit(photos, recipe=name, out=tmp_path / "run", tiny=True, threads=1)
    assert [row.epoch for row in run.history.rows] == list(range(1, 1 + len(load_recipe(name).train.stages)))
    assert run.report.is_file()
