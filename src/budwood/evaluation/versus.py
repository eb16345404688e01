"""`versus`: any number of trained models, or of ways of training with several seeds, on the same test pictures.

Every pair is judged: a paired bootstrap for scores, McNemar's exact test for being right, Holm over all pairs. With
one model an arm the verdict is about these models; with several seeds it is about the way of training, since the luck
of seeds is then measured and added. It chooses no winner; to choose among many there is `rivals.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.compare import (
    IMAGINED,
    POWER,
    Comparison,
    Difference,
    aligned,
    paired_difference,
    rounded_up,
)
from budwood.evaluation.crossed import SeedLuck, crossed_interval
from budwood.evaluation.intervals import Estimate, Interval, wilson
from budwood.evaluation.metrics import balanced_accuracy, log_loss, macro_f1
from budwood.evaluation.noise import NoiseFloor, noise_floor
from budwood.evaluation.paired import PairedCells
from budwood.evaluation.paired_tests import agreeing, holm, mcnemar
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.versus_nouns import Arm as Arm
from budwood.evaluation.versus_nouns import ArmScores
from budwood.evaluation.versus_nouns import Pair as Pair
from budwood.evaluation.versus_nouns import Versus as Versus

_SCORES = ("accuracy", "balanced accuracy", "macro F1")


def versus(
    arms: Sequence[Arm],
    *,
    noise: Sequence[Arm] = (),
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Versus:
    """Compare every arm with every other, the earlier one as A.

    Args:
        arms: two or more; each with one or several answers to the same pictures.
        noise: further arms whose seeds measure the noise floor only.
        seed, resamples: of the bootstrap.

    Raises:
        DataError: there are fewer than two arms, or their pictures, classes or labels differ.
    """
    if len(arms) < 2:
        raise DataError("there is one arm: name two runs or more that differ in more than their seed")
    base = next(iter(arms[0].answers.values()))
    targets, answers = _aligned_answers(base, arms)
    _, others = _aligned_answers(base, noise)
    floors = _floors(base, [*answers, *others], level=level)
    pairs, p_values = [], {}
    for i, j in itertools.combinations(range(len(arms)), 2):
        several = len(answers[i]) + len(answers[j]) > 2
        if several:
            found, p = _with_seeds(base, targets, (answers[i], answers[j]), floors, (seed, resamples, level))
        else:
            ends = (next(iter(arms[k].answers.values())) for k in (i, j))
            found = paired_difference(*ends, seed=seed, resamples=resamples, level=level)
            p = found.mcnemar_p
        p_values[i, j] = p
        pairs.append(((i, j), found))
    adjusted = holm(p_values)
    return Versus(
        num_pictures=len(base),
        level=level,
        arms=tuple(_scores(arm, targets, own, level=level) for arm, own in zip(arms, answers, strict=True)),
        pairs=tuple(
            Pair(
                a=arms[i].name,
                b=arms[j].name,
                only_a=found.only_a,
                only_b=found.only_b,
                p=p_values[i, j],
                adjusted_p=adjusted[i, j],
                accuracy=found.accuracy,
                balanced_accuracy=found.balanced_accuracy,
                macro_f1=found.macro_f1,
                f1=found.f1,
                within_noise=abs(found.accuracy.value) <= floors[0].floor if floors else None,
                level=level,
            )
            for (i, j), found in pairs
        ),
        noise=floors,
    )


def _aligned_answers(base: Predictions, arms: Sequence[Arm]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Targets ``[N]`` and, for each arm, the answers of its seeds ``[S, N]``, in the order of ``base``."""
    assert base.targets is not None or not arms
    rows = [np.stack([aligned(base, each)[2] for each in arm.answers.values()]) for arm in arms]
    return np.asarray(base.targets, dtype=np.int64), rows


