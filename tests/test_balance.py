"""`compare_balance`: fair arms, honest words, nothing from the test part; and `balance` in a training for real."""

from __future__ import annotations

import builtins
import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from budwood.allowed_views import Views, choose_views
from budwood.augment.balance import BalanceSpec
from budwood.balance import ARMS, DEFAULT_ARMS, _Bench, compare_balance, contact_sheet
from budwood.data.audit import AuditResult
from budwood.data.loader import PixelSet
from budwood.data.scan import scan
from budwood.data.split import split
from budwood.data.store import PictureStore
from budwood.errors import UsageError
from budwood.evaluation.arms import Answered, compare_arms
from budwood.evaluation.predictions import Predictions
from budwood.events import Scored, Warned, silent
from budwood.models.build import open_backbone, store_side
from budwood.prepare import Dataset, open_pixels, part_of, working_preprocess
from budwood.recipe import load_recipe
from budwood.train.device import Device
from budwood.train.features import FeatureSource
from budwood.train.more_views import ViewMaker, augmented_pixels
from budwood.training import Trainer


@pytest.fixture(scope="module")
def bench(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, PixelSet, PixelSet]:
    """A trainer on three species, one of them rare, with an untrained network; its training and test parts."""
    root = Path(shutil.copytree(photos, tmp_path_factory.mktemp("uneven") / "photos"))
    rare = sorted(root.iterdir())[0]
    for path in sorted(rare.iterdir())[5:]:
        path.unlink()
    recipe = load_recipe("probe", tiny=True)
    backbone = open_backbone(recipe.model)
    store = PictureStore(tmp_path_factory.mktemp("store"), side=store_side(recipe.model, backbone.preprocess))
    catalog = scan(root, store=store)
    dataset = Dataset(scanned=catalog, catalog=catalog, store=store, audit=AuditResult(findings=(), groups=()))
    preprocess = working_preprocess(dataset, recipe, backbone)
    pixels = open_pixels(dataset, preprocess, listen=silent)
    parts = {part: part_of(pixels, rows) for part, rows in split(catalog, groups=()).parts.items()}
    source = FeatureSource(
        module=backbone.module,
        num_features=backbone.num_features,
        preprocess=preprocess,
        identity="untrained for balance",
        bf16=False,
    )
    found = choose_views(recipe, dataset, parts["train"], source, listen=silent)
    views: Views = replace(found, predict=(*found.train, 2, 6))  # as if turns were harmless
    trainer = Trainer(
        recipe=recipe, dataset=dataset, backbone=backbone, source=source, views=views, device=Device(), listen=silent
    )
    return trainer, parts["train"], parts["test"]


def test_every_arm_answers_the_same_pictures_and_none_of_the_test_part(
    bench: tuple[Trainer, PixelSet, PixelSet],
) -> None:
    pytest.importorskip("imblearn")
    trainer, train, test = bench
    events: list[object] = []
    found = compare_balance(trainer, train, arms=tuple(ARMS), listen=events.append)
    assert [arm.name for arm in found.arms] == list(ARMS)
    assert found.skipped == ()
    assert found.rarest == found.classes[0]
    assert sum(found.counts) == len(train)
    assert {arm.metrics.num_pictures for arm in found.arms} == {len(train)}
    assert {arm.penalty for arm in found.arms} <= set(found.penalties)
    assert found.arms[0].difference is None
    assert all(arm.difference is not None for arm in found.arms[1:])
    scored = [event for event in events if isinstance(event, Scored) and event.step == "balance"]
    assert len(scored) == len(ARMS)
    json.dumps(found.to_dict(), allow_nan=False)
    assert len(test)  # there is one, and no picture of it was asked about
    with Image.open(io.BytesIO(found.sheet or b"")) as sheet:
        assert sheet.width > 32


