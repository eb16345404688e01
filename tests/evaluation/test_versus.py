"""Arms compared pair by pair: what is told, what noise does to it, and how optimistic the best of several looks is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.compare import paired_difference
from budwood.evaluation.crossed import folds_interval
from budwood.evaluation.intervals import wilson
from budwood.evaluation.noise import noise_floor
from budwood.evaluation.optimism import expected_optimism
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.versus import Arm, versus


def answers(right: NDArray[np.bool_]) -> Predictions:
    targets = np.arange(len(right)) % 3
    said = np.where(right, targets, (targets + 1) % 3)
    return Predictions(
        probs=np.eye(3, dtype=np.float32)[said],
        targets=targets,
        paths=tuple(f"{i}.png" for i in range(len(right))),
        classes=("ash", "elm", "oak"),
    )


def arm(name: str, *shares: float, num: int = 300, seed: int = 0) -> Arm:
    generator = np.random.default_rng([seed, len(name), ord(name[0])])
    return Arm(name=name, answers={f"{s}": answers(generator.random(num) < share) for s, share in enumerate(shares)})


def test_a_clear_difference_is_told_and_two_arms_are_the_paired_comparison() -> None:
    weak, strong = arm("weak", 0.6), arm("strong", 0.9)
    found = versus([weak, strong])
    (pair,) = found.pairs
    alone = paired_difference(weak.answers["0"], strong.answers["0"])
    assert pair.accuracy == alone.accuracy
    assert (pair.p, pair.adjusted_p) == (alone.mcnemar_p, alone.mcnemar_p)
    assert pair.verdict == "better"
    assert pair.within_noise is None
    assert "strong against weak on 300 pictures" in found.lead
    assert any("was not measured" in note for note in found.notes())


def test_what_one_pair_would_tell_many_do_not() -> None:
    base = np.ones(100, dtype=bool)
    less = base.copy()
    less[:7] = False  # McNemar's p is 0.016
    arms = [Arm(name=f"a{i}", answers={"0": answers(base)}) for i in range(5)]
    found = versus([*arms, Arm(name="less", answers={"0": answers(less)})])
    last = found.pairs[-1]
    assert last.p == pytest.approx(0.015625)
    assert last.verdict == "cannot tell"
    assert last.words == "cannot tell; it would be told alone, but not among so many pairs"
    assert versus([arms[0], Arm(name="less", answers={"0": answers(less)})]).pairs[0].verdict == "worse"


def test_seeds_of_an_arm_widen_its_interval_and_measure_the_noise() -> None:
    steady, wild = arm("steady", 0.8, 0.8, 0.8), arm("wild", 0.65, 0.8, 0.95)
    found = versus([steady, wild])
    (pair,) = found.pairs
    single = paired_difference(steady.answers["0"], wild.answers["1"])
    assert pair.accuracy.interval.width > 2 * single.accuracy.interval.width
    assert pair.verdict == "cannot tell"
    assert pair.within_noise
    assert found.noise[0].degrees == 4
    assert found.arms[1].deviation > 5 * found.arms[0].deviation
    assert found.arms[1].accuracy.interval.width > found.arms[0].accuracy.interval.width


def test_steady_seeds_tell_a_difference_of_recipes() -> None:
    found = versus([arm("weak", 0.6, 0.6, 0.6, num=900), arm("strong", 0.8, 0.8, 0.8, num=900)])
    assert found.pairs[0].verdict == "better"
    assert found.pairs[0].accuracy.value == pytest.approx(0.2, abs=0.03)


def test_noise_runs_of_another_arm_are_printed_beside_the_difference_of_single_models() -> None:
    found = versus([arm("first", 0.5), arm("next", 0.6)], noise=[arm("noise", 0.4, 0.6, 0.8)])
    (pair,) = found.pairs
    assert pair.within_noise
    assert "0.6" not in [each.name for each in found.arms]
    assert any("Noise floor" in note for note in found.notes())


def test_a_difference_that_seeds_hide_says_so() -> None:
    generator = np.random.default_rng(1)
    arms = []
    for name, shares in (("a", (0.60, 0.80)), ("b", (0.62, 0.82))):
        arms.append(Arm(name=name, answers={str(s): answers(generator.random(600) < s) for s in shares}))
    (pair,) = versus(arms).pairs
    assert pair.accuracy.hidden_by_seeds
    assert "train with more seeds" in pair.words


def test_the_result_is_json_and_the_same_for_the_same_seed() -> None:
    found = versus([arm("a", 0.7, 0.75), arm("b", 0.8)], resamples=200)
    assert versus([arm("a", 0.7, 0.75), arm("b", 0.8)], resamples=200) == found
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["pairs"][0]["verdict"] == found.pairs[0].verdict
    assert values["pairs"][0]["f1"][2]["name"] == "F1 of oak"


def test_one_arm_or_other_pictures_are_refused() -> None:
    with pytest.raises(DataError, match="one arm"):
        versus([arm("a", 0.5, 0.6)])
    with pytest.raises(DataError, match="same pictures"):
        versus([arm("a", 0.5), arm("b", 0.5, num=299)])


def test_the_noise_floor_is_a_prediction_interval_for_two_new_trainings() -> None:
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(600):
        floor = noise_floor("accuracy", [generator.normal(0.8, 0.01, 3)])
        a, b = generator.normal(0.8, 0.01, 2)
        inside += abs(a - b) <= floor.floor
    assert 0.92 <= inside / 600 <= 0.98
    assert noise_floor("accuracy", [np.array([0.8]), np.array([0.7])]) is None


@pytest.mark.parametrize(("looks", "pictures", "accuracy"), [(2, 100, 0.8), (4, 354, 0.82), (20, 1000, 0.95)])
def test_the_optimism_of_the_best_look_is_what_drawing_looks_shows(looks: int, pictures: int, accuracy: float) -> None:
    drawn = np.random.default_rng(0).binomial(pictures, accuracy, (40_000, looks)).max(axis=1) / pictures
    assert expected_optimism(looks, pictures=pictures, accuracy=accuracy) == pytest.approx(
        drawn.mean() - accuracy, abs=4e-4
    )


def test_one_look_is_not_optimistic_and_models_that_err_alike_are_less_so() -> None:
    assert expected_optimism(1, pictures=50, accuracy=0.9) == pytest.approx(0, abs=1e-9)
    alone = expected_optimism(4, pictures=50, accuracy=0.9)
    assert expected_optimism(4, pictures=50, accuracy=0.9, correlation=0.75) == pytest.approx(alone / 2)
    with pytest.raises(ValueError, match="at least one"):
        expected_optimism(0, pictures=50, accuracy=0.9)


def test_folds_that_differ_beyond_their_pictures_widen_the_cross_validated_interval() -> None:
    generator, folds = np.random.default_rng(0), np.repeat(np.arange(5), 100)
    even = generator.random(500) < 0.8
    uneven = generator.random(500) < np.repeat([0.6, 0.7, 0.8, 0.9, 1.0], 100)
    plain = wilson(int(uneven.sum()), 500)
    assert folds_interval(uneven, folds).width > 2 * plain.width
    assert folds_interval(even, folds).width < 1.5 * wilson(int(even.sum()), 500).width
    assert folds_interval(np.ones(500, dtype=bool), folds) == wilson(500, 500)
