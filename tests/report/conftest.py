"""A believable run to render: made-up leaves, a model that confuses two of them, nothing left out."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from budwood.evaluation.calibrate import fit_calibration
from budwood.evaluation.calibration_score import calibration_scores
from budwood.evaluation.controls import CONTROLS, judge_controls
from budwood.evaluation.intervals import wilson
from budwood.evaluation.metrics import Estimate, Metrics, summarise
from budwood.evaluation.predictions import Predictions
from budwood.report.data import (
    Baseline,
    ClassSummary,
    Command,
    CrossValidation,
    DatasetSummary,
    FindingGroup,
    Judged,
    ModelCard,
    Picture,
    ReportData,
    Result,
    SelectionScore,
    SplitSummary,
    Step,
)
from budwood.report.judging_view import JudgingView, judging_view
from budwood.report.schedule_plot import planned_rates
from budwood.report.training_data import (
    CacheRow,
    Curves,
    HeadSelection,
    PlanRow,
    Saying,
    StageSpan,
    TrainingView,
)
from budwood.report.why_view import Map, MappedPicture, WhyView
from budwood.train.history import EpochRow
from budwood.train.schedules import ScheduleSpec

LEAVES = ("acer_fictum", "betula_ficta", "fagus_ficta", "populus_ficta", "quercus_ficta", "tilia_ficta")


@pytest.fixture(autouse=True, scope="module")
def plots(real_plots: None) -> None:
    """These tests look at plots."""


def draw_leaf(kind: int, seed: int, *, side: int = 144) -> bytes:
    """JPEG bytes of a gradient with a leaf-like blot, different for each kind and seed."""
    random = np.random.default_rng([kind, seed])
    light = np.linspace(150 + random.integers(60), 205, side)
    ground = np.stack([light * s for s in random.uniform(0.9, 1.0, 3)], axis=-1)[:, None, :].repeat(side, axis=1)
    ground += random.normal(0, 4, ground.shape)
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    angles = np.linspace(0, 2 * np.pi, 90) + random.uniform(0, 6)
    waves = 1 + 0.28 * np.cos((kind + 2) * (angles - angles[0])) + random.normal(0, 0.01, 90)
    radius = side * random.uniform(0.24, 0.33) * waves
    centre = side / 2 + random.uniform(-9, 9, 2)
    colour = tuple(int(c) for c in (50 + 14 * kind, 105 + random.integers(40), 40 + random.integers(25)))
    points = zip(centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles), strict=True)
    draw.polygon([(float(x), float(y)) for x, y in points], fill=colour)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return out.getvalue()


def draw_predictions(classes: tuple[str, ...], *, per_class: int = 12, seed: int = 3) -> Predictions:
    """Predictions that are mostly right; the first class is often taken for the last but one."""
    random = np.random.default_rng(seed)
    num_classes = len(classes)
    targets = np.repeat(np.arange(num_classes), per_class)
    logits = random.normal(0, 1.0, (len(targets), num_classes))
    logits[np.arange(len(targets)), targets] += 3.2
    logits[targets == 0, max(num_classes - 2, 0)] += 2.2
    probs = np.exp(logits)
    probs /= probs.sum(axis=1, keepdims=True)
    paths = tuple(f"{classes[t]}/IMG_{4100 + i}.jpg" for i, t in enumerate(targets))
    return Predictions(probs=probs.astype(np.float32), targets=targets.astype(np.int64), paths=paths, classes=classes)


@pytest.fixture(scope="session")
def make_metrics() -> Callable[..., Metrics]:
    """Metrics of made-up predictions for as many classes as asked for."""

    def make(num_classes: int, *, per_class: int = 6) -> Metrics:
        classes = tuple(f"class_{k:03d}_{'longer_name' if k % 7 == 3 else 'x'}" for k in range(num_classes))
        return summarise(draw_predictions(classes, per_class=per_class), resamples=50)

    return make


@pytest.fixture(scope="session")
def make_report() -> Callable[..., ReportData]:
    """A whole `ReportData`; ``classes`` gives other names, ``pictures=False`` leaves the thumbnails out."""

    def make(classes: tuple[str, ...] = LEAVES, *, pictures: bool = True, title: str = "leaves-2024") -> ReportData:
        def picture(kind: int, number: int) -> Picture:
            image = draw_leaf(kind, number) if pictures else None
            return Picture(path=f"{classes[kind]}/IMG_{number:04d}.jpg", image=image, label=classes[kind])

        return _report(classes, picture, title)

    return make


@pytest.fixture(scope="session")
def make_answers() -> Callable[..., Predictions]:
    """Answers that are mostly right, for the classes that are asked for."""
    return draw_predictions


@pytest.fixture(scope="session")
def make_judging_metrics() -> Callable[[Predictions], dict[str, Any]]:
    """What metrics.json says of answers beyond their scores."""
    return judging_metrics


@pytest.fixture(scope="session")
def leaf() -> bytes:
    """A small JPEG."""
    return draw_leaf(0, 1)


def _judged(predictions: Predictions, picture: Callable[[int, int], Picture], *, right: bool) -> tuple[Judged, ...]:
    assert predictions.targets is not None
    rows = np.flatnonzero((predictions.predicted == predictions.targets) == right)
    rows = rows[np.argsort(predictions.probs[rows].max(axis=1) * (1 if right else -1))][:16]
    return tuple(
        Judged(
            picture=picture(int(predictions.targets[i]), 4100 + int(i)),
            true=predictions.classes[int(predictions.targets[i])],
            top=tuple(
                (predictions.classes[k], float(predictions.probs[i, k])) for k in np.argsort(-predictions.probs[i])[:3]
            ),
        )
        for i in rows
    )


@pytest.fixture
def make_row() -> Callable[..., EpochRow]:
    """One epoch in which everything was measured; keywords change it."""
    return _row


def _row(epoch: int, **changes: float | str | bool) -> EpochRow:
    usual = {
        "stage": "fine-tuning of the last 2 blocks" if epoch <= 12 else "fine-tuning of the whole network",
        "lr": 3e-4 * (1 + np.cos(np.pi * (epoch - 1) % 12 / 12)) / 2,
        "loss": 1.4 * 0.85**epoch + 0.5,
        "accuracy": 0.86 - 0.4 * 0.8**epoch,
        "train_loss": 1.2 * 0.82**epoch + 0.15,
        "train_accuracy": 0.97 - 0.3 * 0.75**epoch,
        "val_loss": 1.1 * 0.8**epoch + 0.33,
        "val_accuracy": 0.93 - 0.25 * 0.75**epoch,
        "seconds": 2.0,
        "images_per_second": 50.0,
        "best": True,
    }
    return EpochRow(epoch=epoch, **{**usual, **changes})


def _training() -> TrainingView:
    curve = planned_rates(ScheduleSpec(), label="fine-tuning", base=3e-4, num_epochs=12, steps_per_epoch=10)
    return TrainingView(
        plan=(
            PlanRow(title="Head on frozen features", trains="the head", parameters="10,248 of 3.38 million (0.3 %)"),
            PlanRow(
                title="Fine-tuning of the last 2 blocks",
                trains="2 of 17 blocks and the head: blocks.5.3 to blocks.6.0",
                parameters="1.2 of 3.38 million (36 %)",
                epochs="12 of 12; kept: epoch 9",
                optimizer="adamw",
                rates="0.0003; head 0.003",
                schedule="cosine",
                planned=curve,
                batch_size="32",
                augment="rotation 20",
            ),
        ),
        phases=(
            HeadSelection(
                title="Choosing the head",
                penalties=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
                accuracies=(0.842, 0.851, 0.868, 0.884, 0.891, 0.889, 0.872, 0.831),
                deviations=(0.03, 0.028, 0.025, 0.021, 0.02, 0.022, 0.027, 0.034),
                chosen=4,
                num_folds=5,
                note="Features of 6 fixed views, computed once.",
            ),
            Curves(
                title="Epoch by epoch",
                rows=tuple(_row(epoch) for epoch in range(1, 17)),
                stages=(
                    StageSpan(number=2, title="Fine-tuning of the last 2 blocks", first=1, last=12, best=9),
                    StageSpan(number=3, title="Fine-tuning of the whole network", first=13, last=16, best=16),
                ),
                num_validation=72,
                note="The loss while training is on mixed pictures.",
            ),
        ),
        says=(
            Saying(mark="!", word="overfitting", severity="warning", text="After epoch 9 the validation loss rose."),
            Saying(mark="≈", word="noise", text="Late epochs differ by 1.2 points."),
        ),
        caches=(
            CacheRow(
                stage="Fine-tuning of the last 2 blocks",
                kept=True,
                reason="12 epochs, 8 views.",
                predicted=2.31,
                real=2.05,
                num_bytes=132_000_000,
                seconds=75,
            ),
            CacheRow(stage="Fine-tuning of the whole network", kept=False, reason="Nothing is frozen."),
        ),
    )


def judging_metrics(answers: Predictions) -> dict[str, Any]:
    """What metrics.json says of these answers beyond their scores."""
    calibration = fit_calibration(draw_predictions(answers.classes, seed=8), fitted_on="the validation part")
    difference = {"value": 0.014, "interval": {"low": -0.02, "high": 0.05}, "verdict": "cannot tell"}
    words = "8 views of each picture against one: +1.4 points (-2.0 to +5.0), cannot tell; 7.9 times the time"
    tta = {"views": 8, "one_view": 0.88, "all_views": 0.9, "difference": difference, "cost": 7.9, "words": words}
    looks = (
        "this test part has been looked at 3 times; the best of several looks is optimistic, here by up to 2.1 points"
    )
    found = calibration_scores(calibration, answers)
    return {"calibration": found, "tta": tta, "test_looks": 1, "looks": looks}


def _judging(answers: Predictions) -> JudgingView:
    return judging_view(judging_metrics(answers), answers)


def _why(answers: Predictions, picture: Callable[[int, int], Picture]) -> WhyView:
    controls = judge_controls(answers, [(control, answers) for control in CONTROLS[1:2]], part="validation")

    def mapped(row: int) -> MappedPicture:
        assert answers.targets is not None
        shown = picture(int(answers.targets[row]), row)
        top = tuple(
            (answers.classes[int(k)], float(answers.probs[row, k])) for k in np.argsort(-answers.probs[row])[:3]
        )
        maps = tuple(Map(label=name, image=shown.image) for name, _ in top[:2])
        true = answers.classes[int(answers.targets[row])]
        return MappedPicture(path=shown.path, picture=shown.image, maps=maps, top=top, true=true, note="Torn.")

    return WhyView(
        controls=controls, wrong=tuple(mapped(i) for i in range(8)), right=tuple(mapped(i) for i in (9, 20)), places=5
    )


def _report(classes: tuple[str, ...], picture: Callable[[int, int], Picture], title: str) -> ReportData:
    predictions = draw_predictions(classes)
    metrics = summarise(predictions)
    num_classes, tested = len(classes), len(predictions)
    many = 80 * num_classes
    majority = Estimate(value=12 / tested, interval=wilson(12, tested))
    return ReportData(
        title=title,
        recipe="quick",
        command="budwood fit leaves-2024 --recipe quick --seed 0",
        seed=0,
        when="2025-11-21 06:40",
        version="0.1.0",
        machine=(
            ("processor", "AMD EPYC 7B13, 2 threads"),
            ("bfloat16", "no (0.6 x the speed of float32 when probed)"),
            ("precision", "float32"),
            ("torch", "2.15.0, torchvision 0.29.2"),
        ),
        total_seconds=47.3,
        steps=(
            Step(name="scan", seconds=2.9, note="166 images/s"),
            Step(name="audit", seconds=6.4, note="41 near-duplicates"),
            Step(name="split", seconds=0.1),
            Step(name="features", seconds=0.2, note="2,880 views", cached=True),
            Step(name="head", seconds=3.2, note="8 penalties x 5 folds"),
            Step(name="fine-tuning", seconds=28.7, note="52 images/s"),
            Step(name="evaluate", seconds=4.1, note="8 views a picture"),
            Step(name="report", seconds=1.7),
        ),
        dataset=DatasetSummary(
            num_pictures=many,
            classes=tuple(
                ClassSummary(
                    name=name,
                    counts=(52 - 5 * (k % 4), 14 - k % 3, 12),
                    examples=tuple(picture(k, n) for n in range(5)),
                )
                for k, name in enumerate(classes)
            ),
            parts=("train", "val", "test"),
            sizes="Most are 1024 × 768 px; the smallest is 320 × 240, the largest 4032 × 3024.",
            ignored=("notes.txt: not a picture", "__MACOSX/: made by an archiver", ".DS_Store: hidden"),
        ),
        findings=(
            FindingGroup(
                check="near_duplicate",
                severity="warning",
                evidence="40 pictures differ from another one only by a crop, a turn or compression.",
                sets=tuple(tuple(picture(k % num_classes, 50 + k) for _ in range(2 + k % 2)) for k in range(10)),
                total=18,
            ),
            FindingGroup(
                check="label_conflict",
                severity="error",
                evidence="The same picture is filed under two classes; one of them is wrong.",
                pictures=(picture(0, 77), picture(num_classes - 1, 77)),
                total=2,
            ),
            FindingGroup(
                check="blurred",
                severity="info",
                evidence="14 pictures are much less sharp than the others of their class.",
                pictures=tuple(picture(k % num_classes, 30 + k) for k in range(14)),
                total=14,
            ),
            FindingGroup(check="too_dark", severity="info", evidence="One picture is almost black."),
        ),
        orientation="They have no preferred orientation, so quarter turns and flips were used to augment.",
        split=SplitSummary(
            counts=(("train", many - 2 * tested), ("val", tested), ("test", tested)),
            num_groups=17,
            num_grouped_pictures=43,
            examples=tuple(tuple(picture(k, 90 + k) for _ in range(2 + k % 2)) for k in range(min(3, num_classes))),
        ),
        training=_training(),
        model=ModelCard(
            backbone="efficientnet_lite0",
            input_size=224,
            num_parameters=3_379_142,
            num_views=8,
            size_reason="the size that its weights were trained at",
            weights_source="packaged with Budwood (ImageNet-1k)",
            weights_sha256="9f" * 32,
        ),
        result=Result(
            metrics=metrics,
            predictions=predictions,
            selection=(SelectionScore(name="head", value=0.891, deviation=0.02),),
            baselines=(
                Baseline(name="commonest class", accuracy=majority, sentence="the same answer for every picture."),
                Baseline(
                    name="blank picture",
                    accuracy=majority,
                    sentence="the same model, shown zeros instead of the pictures; more would mean a leak.",
                ),
            ),
            refit=True,
            cross_validation=CrossValidation(
                fold_accuracies=(0.88, 0.91, 0.9, 0.87, 0.92),
                pooled=Estimate(value=0.896, interval=wilson(430, 480)),
            ),
        ),
        mistakes=_judged(predictions, picture, right=False),
        unsure=_judged(predictions, picture, right=True)[:4],
        judging=_judging(predictions),
        why=_why(predictions, picture),
        warnings=("betula_ficta has only 12 test pictures: its own scores are rough.",),
        next_commands=(
            Command(purpose="Name new pictures", line="budwood predict runs/latest/bundle new-photos/"),
            Command(purpose="Look at the findings and decide", line="budwood review leaves-2024"),
            Command(purpose="Serve it in the browser", line="budwood serve runs/latest/bundle"),
        ),
    )
