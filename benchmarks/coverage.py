"""How often the intervals that Budwood prints hold the truth, and how often equal models are told apart, by simulation.

    python benchmarks/coverage.py [--trials 1000] [--only scores|pairs|crossed] [--seed 0]
        [--counts fixed|drawn] [--models plain|rough]

A model is drawn (logits of a mean for each class, class by class of its own), its true scores are taken from some
60,000 answers, and test parts are drawn from it again and again: with the same number of pictures of each class
(``fixed``), or with pictures that come as they come (``drawn``: a multinomial draw with the same shares, so that a rare
class may be absent). Scores of an absent class are not counted, nor are averages over classes alike where one is
absent: they are averages of other classes. What counts pictures is measured against the truth of all classes.
Rough models are worse (50 to 75 % right) and have answers with heavy tails.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import process_time

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.compare import Comparison, Difference, paired_difference
from budwood.evaluation.crossed import crossed_interval, folds_interval
from budwood.evaluation.intervals import Estimate, Interval
from budwood.evaluation.metrics import Metrics, summarise
from budwood.evaluation.predictions import Predictions

SIZES, CLASSES = (50, 200, 1000), (2, 8)
MODELS = 10  # of each scenario; the trials are shared out among them
BIG = 60_000
OF_A_CLASS = ("recall (Wilson)", "F1 (F*)", "AUC", "AP")
OF_ALL_CLASSES = ("balanced accuracy", "macro precision", "macro F1", "macro AUC", "macro AP")


@dataclass(frozen=True, kw_only=True)
class World:
    """Where test pictures come from. shift: what the right class gains, ``[K]``. temper: how sure the answers are.

    varied: the pictures of each class are not always ``counts``, but so many on average. rough: Student's logits.
    """

    counts: NDArray[np.int64]
    shift: NDArray[np.float64]
    temper: float
    gain: float = 0.0  # of the second model, where there are two
    varied: bool = False
    rough: bool = False

    def draw(self, generator: np.random.Generator, *, times: int = 1, models: int = 1) -> tuple[Predictions, ...]:
        """Answers of ``models`` models to the same pictures; half of a picture's luck is shared."""
        num = len(self.counts)
        counts = self.counts * times
        if self.varied and times == 1:
            counts = generator.multinomial(counts.sum(), counts / counts.sum())
        targets = np.repeat(np.arange(num), counts)
        shared = generator.normal(size=(len(targets), num))
        if self.rough:
            shared /= np.sqrt(generator.chisquare(3, size=(len(targets), 1)) / 3)
        found = []
        for m in range(models):
            own = generator.normal(size=shared.shape)
            logits = shared if models == 1 else (shared + own) * np.sqrt(0.5)
            logits = logits + np.eye(num)[targets] * (self.shift[targets] + m * self.gain)[:, None]
            logits *= self.temper
            probs = np.exp(logits - logits.max(axis=1, keepdims=True))
            found.append(labelled(probs / probs.sum(axis=1, keepdims=True), targets))
        return tuple(found)


def labelled(probs: NDArray[np.float64], targets: NDArray[np.int64]) -> Predictions:
    return Predictions(
        probs=probs.astype(np.float32),
        targets=targets.astype(np.int64),
        paths=tuple(map(str, range(len(targets)))),
        classes=tuple(f"c{k}" for k in range(probs.shape[1])),
    )


def counts_of(pictures: int, classes: int, *, uneven: bool) -> NDArray[np.int64]:
    """Pictures of each class; uneven: the commonest has eight times as many as the rarest."""
    weights = np.geomspace(1, 8, classes) if uneven else np.ones(classes)
    return np.maximum(2, np.round(pictures * weights / weights.sum())).astype(np.int64)


