"""Detectors: AUROC as scikit-learn has it, thresholds from normal pictures, intervals that are honest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from budwood.errors import DataError
from budwood.evaluation.detection import Detector, auroc, judge_detectors, normal_threshold


def kinds(normal: int, abnormal: int) -> np.ndarray:
    return np.array([False] * normal + [True] * abnormal)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2).filter(
        lambda rows: len({b for _, b in rows}) == 2
    )
)
def test_auroc_is_scikit_learns_also_with_ties(rows: list[tuple[int, bool]]) -> None:
    scores, abnormal = np.array([float(s) for s, _ in rows]), np.array([b for _, b in rows])
    assert auroc(scores, abnormal) == pytest.approx(roc_auc_score(abnormal, scores))


def test_a_threshold_lets_the_asked_share_of_normal_pictures_pass() -> None:
    scores = np.random.default_rng(0).normal(size=10_000)
    assert (scores > normal_threshold(scores, false_alarms=0.05)).mean() == pytest.approx(0.05, abs=0.001)
    with pytest.raises(DataError, match="validation part"):
        normal_threshold(np.zeros(0), false_alarms=0.05)


def test_a_detector_is_judged_at_its_own_threshold() -> None:
    scores = np.array([0.0, 1.0, 2.0, 3.0, 1.5, 5.0])
    found = judge_detectors((Detector(name="x", scores=scores, threshold=2.5),), kinds(4, 2)).scores[0]
    assert (found.false_alarms.value, found.found.value, found.accuracy.value) == (0.25, 0.5, pytest.approx(4 / 6))


def test_a_detector_without_errors_is_not_said_to_be_perfect() -> None:
    scores = np.array([0.0] * 30 + [1.0] * 12)
    area = judge_detectors((Detector(name="x", scores=scores, threshold=0.5),), kinds(30, 12)).scores[0].auroc
    assert area.value == area.interval.high == 1
    assert 0.7 < area.interval.low < 0.9


def test_a_clearly_better_rival_is_told_and_an_equal_one_is_not() -> None:
    generator, abnormal = np.random.default_rng(1), kinds(80, 80)
    signal = abnormal.astype(float)
    poor, good = signal * 0.3 + generator.normal(size=160), signal * 4 + generator.normal(size=160)
    same = poor + generator.normal(size=160) * 0.01
    found = judge_detectors(
        tuple(Detector(name=n, scores=s, threshold=0.5) for n, s in (("poor", poor), ("good", good), ("same", same))),
        abnormal,
    )
    assert [each.verdict for each in found.differences] == ["better", "cannot tell"]
    assert found.differences[0].value == pytest.approx(found.scores[1].auroc.value - found.scores[0].auroc.value)
    assert found.to_dict()["differences"][0]["verdict"] == "better"


def test_pictures_of_one_kind_cannot_be_judged() -> None:
    with pytest.raises(DataError, match="some of both"):
        judge_detectors((Detector(name="x", scores=np.ones(3), threshold=0.5),), kinds(3, 0))


@pytest.mark.parametrize("rounds", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_the_interval_of_auroc_holds_the_truth_about_as_often_as_it_says(rounds: int) -> None:
    # Two normals one apart: the true AUROC is Phi(1 / sqrt 2) = .7602.
    generator, abnormal, held = np.random.default_rng(3), kinds(50, 120), 0
    for number in range(rounds):
        scores = generator.normal(size=170) + abnormal
        judged = judge_detectors((Detector(name="x", scores=scores, threshold=0.5),), abnormal, seed=number)
        held += 0.7602 in judged.scores[0].auroc.interval
    assert 0.85 < held / rounds <= 1 if rounds < 100 else 0.93 < held / rounds < 0.97
