"""The recipes of the five reports hold what their reports say. That they run is `test_seed_runs.py`'s matter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from budwood.cli.main import run
from budwood.recipe import Recipe, load_recipe, parse_recipe
from budwood.recipes import own_recipes, reported_figure, seed_recipes

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "src" / "budwood" / "recipes").rglob("*.toml"))
NAMES = sorted(seed_recipes())
# Ensembles hold the names of others and nothing of their own.
ALONE = [name for name in NAMES if not load_recipe(name).ensemble.members]
SWEEPS = sorted(name for name, text in seed_recipes().items() if "\n[sweep]\n" in text)

# recipe | network and side | top (dense layers by their units) | stages: what trains or is frozen, epochs, head's rate
NETS = """
a0-cnn-scratch | four_block 96 new | | all 250 1e-3
a0-resnet50-scratch | resnet50_scratch 96 new | | all 250 1e-3
a0-resnet50 | resnet50 224 flatten | 256-128-64 | head 70 1e-3, all 40 1e-4
a0-efficientnetb7 | tf_efficientnet_b7 600 | 32 | head 45 1e-3, all 46 1e-4
a0-efficientnetv2b3 | tf_efficientnetv2_b3 300 | 256 | head 100 1e-3, all 200 1e-4
a0-efficientnetb7-balanced | tf_efficientnet_b7 600 | 1024 | head 100 1e-3, all 95 1e-4
a0-convnext-base-clean | convnext_base 224 | 64-32-16 | head 32 1e-3, all 22 1e-4
a0-mobilenetv2 | mobilenetv2_100 224 | 128-64-32 | head 100 1e-3, all 200 1e-4
a0-convnext-large | convnext_large 224 | 1024 | head 30 1e-3, all 30 1e-4
a0-convnext-base-balanced | convnext_base 224 | 64-32-16 | head 95 1e-3, all 200 1e-4
a0-efficientnetv2b0 | tf_efficientnetv2_b0 224 | 256 | head 16 1e-3, all 50 1e-4
a0-convnext-xlarge | convnext_xlarge 224 | 512-256-128 | head 60 1e-3, all 40 1e-4
a0-convnext-xlarge-reweighted | convnext_xlarge 224 | 512-256-128 | head 60 1e-3, all 40 1e-4
a0-rotation-contrast | four_block 96 new | | all 60 1e-3
a1-efficientnetv2b0-frozen | tf_efficientnetv2_b0 96 | | head 50 1e-3
a1-efficientnetv2b0-depth | tf_efficientnetv2_b0 96 | | head 50 1e-3, all 15 1e-4
a1-convnext-large-clr | convnext_large 96 input dropout 0.1 | batchnorm | 90/296 15 1e-4
a1-input-dropout | convnext_large 96 input dropout 0.1 | batchnorm | 90/296 15 1e-4
a1-smote | tf_efficientnetv2_b0 96 | | head solved
a1-upscaling | tf_efficientnetv2_b0 96 | | head solved
a1-augmentation | tf_efficientnetv2_b0 96 | | head 50 1e-3, all 15 1e-4
a2-vanilla | vanilla 96 new | | all 50 1e-3
a2-homemade | homemade 96 new | | all 80 1e-3
a2-homemade-skip | homemade_skip 96 new | | all 80 1e-3
a2-mixes | homemade 96 new | | all 40 1e-3
a2-vgg16-freeze | vgg16 96 | 256 | head 30 1e-3, 8/19 50 1e-4
a2-vgg19-freeze | vgg19 96 | 256 | head 30 1e-3, 10/22 50 1e-4
a2-xception | legacy_xception 96 | 256 | head 30 1e-3, 1/132 50 1e-4
a2-resnet50v2 | resnetv2_50 96 | 256 | head 30 1e-3, all 50 1e-4
a2-googlenet | googlenet 96 | | head 30 1e-3, all 50 1e-4
a2-efficientnet-staged-100-1 | tf_efficientnet_b7 96 | 256 | head 30 1e-3, 100/813 50 1e-4, 1/813 30 1e-5
a2-efficientnet-staged-1-100 | tf_efficientnet_b7 96 | 256 | head 30 1e-3, 1/813 30 1e-4, 100/813 50 1e-5
a3-softmax | softmax 96 new | | all 50 1e-3
a3-zero-input | zero_input 96 new | | all 50 1e-3
a3-sixconv | six_conv 96 new | | all 80 1e-3
a3-vgg16-receptive | vgg16 96 | | head 25 1e-3, all 60 1e-5 b64
a3-backbones | resnet50 96 | | head 25 1e-3, all 60 1e-5 b64
a3-resnet50-best | resnet50 96 | | head 25 1e-3, all 200 1e-5 b64
a3-tta | resnet50 96 | | head 25 1e-3, all 200 1e-5 b64
a3-double-model | resnet50 96 | | head 25 1e-3, all 60 1e-5 b64
a1-autoencoder | lite0 160 | | head solved
a3-cgan | lite0 160 | | head solved
a3-batch-size | resnet50 96 | | head 25 1e-3, all 60 1e-5
a3-tuner | resnet50 96 new | | all 30 1e-3
a3-balance-species1 | resnet50 96 | | head 25 1e-3, all 60 1e-5 b64
a3-cutmix | resnet50 96 | | head 25 1e-3, all 60 1e-5 b64
a4-mlp | mlp255 300 new | | all 10 1e-4
a4-cnn | cifar_cnn 300 new | | all 10 1e-4
a4-batch-size | cifar_cnn 300 new | | all 10 1e-4
a4-learning-rate | cifar_cnn 300 new | | all 10 1e-4
a4-dropout | cifar_cnn 300 new | | all 10 1e-4
a4-colour-jitter | cifar_cnn 300 new | | all 10 1e-4
a4-offline-x8 | cifar_cnn 300 new | | all 10 1e-4
a4-vgg16 | vgg16 300 | 256 | head 10 1e-4
a4-resnet50 | resnet50 300 | 256 | head 10 1e-4
a4-efficientnet-b2 | efficientnet_b2 300 | 256 | head 10 1e-4
"""

# recipe | batch, patience, schedule | against imbalance, checks that leave out | what happens to pictures in training
CARE = """
a0-cnn-scratch | b32 p10 constant | | turns 30-40 both shift
a0-resnet50-scratch | b32 p250 constant | | turns 30-40 both shift
a0-resnet50 | b32 p200 constant | | turns 180 both contrast
a0-efficientnetb7 | b32 p200 constant | | turns 180 both contrast
a0-efficientnetv2b3 | b32 p200 constant | | turns 180 both contrast
a0-efficientnetb7-balanced | b32 p200 constant | class_weights 0.5 cleaned | turns 180 both contrast
a0-convnext-base-clean | b32 p200 constant | class_weights 0.5 cleaned | turns 180 both contrast
a0-mobilenetv2 | b32 p200 constant | class_weights 0.5 | turns 180 both contrast
a0-convnext-large | b32 p200 constant | | turns 180 both contrast
a0-convnext-base-balanced | b32 p200 constant | class_weights 0.5 | turns 180 both contrast
a0-efficientnetv2b0 | b32 p200 constant | | turns 180 both contrast
a0-convnext-xlarge | b32 p200 constant | class_weights 0.5 cleaned | turns 180 both contrast
a0-convnext-xlarge-reweighted | b32 p200 constant | class_weights 1.0 cleaned | turns 180 both contrast
a0-rotation-contrast | b32 p10 constant | | turns 30-40 both shift
a1-efficientnetv2b0-frozen | b32 p5 exponential | repeated_picture |
a1-efficientnetv2b0-depth | b32 p5 exponential | repeated_picture |
a1-convnext-large-clr | b512 p5 triangular per epoch | oversampling 1.0 repeated_picture |
a1-input-dropout | b512 p5 triangular per epoch | oversampling 1.0 repeated_picture |
a1-smote | | repeated_picture |
a1-upscaling | | repeated_picture |
a1-augmentation | b32 p5 constant | repeated_picture |
a2-vanilla | b32 p10 constant | |
a2-homemade | b32 p15 constant | | turns 30-40 both shift mixes
a2-homemade-skip | b32 p15 constant | | turns 30-40 both shift mixes
a2-mixes | b32 p15 constant | | turns 30-40 both shift
a2-vgg16-freeze | b32 p10 constant | | turns 30-40 both shift
a2-vgg19-freeze | b32 p10 constant | | turns 30-40 both shift
a2-xception | b32 p10 constant | | turns 30-40 both shift
a2-resnet50v2 | b32 p10 constant | | turns 30-40 both shift
a2-googlenet | b32 p10 constant | | turns 30-40 both shift
a2-efficientnet-staged-100-1 | b32 p10 constant | | turns 30-40 both shift mixes
a2-efficientnet-staged-1-100 | b32 p10 constant | | turns 30-40 both shift mixes
a3-softmax | b32 p10 constant | |
a3-zero-input | b32 p10 constant | |
a3-sixconv | b32 p80 cosine | | both shift
a3-vgg16-receptive | b32 p20 constant | | both shift
a3-backbones | b32 p20 constant | | both shift
a3-resnet50-best | b32 p20 constant | | both shift
a3-tta | b32 p20 constant | | both shift
a3-double-model | b32 p20 constant | | both shift
a1-autoencoder | | |
a3-cgan | | |
a3-batch-size | b32 p20 constant | | both shift
a3-tuner | b32 p10 constant | | both shift
a3-balance-species1 | b32 p20 constant | | both shift
a3-cutmix | b32 p20 constant | | both shift
a4-mlp | b8 p3 constant | odd_dimensions | turns 15 both
a4-cnn | b8 p3 constant | odd_dimensions | turns 15 both
a4-batch-size | b8 p3 constant | odd_dimensions | turns 15 both
a4-learning-rate | b8 p3 constant | odd_dimensions | turns 15 both
a4-dropout | b8 p3 constant | odd_dimensions | turns 15 both
a4-colour-jitter | b8 p3 constant | odd_dimensions | turns 15 both
a4-offline-x8 | b8 p3 constant | |
a4-vgg16 | b8 p3 constant | odd_dimensions | turns 15 both
a4-resnet50 | b8 p3 constant | odd_dimensions | turns 15 both
a4-efficientnet-b2 | b8 p3 constant | odd_dimensions | turns 15 both
"""


def table(text: str) -> dict[str, list[str]]:
    """Name -> the other columns."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return {name: cells for name, *cells in rows}