def worlds(
    generator: np.random.Generator,
    counts: NDArray[np.int64],
    *,
    equal: bool = False,
    varied: bool = False,
    rough: bool = False,
) -> Iterator[World]:
    """Models of 75 to 97 % accuracy (rough ones: 50 to 75), too sure or not sure enough of themselves."""
    num = len(counts)
    while True:
        base = generator.uniform(1.6, 3.2) if num > 2 else generator.uniform(1.0, 2.6)
        base = base * 0.6 if rough else base
        gain = 0.0 if equal else generator.uniform(-0.2, 0.4)
        yield World(
            counts=counts,
            shift=base + 0.4 * generator.normal(size=num),
            temper=generator.uniform(0.8, 1.6),
            gain=gain,
            varied=varied,
            rough=rough,
        )


def of_metrics(found: Metrics) -> dict[str, Estimate]:
    """The estimates of each kind of interval; of those that are there for each class, the first class's."""
    first, averages, scores = found.per_class[0], found.averages, found.probabilities
    kinds = {
        "accuracy (Wilson)": found.accuracy,
        "recall (Wilson)": first.recall,
        "F1 (F*)": first.f1,
        "balanced accuracy": found.balanced_accuracy,
        "macro precision": averages.macro_precision,
        "macro F1": found.macro_f1,
        "weighted precision": averages.weighted_precision,
        "weighted F1": averages.weighted_f1,
        "AUC": first.roc_auc,
        "macro AUC": found.roc_auc and found.roc_auc.macro,
        "weighted AUC": found.roc_auc and found.roc_auc.weighted,
        "micro AUC": found.roc_auc and found.roc_auc.micro,
        "AP": first.average_precision,
        "macro AP": found.average_precision and found.average_precision.macro,
        "weighted AP": found.average_precision and found.average_precision.weighted,
        "micro AP": found.average_precision and found.average_precision.micro,
        "log loss": scores.log_loss,
        "Brier": scores.brier,
        "calibration error": scores.calibration_error,
    }
    return {name: estimate for name, estimate in kinds.items() if estimate is not None}


def of_comparison(found: Comparison) -> dict[str, Difference]:
    """The differences of each kind of interval."""
    return {
        "accuracy (Tango)": found.accuracy,
        "recall (Tango)": found.recall[0],
        "balanced accuracy": found.balanced_accuracy,
        "macro F1": found.macro_f1,
        "F1 of a class": found.f1[0],
    }


