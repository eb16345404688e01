"""`compare_balance`: is any way of balancing the classes better than none on these pictures? On frozen features.

Every arm is the same linear head, cross-validated on the part that it is handed: the same features, folds and
penalties. The head is a convex problem solved from zero, so the start decides nothing: there is one best head for each
arm. Fine-tuning is not compared here, and the test part never comes in.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from budwood import cache
from budwood.augment.balance import BalanceSpec, check_smote, smote, wanted_counts
from budwood.data.loader import PixelSet
from budwood.data.store import pixel_digest
from budwood.errors import UsageError
from budwood.evaluation.arms import Answered, BalanceComparison, Skipped, compare_arms
from budwood.evaluation.metrics import macro_f1
from budwood.evaluation.predictions import Predictions
from budwood.events import Listener, Scored, StepAdvanced, StepFinished, StepStarted, silent
from budwood.prepare import head_folds
from budwood.train.balanced_heads import Heads, MoreViews, effective_numbers, synthetic_rows, weighing
from budwood.train.features import FeatureCache, frozen_features
from budwood.train.heads import Weighing, choose_head
from budwood.training import Trainer

ArmName = Literal[
    "none",
    "class_weights",
    "effective_numbers",
    "weighted_sampler",
    "oversampling",
    "class_augmentation",
    "smote",
    "logit_adjustment",
    "smote_pixels",
]
ARMS: dict[ArmName, str] = {
    "none": "every picture once",
    "class_weights": "pictures count by the inverse frequency of their class",
    "effective_numbers": "by the effective number of pictures (Cui 2019)",
    "weighted_sampler": "pictures drawn with replacement, classes equally often",
    "oversampling": "pictures of rare classes repeated",
    "class_augmentation": "rare classes in more, distinct views",
    "smote": "features between neighbours of a rare class added",
    "logit_adjustment": "answers shifted by the log of the class's share",
    "smote_pixels": "pictures between neighbours of a rare class added: double exposures",
}
# smote_pixels only on request: it is slow, and its pictures are no pictures
DEFAULT_ARMS: tuple[ArmName, ...] = tuple(name for name in ARMS if name != "smote_pixels")
_SHEET_PICTURES, _SHEET_COLUMNS, _SHEET_SIDE = 16, 8, 96
_STEP = "balance"


def compare_balance(
    trainer: Trainer,
    part: PixelSet,
    *,
    arms: Sequence[ArmName] = DEFAULT_ARMS,
    strength: float = 1.0,
    listen: Listener = silent,
) -> BalanceComparison:
    """Cross-validate each arm on ``part`` and compare it with "none".

    Args:
        trainer: recipe, features and views of the run.
        part: the training part, or train and val together; never the test part.
        arms: which to try; "none" is always the first. SMOTE is skipped, and said so, without imbalanced-learn.
        strength: exponent of the inverse frequency, 0-1.
        listen: hears of the step ``balance``, and of features that are computed for it.

    Raises:
        UsageError: there is no such arm. SplitError: the part is too small to be cross-validated.
    """
    unknown = [name for name in arms if name not in ARMS]
    if unknown:
        raise UsageError(f"there is no arm {unknown[0]!r} to compare; the arms are {', '.join(ARMS)}")
    started = time.perf_counter()
    trainer = replace(trainer, listen=listen)
    chosen: tuple[ArmName, ...] = ("none", *(name for name in dict.fromkeys(arms) if name != "none"))
    bench = _Bench.set_up(trainer, part, strength=strength, listen=listen)
    listen(StepStarted(step=_STEP, total=len(chosen), unit="arms"))
    answered: list[Answered] = []
    skipped: list[Skipped] = []
    best = 0.0
    for name in chosen:
        try:
            answered.append(bench.answer(name))
        except UsageError as error:
            skipped.append(Skipped(name=name, reason=str(error)))
        else:
            value = macro_f1(answered[-1].predictions)
            best = max(best, value)
            listen(Scored(step=_STEP, name=f"macro F1 of {name}", value=value, best=best))
        listen(StepAdvanced(step=_STEP))
    found = compare_arms(
        answered,
        num_folds=len(bench.heads.kept) - 1,
        num_views=len(bench.heads.features),
        strength=strength,
        penalties=trainer.recipe.head.penalties,
        seed=trainer.recipe.seed,
        skipped=skipped,
        sheet=bench.sheet() if any(each.name == "smote_pixels" for each in answered) else None,
    )
    note = f"{len(answered)} arms" + (f", {len(skipped)} not tried" if skipped else "")
    listen(StepFinished(step=_STEP, seconds=time.perf_counter() - started, note=note))
    return found


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What all arms share."""

    trainer: Trainer
    part: PixelSet
    folds: NDArray[np.int64]
    heads: Heads
    more_views: MoreViews
    strength: float
    listen: Listener

    @classmethod
    def set_up(cls, trainer: Trainer, part: PixelSet, *, strength: float, listen: Listener) -> _Bench:
        """Features and folds, exactly as the head of `fit` has them."""
        features = trainer.frozen.features(part)
        folds = head_folds(trainer.dataset, part, num_folds=trainer.recipe.head.folds, seed=trainer.recipe.seed)
        return cls(
            trainer=trainer,
            part=part,
            folds=folds,
            heads=trainer.frozen.heads(part, features, folds),
            more_views=trainer.frozen.more_views(part),
            strength=strength,
            listen=listen,
        )

    def answer(self, name: ArmName) -> Answered:
        """Out-of-fold answers of one arm."""
        classes = self.trainer.dataset.catalog.classes
        result = choose_head(
            self.heads.features,
            self.heads.targets,
            self.folds,
            num_classes=len(classes),
            spec=self.trainer.recipe.head,
            weighing=self._weighing(name),
        )
        predictions = Predictions(
            probs=result.out_of_fold,
            targets=self.heads.targets,
            paths=tuple(self.part.paths[int(i)] for i in self.part.rows),
            classes=classes,
        )
        words = ARMS[name]
        return Answered(
            name=name, words=words, predictions=predictions, penalty=result.penalty, converged=result.converged
        )

    def _weighing(self, name: ArmName) -> Weighing | None:
        if name == "effective_numbers":
            return effective_numbers(self.heads)
        if name == "smote_pixels":
            check_smote()
            return synthetic_rows(self.heads, self._pixel_rows)
        spec = BalanceSpec.model_validate({"method": name, "strength": self.strength})
        return weighing(spec, self.heads, more_views=self.more_views)

    def _pixel_rows(self, head: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features of pictures that SMOTE made of the raw pixels that a head may see, in all views."""
        views = self.trainer.views.train
        rows = [np.empty((0, self.heads.features.shape[-1]), dtype=np.float32)]
        labels = [np.empty(0, dtype=np.int64)]
        if head == len(self.heads.kept) - 1:  # the head on everything is nowhere shown
            return rows[0], labels[0]
        for k in range(self.heads.num_classes):
            pictures = self.ghosts(head, k)
            features = frozen_features(
                self.trainer.source,
                pictures,
                [pixel_digest(picture) for picture in pictures],
                views=views,
                cache=FeatureCache(cache.features_folder()),
                listen=self.listen,
                step="pictures by SMOTE",
            )
            rows.append(features.reshape(-1, features.shape[-1]))
            labels.append(np.full(len(views) * len(pictures), k, dtype=np.int64))
        return np.concatenate(rows), np.concatenate(labels)

    def ghosts(self, head: int, label: int) -> NDArray[np.uint8]:
        """Pictures ``[E, S, S, 3]`` of one class by SMOTE on the raw pixels that a head may see."""
        seen = np.flatnonzero(self.heads.kept[head] & (self.heads.targets == label))
        pixels = self.part.pixels[self.part.rows[seen]]
        wanted = np.zeros(self.heads.num_classes)
        wanted[label] = wanted_counts(self.heads.counts(head), strength=self.strength)[label]
        seed = int(self.heads.generator("smote_pixels", head).integers(2**31))
        flat = pixels.reshape(len(seen), -1).astype(np.float32)
        made, _ = smote(flat, np.full(len(seen), label), wanted=wanted, seed=seed)
        return np.clip(np.rint(made), 0, 255).astype(np.uint8).reshape(-1, *pixels.shape[1:])

    def sheet(self) -> bytes:
        """A PNG of some pictures that SMOTE made of the rarest class with more than one picture."""
        counts, everything = self.heads.counts(-1), len(self.heads.kept) - 1
        label = min((k for k in range(len(counts)) if counts[k] > 1), key=lambda k: int(counts[k]))
        return contact_sheet(self.ghosts(everything, label)[:_SHEET_PICTURES], columns=_SHEET_COLUMNS, side=_SHEET_SIDE)


def contact_sheet(pictures: NDArray[np.uint8], *, columns: int, side: int) -> bytes:
    """Pictures ``[N, S, S, 3]``, each at ``side`` x ``side``, next to each other on white: the bytes of a PNG."""
    from PIL import Image

    gap = 4
    columns = max(1, min(columns, len(pictures)))
    lines = max(1, -(-len(pictures) // columns))
    sheet = Image.new("RGB", (columns * (side + gap) - gap, lines * (side + gap) - gap), "white")
    for i, picture in enumerate(pictures):
        small = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
        sheet.paste(small, (i % columns * (side + gap), i // columns * (side + gap)))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