def test_every_file_was_found_and_no_name_is_taken_twice() -> None:
    assert len(FILES) == 61
    assert sorted(file.stem for file in FILES) == sorted([*own_recipes(), *NAMES])
    assert len(SWEEPS) == 21


def test_the_tables_name_every_recipe() -> None:
    assert sorted(table(NETS)) == sorted(table(CARE)) == ALONE
    assert sorted(set(NAMES) - set(ALONE)) == ["a2-ensemble7", "a3-ensemble3"]


@pytest.mark.parametrize("name", ALONE)
def test_a_seed_recipe_holds_what_is_particular_to_it(name: str) -> None:
    recipe = load_recipe(name)
    assert [network(recipe), top(recipe), stages(recipe)] == table(NETS)[name]
    assert [steps(recipe), care(recipe), augmentation(recipe)] == table(CARE)[name]


@pytest.mark.parametrize("name", ALONE)
def test_a_seed_recipe_has_none_of_what_the_reports_did_not_use(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.model.drop_path == 0
    assert recipe.predict.views == ("flips+shifts" if name == "a3-tta" else 1)
    if not solved(recipe):
        train = recipe.train
        assert (train.optimizer, train.ema, train.label_smoothing, train.weight_decay) == ("adam", 0, 0, 0)
        assert train.monitor == "val_accuracy"
        last = train.settings(train.stages[-1])
        assert last.lr == last.head_lr, "the reports have one rate for all that trains"


@pytest.mark.parametrize("tiny", [False, True], ids=["full", "tiny"])
@pytest.mark.parametrize("name", NAMES)
def test_a_seed_recipe_is_valid_and_comes_back_from_its_own_text(name: str, tiny: bool) -> None:
    recipe = load_recipe(name, tiny=tiny)
    assert recipe.name == name
    assert parse_recipe(recipe.to_toml(), source=name) == recipe


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_recipe_opens_with_its_command_and_what_the_report_found(name: str) -> None:
    text = seed_recipes()[name]
    header = text.split(f'\nname = "{name}"\n')[0]
    assert f"# budwood {'sweep' if name in SWEEPS else 'fit'} PHOTOS --recipe {name}\n" in header
    assert reported_figure(text)
    kind = "# Not comparable: " if name[:2] in ("a1", "a4") else "# Comparable: "
    for part in (f"# Report {name[:2].upper()}", kind, "# Differs: ", "Run time"):
        assert part in header
    recipe = load_recipe(name)
    assert ("Weights: " in header) == recipe.model.starts_trained
    assert recipe.description.startswith(f"{name[:2].upper()}: ")
    assert recipe.description.endswith("as a sweep") == (name in SWEEPS)


def test_the_document_lists_every_seed_recipe_with_what_was_reported() -> None:
    document = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")
    for name, text in seed_recipes().items():
        assert re.search(rf"^\| `{name}` \|.*\| {re.escape(reported_figure(text))} \|", document, re.MULTILINE), name


def test_the_command_lists_every_seed_recipe_with_what_was_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["recipes"]) == 0
    shown = [[cell.strip() for cell in line.split("│")] for line in capsys.readouterr().out.splitlines()]
    listed = {cells[1]: cells[3] for cells in shown if len(cells) == 5}
    assert listed == {name: reported_figure(text) for name, text in seed_recipes().items()}


