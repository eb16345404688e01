"""Two models on the same pictures: the difference, its interval, McNemar's p, and words that promise little."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from budwood.errors import DataError
from budwood.evaluation import metrics
from budwood.evaluation.compare import FEW, Comparison, mcnemar, paired_difference
from budwood.evaluation.predictions import Predictions

Answers = NDArray[np.int64]


def answered(targets: Answers, answers: Answers, *, num_classes: int) -> Predictions:
    return Predictions(
        probs=np.eye(num_classes, dtype=np.float32)[answers],
        targets=np.asarray(targets, dtype=np.int64),
        paths=tuple(f"{i:06}.jpg" for i in range(len(targets))),
        classes=tuple(f"class {k}" for k in range(num_classes)),
    )


def models(
    num: int, *, num_classes: int = 4, share_a: float = 0.8, share_b: float = 0.8, seed: int = 0
) -> tuple[Predictions, Predictions]:
    """Two models that are right on about these shares, by independent luck."""
    generator = np.random.default_rng(seed)
    targets = np.sort(generator.integers(0, num_classes, num))
    both = [
        np.where(generator.random(num) < share, targets, generator.integers(0, num_classes, num))
        for share in (share_a, share_b)
    ]
    return tuple(answered(targets, one, num_classes=num_classes) for one in both)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), num=st.integers(1, 60), num_classes=st.integers(2, 5))
def test_values_are_differences_of_the_scores_of_each_model(seed: int, num: int, num_classes: int) -> None:
    a, b = models(num, num_classes=num_classes, share_b=0.5, seed=seed)
    found = paired_difference(a, b, resamples=20)
    for difference, score in (
        (found.accuracy, metrics.accuracy),
        (found.balanced_accuracy, metrics.balanced_accuracy),
        (found.macro_f1, metrics.macro_f1),
    ):
        assert difference.a == pytest.approx(score(a))
        assert difference.b == pytest.approx(score(b))
        assert difference.value == pytest.approx(score(b) - score(a))
        assert -1 <= difference.interval.low <= difference.interval.high <= 1
    each = [metrics.per_class(one) for one in (a, b)]
    rows = np.flatnonzero(each[0].support)
    assert [d.name for d in found.recall] == [f"recall of class {k}" for k in rows]
    assert [d.value for d in found.recall] == pytest.approx((each[1].recall - each[0].recall)[rows])
    assert [d.value for d in found.f1] == pytest.approx((each[1].f1 - each[0].f1)[rows])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_swapping_the_models_turns_every_difference_round(seed: int) -> None:
    a, b = models(200, share_b=0.6, seed=seed)
    there, back = paired_difference(a, b, resamples=50), paired_difference(b, a, resamples=50)
    assert there.accuracy.value == pytest.approx(-back.accuracy.value)
    assert (there.only_a, there.only_b, there.mcnemar_p) == (back.only_b, back.only_a, back.mcnemar_p)


def test_the_order_of_pictures_and_classes_does_not_matter() -> None:
    a, b = models(120, share_b=0.6)
    order = np.random.default_rng(1).permutation(120)
    columns = [2, 0, 3, 1]
    shuffled = Predictions(
        probs=b.probs[order][:, columns],
        targets=np.argsort(columns)[b.targets[order]],
        paths=tuple(b.paths[i] for i in order),
        classes=tuple(b.classes[k] for k in columns),
    )
    assert paired_difference(a, shuffled) == paired_difference(a, b)


@pytest.mark.parametrize("only", [(0, 0), (0, 1), (3, 9), (40, 60), (7, 7), (900, 1000)])
def test_mcnemar_is_the_exact_binomial_test(only: tuple[int, int]) -> None:
    expected = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
    assert mcnemar(*only) == pytest.approx(expected, rel=1e-9)


def test_a_clear_difference_is_better_one_way_and_worse_the_other() -> None:
    a, b = models(600, share_a=0.5, share_b=0.9)
    assert paired_difference(a, b).verdict == "better"
    assert paired_difference(b, a).verdict == "worse"
    assert paired_difference(a, b).accuracy.words == "better"


def test_a_small_difference_is_not_told_and_the_pictures_that_it_would_take_are_named() -> None:
    a, b = models(300, share_a=0.80, share_b=0.81, seed=4)
    found = paired_difference(a, b)
    assert found.verdict == "cannot tell"
    needed = found.accuracy.pictures_needed
    assert needed is not None
    assert needed > 300
    assert f"would need about {needed:,} pictures" in found.accuracy.words


def test_the_pictures_that_it_would_take_agree_with_the_theory_of_paired_proportions() -> None:
    for seed in range(5):
        a, b = models(500, share_a=0.80, share_b=0.82, seed=seed)
        found = paired_difference(a, b)
        value, share = found.accuracy.value, (found.only_a + found.only_b) / 500
        if found.accuracy.pictures_needed is None or found.accuracy.pictures_needed == 500:
            continue
        variance = share - value**2
        expected = (1.96 + 0.8416) ** 2 * variance / value**2
        assert expected / 1.2 < found.accuracy.pictures_needed < expected * 1.3


def test_equal_answers_differ_by_nothing_but_the_interval_is_no_point() -> None:
    a, _ = models(400)
    found = paired_difference(a, a)
    assert found.accuracy.value == 0
    assert found.accuracy.disagreements == 0
    assert found.accuracy.interval.low < 0 < found.accuracy.interval.high
    assert found.accuracy.interval.width < 0.02
    assert found.mcnemar_p == 1
    assert found.accuracy.words == "cannot tell; no difference was seen"
    assert all(d.interval.low < 0 < d.interval.high for d in (*found.recall, *found.f1))


def test_one_disagreement_is_never_a_verdict() -> None:
    a, _ = models(400, share_a=0.9)
    answers = a.predicted.copy()
    wrong = int(np.flatnonzero(answers != a.targets)[0])
    answers[wrong] = a.targets[wrong]
    found = paired_difference(a, answered(a.targets, answers, num_classes=4))
    assert found.accuracy.value > 0
    assert found.accuracy.disagreements == 1 < FEW
    assert found.verdict == "cannot tell"
    assert not any(d.verdict == "better" for d in found.recall)


def test_a_class_without_pictures_has_no_difference() -> None:
    targets = np.array([0, 0, 1, 1])
    a, b = (answered(targets, np.array(x), num_classes=3) for x in ([0, 1, 1, 2], [0, 0, 1, 1]))
    found = paired_difference(a, b)
    assert [d.name for d in found.recall] == ["recall of class 0", "recall of class 1"]


def other(a: Predictions, what: str) -> Predictions:
    changes: dict[str, Callable[[], Predictions]] = {
        "classes": lambda: replace(a, classes=("class 0", "class 1", "class 2", "else")),
        "pictures": lambda: replace(a, paths=("new.jpg", *a.paths[1:])),
        "fewer": lambda: replace(a, paths=a.paths[1:], probs=a.probs[1:], targets=a.targets[1:]),
        "labels": lambda: replace(a, targets=(a.targets + 1) % 4),
        "no labels": lambda: replace(a, targets=None),
        "twice": lambda: replace(a, paths=(a.paths[1], *a.paths[1:])),
    }
    return changes[what]()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("classes", 'knows the class "class 3"'),
        ("pictures", "not scored on the same pictures (50 and 50, such as 000000.jpg)"),
        ("fewer", "50 and 49"),
        ("labels", '000000.jpg is labelled "class 0" in one and "class 1" in the other'),
        ("no labels", "without labels"),
        ("twice", "named twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(what: str, words: str) -> None:
    a, _ = models(50)
    with pytest.raises(DataError) as error:
        paired_difference(a, other(a, what))
    assert words in str(error.value)


def test_nothing_at_all_cannot_be_compared() -> None:
    a, _ = models(50)
    empty = replace(a, paths=(), probs=a.probs[:0], targets=a.targets[:0])
    with pytest.raises(DataError, match="none at all"):
        paired_difference(empty, empty)


@pytest.mark.parametrize(("resamples", "level"), [(0, 0.95), (10, 1.0), (10, 0.0)])
def test_settings_that_make_no_sense_are_refused(resamples: int, level: float) -> None:
    a, b = models(20)
    with pytest.raises(ValueError, match="expected 1 or more"):
        paired_difference(a, b, resamples=resamples, level=level)


def test_the_same_seed_gives_the_same_interval_and_the_result_goes_into_json() -> None:
    a, b = models(200, share_b=0.7)
    first = paired_difference(a, b, seed=1)
    assert paired_difference(a, b, seed=1) == first
    assert paired_difference(a, b, seed=2).macro_f1.interval != first.macro_f1.interval
    assert json.loads(json.dumps(first.to_dict(), allow_nan=False))["verdict"] == first.verdict


def coverage(num: int, *, draws: int, wrong: float, differ: float, gain: float) -> dict[str, float]:
    """How often the 95 % interval holds the difference in the whole population, of 5 uneven classes."""
    generator = np.random.default_rng(0)
    population, num_classes = 200_000, 5
    targets = generator.choice(num_classes, population, p=np.linspace(1, 4, 5) / 12.5)

    def changed(answers: Answers, share: float) -> Answers:
        return np.where(generator.random(population) < share, generator.integers(0, num_classes, population), answers)

    first = changed(targets, wrong)
    second = np.where(generator.random(population) < gain, targets, changed(first, differ))

    def compare(rows: Answers, resamples: int) -> Comparison:
        both = (answered(targets[rows], one[rows], num_classes=num_classes) for one in (first, second))
        return paired_difference(*both, resamples=resamples)

    truth, names = compare(np.arange(population), 1), ("accuracy", "balanced_accuracy", "macro_f1")
    held = dict.fromkeys(names, 0)
    for _ in range(draws):
        found = compare(generator.choice(population, num, replace=False), 400)
        for name in names:
            held[name] += getattr(truth, name).value in getattr(found, name).interval
    return {name: count / draws for name, count in held.items()}


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    for share in coverage(600, draws=40, wrong=0.2, differ=0.15, gain=0.02).values():
        assert share >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num", "wrong", "differ", "gain"),
    [(500, 0.2, 0.15, 0.02), (1000, 0.1, 0.1, 0.01), (300, 0.1, 0.15, 0.05)],
)
def test_coverage_is_93_to_97_percent(num: int, wrong: float, differ: float, gain: float) -> None:
    found = coverage(num, draws=2000, wrong=wrong, differ=differ, gain=gain)
    print(num, wrong, differ, gain, found)
    for share in found.values():
        assert 0.93 <= share <= 0.97
