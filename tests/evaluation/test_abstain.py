"""Thresholds for abstaining keep the risk they promise, and class sets the coverage; both say when they cannot."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from budwood.errors import UsageError
from budwood.evaluation.abstain import RiskThreshold, risk_thresholds, upper_bound
from budwood.evaluation.calibrate import Calibration
from budwood.evaluation.conformal import Conformal, SetLevel, fit_conformal
from budwood.evaluation.deciding import decide, threshold_for
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.reliability import coverage_risk, reliability


def drawn(rng: np.random.Generator, num: int, *, num_classes: int = 4) -> Predictions:
    logits = 1.5 * rng.normal(size=(num, num_classes))
    logits[np.arange(num), rng.integers(num_classes, size=num)] += 2
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = (rng.random(num)[:, None] > probs.cumsum(1)).sum(1).clip(max=num_classes - 1)
    return Predictions(
        probs=probs.astype(np.float32),
        targets=targets,
        paths=tuple(map(str, range(num))),
        classes=tuple(f"c{k}" for k in range(num_classes)),
    )


@pytest.mark.parametrize(("wrong", "n"), [(0, 45), (3, 60), (40, 40), (12, 300)])
def test_the_bound_is_that_of_the_exact_binomial_test(wrong: int, n: int) -> None:
    expected = binomtest(wrong, n, alternative="less").proportion_ci(0.9, method="exact").high
    assert upper_bound(wrong, n, confidence=0.9) == pytest.approx(expected)


@pytest.mark.parametrize("draws", [60, pytest.param(6000, marks=pytest.mark.slow)])
def test_the_true_risk_is_above_the_asked_one_in_at_most_a_tenth_of_all_draws(draws: int) -> None:
    rng = np.random.default_rng(3)
    many = drawn(rng, 60_000)
    certainty, right = many.probs.max(1), many.predicted == many.targets
    broken = dict.fromkeys((0.05, 0.1, 0.2), 0)
    reached = dict.fromkeys(broken, 0)
    for _ in range(draws):
        for found in risk_thresholds(drawn(rng, 300), risks=tuple(broken)):
            if found.threshold is not None:
                reached[found.risk] += 1
                broken[found.risk] += (~right[certainty >= found.threshold]).mean() > found.risk
    assert reached[0.2] > 0.5 * draws
    for risk, count in broken.items():
        assert binom.sf(count - 1, draws, 0.1) > 1e-3, (risk, count)


def test_with_few_pictures_nothing_is_promised() -> None:
    for found in risk_thresholds(drawn(np.random.default_rng(0), 10), risks=(0.01, 0.05)):
        assert not found.reachable
        assert found.threshold is None
        assert "not reachable" in str(found)


def test_a_network_without_mistakes_may_answer_all() -> None:
    given = drawn(np.random.default_rng(0), 200)
    given = replace(given, targets=given.predicted)
    by_risk = {found.risk: found for found in risk_thresholds(given)}
    assert by_risk[0.05].coverage == 1
    assert by_risk[0.05].num_wrong == 0
    assert not by_risk[0.01].reachable  # needs 300 right ones
    assert RiskThreshold.from_dict(by_risk[0.05].to_dict()) == by_risk[0.05]


def test_conformal_sets_hold_the_truth_as_often_as_promised() -> None:
    rng = np.random.default_rng(5)
    promised, draws, each = 0.9, 150, 60
    held = {"lac": 0, "aps": 0}
    for _ in range(draws):
        conformal = fit_conformal(drawn(rng, 59))
        other = drawn(rng, each)
        for method in held:
            inside = conformal.sets(other.probs, coverage=promised, method=method)
            held[method] += int(inside[np.arange(each), other.targets].sum())
    share = {method: count / (draws * each) for method, count in held.items()}
    assert share["lac"] == pytest.approx(promised, abs=0.02)
    assert share["aps"] >= promised - 0.01


def test_the_quantile_is_the_one_for_so_few_pictures() -> None:
    given = drawn(np.random.default_rng(2), 20)
    scores = sorted(1 - given.probs[np.arange(20), given.targets].astype(float))
    level = fit_conformal(given, coverages=(0.9, 0.99)).levels
    assert level[0].lac == pytest.approx(scores[math.ceil(21 * 0.9) - 1])
    assert level[1].lac == level[1].aps == 1  # 21 pictures would be needed at least 99
    assert fit_conformal(given, coverages=(0.99,)).sets(given.probs, coverage=0.99).all()


def test_adaptive_sets_are_the_shortest_lists_that_reach_the_sum() -> None:
    conformal = Conformal(num_pictures=9, levels=(SetLevel(coverage=0.9, lac=0.45, aps=0.8),))
    probs = np.array([[0.1, 0.6, 0.2, 0.1], [0.95, 0.02, 0.02, 0.01], [0.25, 0.25, 0.25, 0.25]], dtype=np.float32)
    assert conformal.sets(probs, method="aps").tolist() == [
        [False, True, True, False],
        [True, False, False, False],  # alone above the sum: the most probable class always stays
        [True, True, True, False],
    ]
    assert conformal.sets(probs).sum(1).tolist() == [1, 1, 1]
    with pytest.raises(UsageError, match=r"0\.7; this bundle knows 0\.9"):
        conformal.sets(probs, coverage=0.7)


def _calibration(threshold: float | None) -> Calibration:
    kept = RiskThreshold(risk=0.05, threshold=threshold, coverage=0.5, num_answered=5, num_wrong=0, upper=0.05)
    conformal = Conformal(num_pictures=9, levels=(SetLevel(coverage=0.9, lac=0.8, aps=1.0),))
    return Calibration(temperature=1, fitted_on="x", num_pictures=9, thresholds=(kept,), conformal=conformal)


def test_decisions_answer_where_it_is_certain_and_else_name_candidates() -> None:
    probs = np.array([[0.1, 0.9, 0.0], [0.3, 0.2, 0.5]], dtype=np.float32)
    sure, unsure = decide(probs, classes=("a", "b", "c"), calibration=_calibration(0.8), risk=0.05)
    assert (sure.label, sure.certain, sure.candidates) == ("b", True, ("b",))
    assert (unsure.label, unsure.certain) == (None, False)
    assert unsure.candidates == ("c", "a", "b")
    assert unsure.probability == pytest.approx(0.5)
    never = decide(probs, classes=("a", "b", "c"), calibration=_calibration(None), risk=0.05)
    assert [d.label for d in never] == [None, None]


def test_a_risk_between_two_thresholds_takes_the_safer_one() -> None:
    assert threshold_for(_calibration(0.8), 0.09).risk == 0.05
    for risk in (0.01, 0.0, 1.0):
        with pytest.raises(UsageError, match=r"this bundle knows 0\.05"):
            threshold_for(_calibration(0.8), risk)


def test_bins_hold_about_equally_many_pictures_and_equal_certainties_stay_together() -> None:
    given = drawn(np.random.default_rng(0), 500)
    bins = reliability(given)
    assert sum(row.num_pictures for row in bins) == 500
    assert {row.num_pictures for row in bins} <= {49, 50, 51}
    assert sum(row.num_right for row in bins) == (given.predicted == given.targets).sum()
    assert all(row.right.value in row.right.interval for row in bins)
    votes = replace(given, probs=np.tile(np.float32([0.7, 0.1, 0.1, 0.1]), (500, 1)))
    assert [row.num_pictures for row in reliability(votes)] == [500]


def test_the_risk_curve_ends_at_all_pictures() -> None:
    given = drawn(np.random.default_rng(0), 77)
    points = coverage_risk(given)
    covered = [point.coverage for point in points]
    assert covered == sorted(covered)
    assert covered[-1] == 1
    assert points[-1].risk.value == pytest.approx((given.predicted != given.targets).mean())
    first = given.probs.max(1) >= points[0].threshold
    assert points[0].num_wrong == (given.predicted != given.targets)[first].sum()