def solved(recipe: Recipe) -> bool:
    """Whether the recipe is a solved head and nothing else."""
    only, *more = recipe.train.stages
    return not more and only.is_head and only.solve is None and not recipe.model.top


def network(recipe: Recipe) -> str:
    model = recipe.model
    words = [model.backbone, str(model.size), "" if model.pretrained else "new"]
    words += ["flatten"] if model.pool == "flatten" else []
    words += [f"input dropout {model.input_dropout}"] if model.input_dropout else []
    return " ".join(filter(None, words))


def top(recipe: Recipe) -> str:
    return "-".join(layer.removeprefix("dense ") for layer in recipe.model.top)


def stages(recipe: Recipe) -> str:
    if solved(recipe):
        return "head solved"
    words = []
    for stage in recipe.train.stages:
        rate = f"{recipe.train.settings(stage).head_lr:.0e}".replace("e-0", "e-")
        batch = f" b{stage.batch_size}" if stage.batch_size else ""
        words.append(f"{stage.frozen or stage.trains} {stage.epochs} {rate}{batch}")
    return ", ".join(words)


def steps(recipe: Recipe) -> str:
    if solved(recipe):
        return ""
    train, schedule = recipe.train, recipe.train.schedule
    per = " per epoch" if schedule.per == "epoch" else ""
    return f"b{train.batch_size} p{train.patience} {schedule.kind}{per}"


def care(recipe: Recipe) -> str:
    balance, exclude = recipe.balance, recipe.clean.exclude
    words = [] if balance.method == "none" else [f"{balance.method} {balance.strength}"]
    return " ".join([*words, *(["cleaned"] if exclude == ("strong_shadow", "outlier") else exclude)])


def augmentation(recipe: Recipe) -> str:
    spec = recipe.augment
    assert spec.rotation != "auto"
    words = {
        "turns 180": spec.rotation == 180,
        "turns 30-40": 30 <= spec.rotation <= 40,
        "turns 15": spec.rotation == 15,
        spec.flip: spec.flip != "none",
        "shift": spec.shift == 0.1,
        "contrast": spec.contrast > 0,
        "mixes": min(spec.cutmix, spec.mixup, spec.gridmask, spec.grayscale) > 0,
    }
    return " ".join(word for word, there in words.items() if there)
