"""Rivals judged honestly: equal arms are not told apart, the winner's luck is taken off, clear losers are named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.crossed import SeedLuck, crossed_interval
from budwood.evaluation.intervals import wilson
from budwood.evaluation.paired_tests import holm
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.rivals import Contestant, Judgement, judge

CLASSES = ("ash", "elm", "oak")


def predictions(right: NDArray[np.bool_], *, confidence: float = 0.8) -> Predictions:
    """Answers that are right where ``right`` says so, over three classes in turn."""
    targets = np.arange(len(right)) % 3
    said = np.where(right, targets, (targets + 1) % 3)
    probs = np.full((len(right), 3), (1 - confidence) / 2, dtype=np.float32)
    probs[np.arange(len(right)), said] = confidence
    return Predictions(
        probs=probs, targets=targets, paths=tuple(f"{i}.png" for i in range(len(right))), classes=CLASSES
    )


def arms(right: NDArray[np.bool_], names: str = "abcdefghij") -> list[Contestant]:
    """One contestant for each of ``[A, S, N]``."""
    return [
        Contestant(
            name=names[a],
            answers={seed: predictions(row) for seed, row in enumerate(each)},
            fold_accuracies={seed: (float(row.mean()),) for seed, row in enumerate(each)},
        )
        for a, each in enumerate(right)
    ]


def drawn(
    generator: np.random.Generator, accuracies: list[float], *, seeds: int, pictures: int, luck: float = 0.0
) -> NDArray[np.bool_]:
    """``[A, S, N]``: pictures are easy or hard for all, and each training has luck of its own."""
    shape = (len(accuracies), seeds, pictures)
    from statistics import NormalDist

    hardness = generator.normal(size=pictures) * np.sqrt(0.7) + generator.normal(size=shape) * np.sqrt(0.3)
    hardness += luck * generator.normal(size=(*shape[:2], 1))
    limits = np.array([NormalDist().inv_cdf(a) * np.sqrt(1 + luck**2) for a in accuracies])
    return np.asarray(hardness < limits[:, None, None])


def judged(right: NDArray[np.bool_], *, resamples: int = 200) -> Judgement:
    return judge(arms(right), resamples=resamples)


def test_seven_pictures_ahead_of_354_is_seen_for_what_it_is() -> None:
    # report A2's table of frozen layers: 292, 285, 283 and 279 of 354 test pictures right
    generator = np.random.default_rng(4)
    right = np.stack([generator.permutation(354)[None] < count for count in (279, 292, 285, 283)])
    found = judged(right)
    assert found.winner == 1
    assert "7 of 354 pictures ahead of the next" in found.lead
    assert "3 of 3 rivals cannot be told from it" in found.lead
    assert found.standings[1].accuracy.interval == wilson(292, 354)
    assert all(s.against is None or s.against.verdict == "cannot tell" for s in found.standings)
    assert found.corrected.value < found.standings[1].accuracy.value
    assert 0.3 < found.standings[1].first < 0.95


def test_a_clearly_worse_rival_is_told_with_one_seed_and_with_several() -> None:
    generator = np.random.default_rng(0)
    for seeds in (1, 3):
        found = judged(drawn(generator, [0.9, 0.6], seeds=seeds, pictures=300))
        assert found.winner == 0
        against = found.standings[1].against
        assert against is not None
        assert against.verdict == "worse"
        assert against.interval.high < 0
        assert against.words == "worse"


def test_the_order_goes_by_accuracy_and_equal_ones_by_log_loss() -> None:
    right = np.arange(30)[None] < 20
    sure, unsure, worse = predictions(right[0], confidence=0.6), predictions(right[0], confidence=0.9), right.copy()
    worse[0, 0] = False
    contestants = [
        Contestant(name=name, answers={0: answers}, fold_accuracies={0: (0.5,)})
        for name, answers in (("worse", predictions(worse[0])), ("unsure", unsure), ("sure", sure))
    ]
    found = judge(contestants, resamples=50)
    assert found.standings[found.winner].name == "sure"  # wrong in a third of the pictures, and not too sure of it
    assert [found.standings[i].name for i in found.order] == ["sure", "unsure", "worse"]


@pytest.mark.parametrize(("num_arms", "seeds", "luck"), [(2, 1, 0.0), (6, 1, 0.0), (4, 3, 0.08)])
def test_equal_arms_are_rarely_told_apart_and_the_winner_s_luck_is_taken_off(
    num_arms: int, seeds: int, luck: float
) -> None:
    generator = np.random.default_rng(num_arms)
    told, apparent, corrected, trials = 0, [], [], 60
    for _ in range(trials):
        found = judged(drawn(generator, [0.8] * num_arms, seeds=seeds, pictures=200, luck=luck), resamples=60)
        told += any(s.against is not None and s.against.verdict == "worse" for s in found.standings)
        apparent.append(found.standings[found.winner].accuracy.value - 0.8)
        corrected.append(found.corrected.value - 0.8)
    assert told <= 0.12 * trials  # 5 % and some luck
    assert np.mean(apparent) > 0.005
    assert abs(np.mean(corrected)) < max(0.5 * np.mean(apparent), 0.006)


def test_what_is_told_alone_but_not_among_many_says_so() -> None:
    base = np.ones((1, 100), dtype=bool)
    rival = base.copy()
    rival[0, :7] = False  # McNemar's p is 0.016
    same = [base.copy() for _ in range(8)]
    found = judged(np.stack([base, rival, *same]))
    against = found.standings[1].against
    assert against is not None
    assert against.p == pytest.approx(0.015625)
    assert against.verdict == "cannot tell"
    assert "not among so many" in against.words


def testholm_s_p_values_rise_with_the_plain_ones_and_never_exceed_one() -> None:
    adjusted = holm({(0, 1): 0.01, (0, 2): 0.04, (1, 2): 0.03})
    assert adjusted == pytest.approx({(0, 1): 0.03, (1, 2): 0.06, (0, 2): 0.06})
    assert max(holm({(0, 1): 0.9, (0, 2): 0.8, (1, 2): 0.7}).values()) == 1.0


def test_an_arm_alone_has_no_rivals() -> None:
    found = judged(np.ones((1, 1, 5), dtype=bool))
    assert "no rivals" in found.lead
    assert found.standings[0].first == 1.0


def test_the_spread_over_folds_and_seeds_is_told() -> None:
    right = drawn(np.random.default_rng(1), [0.8, 0.7], seeds=3, pictures=90)
    contestants = [
        Contestant(name=c.name, answers=c.answers, fold_accuracies={0: (0.7, 0.9), 1: (0.8, 0.8), 2: (0.6, 0.8)})
        for c in arms(right)
    ]
    found = judge(contestants, resamples=50)
    assert found.num_folds == 2
    assert found.standings[0].fold_deviation == pytest.approx(np.mean([0.2, 0.0, 0.2]) / np.sqrt(2))
    assert found.standings[0].seed_deviation == pytest.approx(right[0].mean(axis=1).std(ddof=1))


def test_equal_calls_judge_equally_and_the_result_is_json() -> None:
    right = drawn(np.random.default_rng(2), [0.8, 0.7], seeds=2, pictures=60)
    assert judged(right) == judged(right)
    values = json.loads(json.dumps(judged(right).to_dict(), allow_nan=False))
    assert values["standings"][1]["against"]["verdict"] in ("worse", "cannot tell")
    assert values["lead"]


def test_other_pictures_seeds_or_no_arms_are_refused() -> None:
    right = np.ones((2, 2, 10), dtype=bool)
    whole = arms(right)
    with pytest.raises(DataError, match="nothing to compare"):
        judge([])
    with pytest.raises(DataError, match="other seeds"):
        judge([whole[0], arms(right[:, :1])[1]])
    with pytest.raises(DataError, match="same pictures"):
        judge([whole[0], arms(right[:, :, :9])[1]])


def test_the_crossed_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        values = generator.normal(size=(4, 1)) + generator.normal(size=50) + generator.normal(size=(4, 50))
        held += 0.0 in crossed_interval(values)
    assert 0.91 <= held / 300 <= 1.0


def test_one_value_for_all_gives_a_point_and_a_pooled_luck_widens_it() -> None:
    values = np.full((3, 20), 0.5)
    assert crossed_interval(values).width == 0
    assert crossed_interval(values, pooled=SeedLuck(variance=0.01, degrees=20)).width > 0.1
