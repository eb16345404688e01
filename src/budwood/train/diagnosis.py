"""What a training's curves say, in words: collapsed, overfitting, stopped too early, or differences that are noise.

Pure functions of the history and of the answers to the validation part. Thresholds are stated; none of them is a test
of anything, they only say where to look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from budwood.train.history import EpochRow, History

Kind = Literal["collapsed", "unanswered", "overfit", "underfit", "unfinished", "noise", "curves"]

_FEW = 10  # pictures, of which one answer for all says nothing
# One class gets nearly all answers, though it holds far fewer of the pictures.
_NEARLY_ALL, _FAR_FEWER = 0.95, 0.75
# Gap between training and validation accuracy, measured alike, beyond which the pictures are known by heart.
_GAP = 0.10
# A validation loss so far above its lowest says that going on did harm.
_RISE = 1.10
# Below this share of what lies between guessing and knowing, the training pictures themselves are not learnt.
_LEARNT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that the curves or the answers say, as a sentence with what to do about it."""

    kind: Kind
    text: str


def diagnose(
    history: History,
    predicted: NDArray[np.int64],
    targets: NDArray[np.int64],
    *,
    classes: Sequence[str],
) -> tuple[Diagnosis, ...]:
    """All that is worth saying about a training.

    Args:
        history: its epochs; may be empty where the head was solved.
        predicted, targets: ``[N]`` class indices of the validation part, by the weights that were kept.
        classes: names, K of them.
    """
    found = [*_answers(predicted, targets, classes)]
    rows = _last_stage(history)
    if rows and not math.isnan(rows[-1].val_loss):
        found += _curves(rows, targets, num_classes=len(classes))
    return tuple(found)


def _last_stage(history: History) -> tuple[EpochRow, ...]:
    """The epochs of the last stage, in which the weights were made that are kept."""
    rows = history.rows
    return tuple(row for row in rows if row.stage == rows[-1].stage) if rows else ()


def _answers(predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: Sequence[str]) -> list[Diagnosis]:
    if len(targets) < _FEW:
        return []
    given = np.bincount(predicted, minlength=len(classes))
    held = np.bincount(targets, minlength=len(classes))
    top = int(given.argmax())
    if given[top] >= _NEARLY_ALL * len(targets) and held[top] < _FAR_FEWER * len(targets):
        text = (
            f'the training collapsed: {given[top]} of {len(targets)} validation pictures were answered "{classes[top]}"'
            f", which {held[top]} of them are. The usual cause is a learning rate that is too high: try a tenth of it"
        )
        return [Diagnosis(kind="collapsed", text=text)]
    silent = [k for k in range(len(classes)) if held[k] and not given[k]]
    if not silent:
        return []
    names = ", ".join(f'"{classes[k]}" ({held[k]})' for k in silent[:4]) + (", ..." if len(silent) > 4 else "")
    text = (
        f"no validation picture was answered as {names}: look at --compare balance, or give these classes more pictures"
    )
    return [Diagnosis(kind="unanswered", text=text)]


def _curves(rows: tuple[EpochRow, ...], targets: NDArray[np.int64], *, num_classes: int) -> list[Diagnosis]:
    best = min(rows, key=lambda row: row.val_loss)
    last = rows[-1]
    found = []
    gap = best.train_accuracy - best.val_accuracy
    noise = 2 * math.sqrt(max(best.val_accuracy * (1 - best.val_accuracy), 1e-9) / max(1, len(targets)))
    guessing = float(np.bincount(targets, minlength=num_classes).max() / max(1, len(targets)))
    if gap > max(_GAP, noise) and last.val_loss > _RISE * best.val_loss:
        found.append(_overfit(best, last, gap))
    elif best.train_accuracy - guessing < _LEARNT * (1 - guessing):
        text = (
            f"underfitting: even of the training pictures only {best.train_accuracy:.0%} are answered right"
            f" (always the commonest class: {guessing:.0%}). More epochs, a higher learning rate, more of the network"
            " trained, or a larger one"
        )
        found.append(Diagnosis(kind="underfit", text=text))
    elif best.epoch == last.epoch and len(rows) > 2 and rows[-2].val_loss - best.val_loss > 0.01 * best.val_loss:
        text = (
            f"the validation loss was still falling in the last epoch ({best.val_loss:.3f}): more epochs may bring more"
        )
        found.append(Diagnosis(kind="unfinished", text=text))
    found += [each for each in (_swings(rows, len(targets)), _why_validation_is_above(best)) if each]
    return found


def _overfit(best: EpochRow, last: EpochRow, gap: float) -> Diagnosis:
    text = (
        f"overfitting: after epoch {best.epoch} the validation loss rose from {best.val_loss:.3f} to"
        f" {last.val_loss:.3f} while {best.train_accuracy:.0%} of the training pictures are answered right,"
        f" {100 * gap:.0f} points more than of the validation part. The best epoch was kept;"
        " stronger augmentation, dropout, or more pictures help"
    )
    return Diagnosis(kind="overfit", text=text)


def _swings(rows: tuple[EpochRow, ...], num_pictures: int) -> Diagnosis | None:
    """Whether the ups and downs between late epochs are no larger than chance makes them."""
    late = [row.val_accuracy for row in rows[len(rows) // 2 :]]
    if len(late) < 3 or not num_pictures:
        return None
    level = float(np.mean(late))
    chance = math.sqrt(max(level * (1 - level), 1e-9) / num_pictures)
    swing = max(late) - min(late)
    if swing > 4 * chance:
        text = (
            f"the validation accuracy swings by {100 * swing:.1f} points between late epochs, more than {num_pictures}"
            f" pictures explain ({100 * 4 * chance:.1f}): a lower learning rate, a larger batch or averaged weights"
            " (ema) calm it"
        )
    else:
        text = (
            f"late epochs differ by {100 * swing:.1f} points of validation accuracy; with {num_pictures} pictures that"
            " is noise, and so is which of them was best"
        )
    return Diagnosis(kind="noise", text=text)


def _why_validation_is_above(best: EpochRow) -> Diagnosis | None:
    """The curve that puzzles: validation better than training."""
    if math.isnan(best.accuracy) or math.isnan(best.train_accuracy) or best.accuracy >= best.val_accuracy:
        return None
    text = (
        f"the accuracy while training ({best.accuracy:.0%}) lies below that of the validation part"
        f" ({best.val_accuracy:.0%}) because it is taken on augmented pictures, with dropout, while the weights still"
        f" move; measured alike, the training pictures reach {best.train_accuracy:.0%}"
    )
    return Diagnosis(kind="curves", text=text)