def score_coverage(
    pictures: int,
    classes: int,
    *,
    uneven: bool,
    trials: int,
    seed: int,
    resamples: int = 500,
    varied: bool = False,
    rough: bool = False,
) -> dict[str, float]:
    """The share of trials whose interval held the truth, by kind."""
    generator = np.random.default_rng([seed, pictures, classes, uneven])
    counts, held = counts_of(pictures, classes, uneven=uneven), defaultdict(list)
    for world in itertools.islice(worlds(generator, counts, varied=varied, rough=rough), MODELS):
        (many,) = world.draw(generator, times=max(1, BIG // counts.sum()))
        truth = of_metrics(summarise(many, resamples=2))
        for trial in range(max(1, trials // MODELS)):
            (drawn,) = world.draw(generator)
            scores = summarise(drawn, seed=trial, resamples=resamples)
            for name, found in of_metrics(scores).items():
                absent = [not each.support for each in scores.per_class]
                if (name in OF_A_CLASS and absent[0]) or (name in OF_ALL_CLASSES and any(absent)):
                    continue
                held[name].append(holds(found.interval, truth[name].value))
    return {name: float(np.mean(each)) for name, each in held.items()}


def pair_coverage(
    pictures: int, classes: int, *, uneven: bool, trials: int, seed: int, resamples: int = 500
) -> dict[str, float]:
    """Coverage of differences between two models, and how often two equal models are told apart (``equal: ...``)."""
    generator = np.random.default_rng([seed, pictures, classes, uneven, 2])
    counts, held = counts_of(pictures, classes, uneven=uneven), defaultdict(list)
    for equal in (False, True):
        for world in itertools.islice(worlds(generator, counts, equal=equal), MODELS):
            many = paired_difference(*world.draw(generator, times=max(1, BIG // counts.sum()), models=2), resamples=2)
            for trial in range(max(1, trials // MODELS)):
                found = paired_difference(*world.draw(generator, models=2), seed=trial, resamples=resamples)
                for name, difference in of_comparison(found).items():
                    if equal:
                        held[f"equal: {name}"].append(0.0 not in difference.interval)
                    else:
                        held[name].append(holds(difference.interval, of_comparison(many)[name].value))
                if equal:
                    held["equal: McNemar"].append(found.mcnemar_p < 0.05)
                    held["equal: verdict"].append(found.verdict != "cannot tell")
    return {name: float(np.mean(each)) for name, each in held.items()}


def crossed_coverage(pictures: int, *, trials: int, seed: int) -> dict[str, float]:
    """Seeds on the same pictures, and folds: accuracies of models that have luck of their own."""
    generator = np.random.default_rng([seed, pictures, 3])
    held = defaultdict(list)
    for luck, _ in itertools.product((0.0, 0.1, 0.2), range(max(1, trials // 3))):
        accuracy = generator.uniform(0.75, 0.95)
        for seeds in (2, 3, 5):
            right, truth = drawn_right(generator, accuracy, (seeds, pictures), luck=luck, shared=0.6)
            held[f"{seeds} seeds, luck {luck:g}"].append(holds(crossed_interval(right.astype(float)), truth))
        for folds in (5, 10):
            each = np.array_split(np.arange(pictures), folds)
            answers, which = np.empty(pictures, dtype=np.bool_), np.empty(pictures, dtype=np.int64)
            for fold, rows in enumerate(each):
                own, truth = drawn_right(generator, accuracy, (1, len(rows)), luck=luck, shared=0.6)
                answers[rows], which[rows] = own[0], fold
            held[f"{folds} folds, luck {luck:g}"].append(holds(folds_interval(answers, which), truth))
    return {name: float(np.mean(found)) for name, found in held.items()}


def drawn_right(
    generator: np.random.Generator, accuracy: float, shape: tuple[int, int], *, luck: float, shared: float
) -> tuple[NDArray[np.bool_], float]:
    """``[S, N]`` answers right or wrong: a picture is hard for all (``shared``), a model is lucky (``luck``)."""
    from scipy.stats import norm

    limit = norm.ppf(accuracy) * np.sqrt(1 + luck**2)
    hardness = generator.normal(size=shape[1]) * np.sqrt(shared) + generator.normal(size=shape) * np.sqrt(1 - shared)
    return np.asarray(hardness + luck * generator.normal(size=(shape[0], 1)) < limit), accuracy


def holds(interval: Interval, truth: float) -> bool:
    """Whether it does, but for rounding."""
    return interval.low - 1e-9 <= truth <= interval.high + 1e-9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="of each scenario")
    parser.add_argument("--only", choices=("scores", "pairs", "crossed"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", choices=("fixed", "drawn"), default="fixed", help="pictures of each class (scores)")
    parser.add_argument("--models", choices=("plain", "rough"), default="plain", help="of the scores")
    options = parser.parse_args()
    varied, rough = options.counts == "drawn", options.models == "rough"
    jobs: dict[str, Callable[..., dict[str, float]]] = {
        "scores": partial(score_coverage, varied=varied, rough=rough),
        "pairs": pair_coverage,
    }
    for name, job in jobs.items():
        if options.only not in (None, name):
            continue
        columns = {}
        for pictures, classes, uneven in itertools.product(SIZES, CLASSES, (False, True)):
            found = job(pictures, classes, uneven=uneven, trials=options.trials, seed=options.seed)
            columns[f"{pictures}, {classes}{' u' if uneven else ''}"] = found
            print(f"{name}: {pictures} pictures, {classes} classes{', uneven' if uneven else ''}", flush=True)
        show(columns)
    if options.only in (None, "crossed"):
        show({f"{each} pictures": crossed_coverage(each, trials=options.trials, seed=options.seed) for each in SIZES})


def show(columns: dict[str, dict[str, float]]) -> None:
    """A table as in docs/coverage.md."""
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name in next(iter(columns.values())):
        print(f"| {name} | " + " | ".join(f"{100 * found[name]:.1f}" for found in columns.values()) + " |")
    print(f"{process_time():.0f} CPU-s", flush=True)


if __name__ == "__main__":
    main()