def _scores_of(base: Predictions, targets: NDArray[np.int64], answers: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[S, 3]``: the scores of `_SCORES` of each row of answers."""
    cells = PairedCells.count_all(targets, answers, num_classes=len(base.classes))
    return cells.scores(cells.counts[None])[:, 0, :3]


def _floors(base: Predictions, answers: Sequence[NDArray[np.int64]], *, level: float) -> tuple[NoiseFloor, ...]:
    targets = np.asarray(base.targets, dtype=np.int64)
    each = [_scores_of(base, targets, own) for own in answers if len(own) > 1]
    found = [noise_floor(name, [own[:, s] for own in each], level=level) for s, name in enumerate(_SCORES)]
    return tuple(floor for floor in found if floor is not None)


def _scores(arm: Arm, targets: NDArray[np.int64], answers: NDArray[np.int64], *, level: float) -> ArmScores:
    right = (answers == targets).astype(np.float64)
    accuracies = right.mean(axis=1)
    value = float(accuracies.mean())
    interval = wilson(round(value * len(targets)), len(targets), level)
    if len(answers) > 1:
        wide = crossed_interval(right, level=level)
        interval = Interval(low=max(0.0, min(interval.low, wide.low)), high=min(1.0, max(interval.high, wide.high)))
    tables = list(arm.answers.values())
    return ArmScores(
        name=arm.name,
        num_seeds=len(answers),
        accuracy=Estimate(value=value, interval=interval),
        balanced_accuracy=float(np.mean([balanced_accuracy(table) for table in tables])),
        macro_f1=float(np.mean([macro_f1(table) for table in tables])),
        log_loss=float(np.mean([log_loss(table) for table in tables])),
        deviation=float(accuracies.std(ddof=1)) if len(answers) > 1 else None,
    )


def _with_seeds(
    base: Predictions,
    targets: NDArray[np.int64],
    answers: tuple[NDArray[np.int64], NDArray[np.int64]],
    floors: Sequence[NoiseFloor],
    settings: tuple[int, int, float],
) -> tuple[Comparison, float]:
    """Two ways of training: the bootstrap's variance over pictures and the luck of seeds added; and the p value."""
    seed, resamples, level = settings
    first, second = answers
    cells = PairedCells.count_all(targets, np.vstack([first, second]), num_classes=len(base.classes))
    drawn = cells.draw(resamples, seed=seed, imagined=IMAGINED)
    point = cells.scores(cells.counts[None])[:, 0]
    sides = [slice(0, len(first)), slice(len(first), None)]
    a, b = (point[side].mean(axis=0) for side in sides)
    over_pictures = (drawn[sides[1]].mean(axis=0) - drawn[sides[0]].mean(axis=0)).var(axis=0)
    times = 1 / len(first) + 1 / len(second)
    seeds = _seed_lucks(point, sides, floors)
    present = np.bincount(targets, minlength=len(base.classes)) > 0
    differ = [(own == targets).mean(axis=0) for own in answers]
    num = int((differ[0] != differ[1]).sum())

    def made(s: int, name: str) -> Difference:
        return _difference(
            name,
            (float(a[s]), float(b[s])),
            parts=((float(over_pictures[s]), len(targets) - 1), (seeds[s].variance * times, seeds[s].degrees)),
            disagreements=num,
            total=len(targets),
            level=level,
        )

    count = len(base.classes)
    right = ((second == targets).mean(axis=0) - (first == targets).mean(axis=0)) if len(targets) else np.zeros(0)
    only_a, only_b = int((right < 0).sum()), int((right > 0).sum())
    exact, accuracy = mcnemar(only_a, only_b), made(0, _SCORES[0])
    from scipy.stats import t

    variance = over_pictures[0] + seeds[0].variance * times
    value = abs(accuracy.value) / math.sqrt(variance) if variance > 0 else 0.0
    p = max(exact, float(2 * t.sf(value, seeds[0].degrees)))
    found = Comparison(
        num_pictures=len(targets),
        level=level,
        only_a=only_a,
        only_b=only_b,
        mcnemar_p=exact,
        accuracy=replace(accuracy, interval=agreeing(accuracy.interval, p, level=level)),
        balanced_accuracy=made(1, _SCORES[1]),
        macro_f1=made(2, _SCORES[2]),
        recall=tuple(made(3 + k, f"recall of {base.classes[k]}") for k in range(count) if present[k]),
        f1=tuple(made(3 + count + k, f"F1 of {base.classes[k]}") for k in range(count) if present[k]),
    )
    return found, p


def _seed_lucks(point: NDArray[np.float64], sides: Sequence[slice], floors: Sequence[NoiseFloor]) -> list[SeedLuck]:
    """For each score ``[S]`` how much one seed's value varies: of these two arms, or of all where that is known."""
    degrees = sum(len(point[side]) - 1 for side in sides)
    squares = sum(np.square(point[side] - point[side].mean(axis=0)).sum(axis=0) for side in sides)
    own = [SeedLuck(variance=float(value) / degrees, degrees=degrees) for value in np.asarray(squares)]
    # Of averages the luck is pooled over all arms: three seeds of two arms say little of it. The larger one counts.
    pooled = [floor.luck for floor in floors]
    return [max(mine, all_, key=lambda luck: luck.variance) for mine, all_ in zip(own, pooled, strict=False)] + own[
        len(pooled) :
    ]


def _difference(
    name: str,
    scores: tuple[float, float],
    *,
    parts: Sequence[tuple[float, float]],
    disagreements: int,
    total: int,
    level: float,
) -> Difference:
    """A difference whose variance is the sum of ``parts``, each with its degrees of freedom (Satterthwaite)."""
    from scipy.stats import t

    value, variance = scores[1] - scores[0], sum(each for each, _ in parts)
    freedom = variance**2 / sum(each**2 / degrees for each, degrees in parts) if variance > 0 else 1.0
    half = float(t.ppf(0.5 + level / 2, freedom)) * math.sqrt(variance) if variance > 0 else 2 / (total + 2)
    needed = None
    of_pictures, of_seeds = parts[0][0], parts[1][0]
    if abs(value) > 1e-12:
        reach = NormalDist().inv_cdf(POWER) + NormalDist().inv_cdf(0.5 + level / 2)
        left = (value / reach) ** 2 - of_seeds  # what more pictures may leave of the variance
        needed = max(total, rounded_up(total * of_pictures / left)) if left > 0 and of_pictures > 0 else None
    return Difference(
        name=name,
        a=scores[0],
        b=scores[1],
        value=value,
        interval=Interval(low=max(-1.0, value - half), high=min(1.0, value + half)),
        disagreements=disagreements,
        pictures_needed=needed,
        hidden_by_seeds=needed is None and abs(value) > 1e-12,
    )
