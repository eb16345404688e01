"""`judge`: several ways of training, answered on the same pictures: which came first, and what that is worth.

The first of many is partly the luckiest. So the winner's score is also given corrected for having been chosen, each
rival is compared with it pairwise, and the p values are adjusted for every pair that could have been the first two.
It knows names and answers only, not how they were made.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.compare import aligned, paired_difference
from budwood.evaluation.crossed import SeedLuck, crossed_error, crossed_interval
from budwood.evaluation.intervals import Interval, wilson
from budwood.evaluation.metrics import Estimate, log_loss, macro_f1
from budwood.evaluation.paired_tests import agreeing, holm, mcnemar
from budwood.evaluation.rival_nouns import LEVEL, AgainstWinner
from budwood.evaluation.rival_nouns import Contestant as Contestant
from budwood.evaluation.rival_nouns import Judgement as Judgement
from budwood.evaluation.rival_nouns import Standing as Standing
from budwood.seeding import named_generator

_RESAMPLES = 1000


def judge(contestants: Sequence[Contestant], *, seed: int = 0, resamples: int = _RESAMPLES) -> Judgement:
    """Rank contestants by accuracy, and say what the ranking is worth.

    Args:
        contestants: with the same seeds, pictures and labels.
        seed, resamples: of the bootstrap.

    Raises:
        DataError: they did not answer the same pictures with the same seeds, or there are none.
    """
    if not contestants:
        raise DataError("there is nothing to compare: no arm has an answer")
    right = _right(contestants)
    scores = right.mean(axis=(1, 2))
    losses = [float(np.mean([log_loss(p) for p in each.answers.values()])) for each in contestants]
    winner = min(range(len(contestants)), key=lambda i: (-scores[i], losses[i], i))
    p_values = _all_pairs(right)
    adjusted = holm(p_values)
    first, corrected = _resampled(right, resamples=resamples, seed=seed)
    luck = _seed_luck(right)
    standings = []
    for i, each in enumerate(contestants):
        against = None
        if i != winner:
            pair = (min(i, winner), max(i, winner))
            against = _against(contestants, right, i, winner, p=p_values[pair], adjusted_p=adjusted[pair], seed=seed)
        seeds = right[i].mean(axis=1)
        folds = [float(np.std(f, ddof=1)) for f in each.fold_accuracies.values() if len(f) > 1]
        standings.append(
            Standing(
                name=each.name,
                accuracy=Estimate(value=float(scores[i]), interval=_accuracy_interval(right[i], luck)),
                macro_f1=float(np.mean([macro_f1(p) for p in each.answers.values()])),
                log_loss=losses[i],
                fold_deviation=float(np.mean(folds)) if folds else None,
                seed_deviation=float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
                first=float(first[i]),
                against=against,
            )
        )
    return Judgement(
        num_pictures=right.shape[2],
        num_seeds=right.shape[1],
        num_folds=max(len(f) for f in contestants[0].fold_accuracies.values()),
        winner=winner,
        standings=tuple(standings),
        corrected=corrected,
        num_pairs=len(p_values),
    )


def _seed_luck(right: NDArray[np.float64]) -> SeedLuck | None:
    """Pooled over all arms of ``[A, S, N]``; None with one seed."""
    arms, seeds, _ = right.shape
    if seeds == 1:
        return None
    return SeedLuck(variance=float(right.mean(axis=2).var(axis=1, ddof=1).mean()), degrees=arms * (seeds - 1))


def _of_difference(luck: SeedLuck | None) -> SeedLuck | None:
    """Two arms have two lucks: equal seeds make different networks equal in nothing but their data's order."""
    return luck and SeedLuck(variance=2 * luck.variance, degrees=luck.degrees)


def _right(contestants: Sequence[Contestant]) -> NDArray[np.float64]:
    """``[A, S, N]``: 1 where contestant A with seed S named picture N right."""
    seeds = tuple(contestants[0].answers)
    for each in contestants:
        if tuple(each.answers) != seeds:
            raise DataError(f"{each.name} was trained with other seeds ({tuple(each.answers)}, the first {seeds})")
    base = contestants[0].answers[seeds[0]]
    rows = []
    for each in contestants:
        found = []
        for seed in seeds:
            targets, _, predicted = aligned(base, each.answers[seed])
            found.append(predicted == targets)
        rows.append(found)
    return np.asarray(rows, dtype=np.float64)