def test_smote_without_imbalanced_learn_is_skipped_and_said_so(
    bench: tuple[Trainer, PixelSet, PixelSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "imblearn":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.split(".")[0] == "imblearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    trainer, train, _ = bench
    found = compare_balance(trainer, train, arms=("smote", "smote_pixels", "class_weights"))
    assert [arm.name for arm in found.arms] == ["none", "class_weights"]
    assert [each.name for each in found.skipped] == ["smote", "smote_pixels"]
    assert "smote: not tried: SMOTE needs imbalanced-learn" in found.to_text()
    assert found.sheet is None


def test_an_unknown_arm_is_named_with_the_known_ones(bench: tuple[Trainer, PixelSet, PixelSet]) -> None:
    with pytest.raises(UsageError, match=r"no arm 'magic'.*class_weights"):
        compare_balance(bench[0], bench[1], arms=("magic",))  # type: ignore[arg-type]


def test_pixel_smote_is_only_made_on_request() -> None:
    assert "smote_pixels" not in DEFAULT_ARMS
    assert set(DEFAULT_ARMS) | {"smote_pixels"} == set(ARMS)


def test_pictures_by_smote_hold_nothing_of_what_a_fold_holds_out(bench: tuple[Trainer, PixelSet, PixelSet]) -> None:
    pytest.importorskip("imblearn")
    trainer, train, _ = bench
    trial = _Bench.set_up(trainer, train, strength=1.0, listen=silent)
    last = len(trial.heads.kept) - 1
    head = max(range(last), key=lambda f: int(trial.heads.counts(f)[0]))  # of the rare class it keeps two
    pixels = train.pixels.copy()
    pixels[train.rows[~trial.heads.kept[head]]] = 0
    dark = replace(trial, part=replace(train, pixels=pixels))
    assert len(trial.ghosts(head, 0)) > 0
    np.testing.assert_array_equal(dark.ghosts(head, 0), trial.ghosts(head, 0))
    assert (dark.ghosts(last, 0) != trial.ghosts(last, 0)).any()


def test_two_comparisons_are_equal(bench: tuple[Trainer, PixelSet, PixelSet]) -> None:
    trainer, train, _ = bench
    arms = ("weighted_sampler", "oversampling", "class_augmentation")
    first, second = (compare_balance(trainer, train, arms=arms) for _ in range(2))
    assert first == second


def test_strength_zero_changes_nothing(bench: tuple[Trainer, PixelSet, PixelSet]) -> None:
    trainer, train, _ = bench
    found = compare_balance(trainer, train, arms=("class_weights", "logit_adjustment"), strength=0)
    for arm in found.arms[1:]:
        assert arm.difference is not None
        assert arm.difference.accuracy.disagreements == 0


def test_a_balanced_training_ships_the_head_that_was_compared(bench: tuple[Trainer, PixelSet, PixelSet]) -> None:
    trainer, train, test = bench
    plain, weighed = (
        replace(trainer, balance=BalanceSpec(method=method)).train(train, test)
        for method in ("none", "logit_adjustment")
    )
    assert plain.head is not None
    assert weighed.head is not None
    compared = compare_balance(trainer, train, arms=("logit_adjustment",))
    assert weighed.head.selection_accuracy == compared.arms[1].metrics.accuracy.value
    shift = (weighed.model.head.bias - plain.model.head.bias).detach().numpy()
    shares = np.bincount(train.labels) / len(train)
    np.testing.assert_allclose(shift, -np.log(shares), atol=1e-5)


@pytest.mark.parametrize("method", ["class_weights", "class_augmentation", "weighted_sampler"])
def test_refit_balances_too(method: Any, bench: tuple[Trainer, PixelSet, PixelSet]) -> None:
    trainer, train, test = bench
    balanced = replace(trainer, balance=BalanceSpec(method=method))
    scored = balanced.train(train, test)
    again = balanced.refit(train, scored)  # the same pictures: it has to give the same head
    np.testing.assert_allclose(
        again.model.head.weight.detach().numpy(), scored.model.head.weight.detach().numpy(), atol=1e-4
    )
    plain = trainer.refit(train, scored)
    assert (plain.model.head.weight != again.model.head.weight).any()


@pytest.mark.parametrize(("method", "warned"), [("smote", True), ("class_weights", False)])
def test_gradient_steps_with_smote_are_warned_of(
    method: str, warned: bool, bench: tuple[Trainer, PixelSet, PixelSet]
) -> None:
    events: list[object] = []
    staged = replace(
        bench[0], recipe=load_recipe("transfer", tiny=True), balance=BalanceSpec(method=method), listen=events.append
    )
    staged.warn_of_balance()
    assert any(isinstance(e, Warned) and "for a head that is solved" in e.text for e in events) == warned


def test_further_views_are_new_pictures_drawn_per_picture(bench: tuple[Trainer, PixelSet, PixelSet]) -> None:
    trainer, train, _ = bench
    maker = ViewMaker(source=trainer.source, flips=(), augment=trainer.views.augment, seed=0)
    pixels, digests = train.pixels[train.rows], [f"digest {i}" for i in range(len(train))]
    together, names = augmented_pixels(maker, pixels, digests, draw=3)
    alone, own = augmented_pixels(maker, pixels[4:5], digests[4:5], draw=3)
    np.testing.assert_array_equal(together[4], alone[0])
    assert names[4] == own[0]
    other, others = augmented_pixels(maker, pixels, digests, draw=4)
    assert not set(names) & set(others)
    assert (other != together).mean() > 0.5
    features = trainer.frozen.more_views(train)(np.array([1, 2]), 5)
    assert features.shape == (5, 2, trainer.source.num_features)
    assert len(np.unique(features[:, 0], axis=0)) == 5


def answers(name: str, right: list[int], *, targets: np.ndarray) -> Answered:
    """An arm that names the first ``right[k]`` pictures of class k right and takes the others for the next class."""
    said = (targets + 1) % 3
    for k, number in enumerate(right):
        own = np.flatnonzero(targets == k)[:number]
        said[own] = k
    probs = np.full((len(targets), 3), 0.1, dtype=np.float32)
    probs[np.arange(len(targets)), said] = 0.8
    paths = tuple(f"p{i}" for i in range(len(targets)))
    made = Predictions(probs=probs, targets=targets, paths=paths, classes=("common", "usual", "rare"))
    return Answered(name=name, words="words", predictions=made, penalty=0.1)


def compared(*arms: Answered) -> Any:
    return compare_arms(arms, num_folds=5, num_views=1, strength=1.0, penalties=(0.1,), seed=0)


def test_better_worse_and_cannot_tell_are_said_of_the_right_scores() -> None:
    targets = np.repeat([0, 1, 2], [400, 300, 60])
    found = compared(
        answers("none", [360, 270, 20], targets=targets),
        answers("rescues the rare", [330, 270, 50], targets=targets),
        answers("one more", [361, 270, 20], targets=targets),
    )
    assert found.rarest == "rare"
    rescues, more = found.sentences()
    assert rescues.startswith("rescues the rare: macro F1 +")
    assert "recall of rare +0.500" in rescues
    assert "): better; accuracy" in rescues
    assert "accuracy +0.000" in rescues
    assert more.count("cannot tell") == 4


def test_intervals_widen_with_the_number_of_arms() -> None:
    targets = np.repeat([0, 1, 2], [400, 300, 60])
    arms = [answers(f"arm {i}", [360 - i, 270, 20 + i], targets=targets) for i in range(6)]
    few, many = compared(*arms[:2]), compared(*arms)
    assert few.level == pytest.approx(0.95)
    assert many.level == pytest.approx(0.99)
    assert many.arms[1].difference.macro_f1.interval.width > few.arms[1].difference.macro_f1.interval.width


def test_text_holds_every_class_with_its_count_and_every_arm() -> None:
    targets = np.repeat([0, 1, 2], [40, 30, 6])
    text = compared(
        answers("none", [36, 27, 2], targets=targets), answers("other", [30, 27, 5], targets=targets)
    ).to_text()
    for words in ("common (40)", "usual (30)", "rare (6)", "other", "No test picture was used"):
        assert words in text


def test_a_contact_sheet_shows_every_picture() -> None:
    pictures = np.stack([np.full((8, 8, 3), 20 * i, dtype=np.uint8) for i in range(5)])
    with Image.open(io.BytesIO(contact_sheet(pictures, columns=3, side=8))) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (20, 32, 3)
    assert [int(pixels[i // 3 * 12, i % 3 * 12, 0]) for i in range(5)] == [0, 20, 40, 60, 80]
    assert contact_sheet(np.empty((0, 8, 8, 3), np.uint8), columns=3, side=8)