def _accuracy_interval(right: NDArray[np.float64], luck: SeedLuck | None) -> Interval:
    """Wilson's for one seed; the crossed one for several, but never narrower than Wilson's for their mean."""
    pictures = right.shape[1]
    plain = wilson(round(float(right.mean()) * pictures), pictures)
    if luck is None:
        return plain
    wide = crossed_interval(right, pooled=luck)
    return Interval(low=max(0.0, min(plain.low, wide.low)), high=min(1.0, max(plain.high, wide.high)))


def _all_pairs(right: NDArray[np.float64]) -> dict[tuple[int, int], float]:
    luck = _of_difference(_seed_luck(right))
    pairs = itertools.combinations(range(len(right)), 2)
    return {(a, b): _p_value(right[b] - right[a], luck) for a, b in pairs}


def _p_value(difference: NDArray[np.float64], luck: SeedLuck | None) -> float:
    """Two-sided, that ``[S, N]`` differences are none: McNemar's; with several seeds Student's has to agree."""
    mean = difference.mean(axis=0)
    exact = mcnemar(int((mean > 0).sum()), int((mean < 0).sum()))
    if luck is None:
        return exact
    from scipy.stats import t

    value, spread, freedom = crossed_error(difference, luck)
    return max(exact, float(2 * t.sf(abs(value) / spread, freedom))) if spread else 1.0


def _resampled(right: NDArray[np.float64], *, resamples: int, seed: int) -> tuple[NDArray[np.float64], Estimate]:
    """How often each of ``[A, S, N]`` comes first when seeds and pictures are drawn again, and the winner corrected.

    In each resample the first is chosen by what was drawn and scored by what was not.

    Reference: I. Tsamardinos, E. Greasidou, G. Borboudakis, Bootstrapping the out-of-sample predictions for efficient
    and accurate cross-validation, Machine Learning 107 (2018).
    """
    arms, seeds, pictures = right.shape
    generator = named_generator(seed, "rivals")
    first, left_out = np.zeros(arms), np.empty(resamples)
    for number in range(resamples):
        drawn = generator.multinomial(pictures, np.full(pictures, 1 / pictures)).astype(np.float64)
        taken, others = _drawn_seeds(generator, seeds)
        scores = np.einsum("asn,s,n->a", right, taken, drawn, optimize=True)
        best = scores >= scores.max() - 1e-9
        first += best / best.sum()
        unseen = drawn == 0
        left_out[number] = right[np.ix_(best, others, unseen)].mean() if unseen.any() else right[best].mean()
    low, high = np.percentile(left_out, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    corrected = Estimate(value=float(left_out.mean()), interval=Interval(low=float(low), high=float(high)))
    return first / resamples, corrected


def _drawn_seeds(generator: np.random.Generator, seeds: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """How often each seed is drawn, and which are not; one seed is both."""
    if seeds == 1:
        return np.ones(1), np.ones(1, dtype=np.bool_)
    while True:
        taken = generator.multinomial(seeds, np.full(seeds, 1 / seeds))
        if not taken.all():
            return taken.astype(np.float64), taken == 0


def _against(
    contestants: Sequence[Contestant],
    right: NDArray[np.float64],
    rival: int,
    winner: int,
    *,
    p: float,
    adjusted_p: float,
    seed: int,
) -> AgainstWinner:
    difference = right[rival] - right[winner]
    mean = difference.mean(axis=0)
    words, interval = "", crossed_interval(difference, pooled=_of_difference(_seed_luck(right)))
    interval = agreeing(interval, p, level=LEVEL)
    if len(difference) == 1:
        answers = [next(iter(contestants[i].answers.values())) for i in (winner, rival)]
        found = paired_difference(*answers, seed=seed).accuracy
        words, interval = found.words, found.interval
    value = float(mean.mean())
    if adjusted_p < 1 - LEVEL and value < 0:
        words = "worse"
    elif not words.startswith("cannot tell"):  # alone it would have been told
        words = "cannot tell; it would be told alone, but not among so many" if p < 1 - LEVEL else "cannot tell"
    return AgainstWinner(
        value=value,
        interval=interval,
        only_rival=int((mean > 0).sum()),
        only_winner=int((mean < 0).sum()),
        p=p,
        adjusted_p=adjusted_p,
        words=words,
    )
