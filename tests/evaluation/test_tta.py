"""Test-time views: the average is what it says, useful views are found, useless ones are not kept."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.ensemble import softmax
from budwood.evaluation.intervals import Interval
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.tta import average_views, choose_views_by, tta_gain
from budwood.evaluation.views import View

MENU = tuple(View(turn=turn) for turn in (0, 4, 2, 6))


def answers(noise: list[float], *, number: int = 300, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Views of pictures of three classes, each with own noise on the right logits."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 3, number)
    own = 2.0 * np.eye(3)[targets]
    logits = np.stack([own + level * generator.normal(size=own.shape) for level in noise])
    return softmax(logits).astype(np.float32), targets


def predictions(probs: NDArray[np.float32], targets: NDArray[np.int64]) -> Predictions:
    return Predictions(probs=probs, targets=targets, paths=tuple(map(str, range(len(probs)))), classes=("a", "b", "c"))


def test_the_mean_of_logits_is_that_of_what_went_into_the_softmax() -> None:
    logits = np.random.default_rng(1).normal(size=(4, 5, 3))
    found = average_views(softmax(logits).astype(np.float32), "logits")
    np.testing.assert_allclose(found, softmax(logits.mean(axis=0)), atol=1e-5)
    np.testing.assert_allclose(
        average_views(softmax(logits).astype(np.float32)), softmax(logits).mean(axis=0), atol=1e-6
    )


def test_views_with_independent_noise_are_kept_and_equal_ones_are_not() -> None:
    tables, targets = answers([1.5, 1.5, 1.5, 1.5])
    found = choose_views_by(tables, targets, menu=MENU)
    assert len(found.views) >= 3
    assert found.steps[len(found.views) - 1].loss < found.steps[0].loss
    same = choose_views_by(np.repeat(tables[:1], 4, axis=0), targets, menu=MENU)
    assert same.views == (View(),)
    assert "no further view" in same.why


def test_a_bad_view_is_never_kept() -> None:
    tables, targets = answers([1.0, 1.0, 6.0, 1.0])
    found = choose_views_by(tables, targets, menu=MENU)
    assert MENU[2] not in found.views
    assert found.steps[-1].added == MENU[2], "it comes last"


def test_a_gain_within_the_noise_gives_the_smaller_set_and_says_so() -> None:
    tables, targets = answers([1.0, 1.0, 1.0, 1.0], number=12, seed=3)
    found = choose_views_by(tables, targets, menu=MENU)
    best = min(range(4), key=lambda n: found.steps[n].loss)
    assert best > 0
    assert len(found.views) < best + 1
    assert "the smaller set is taken" in found.why
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_picture_as_it_is_comes_first_wherever_it_stands_in_the_menu() -> None:
    tables, targets = answers([1.0, 1.0])
    assert choose_views_by(tables, targets, menu=(View(scale=1.1), View())).views[0] == View()


def test_without_pictures_nothing_is_chosen() -> None:
    with pytest.raises(DataError, match="there are none"):
        choose_views_by(np.zeros((4, 0, 3), np.float32), np.zeros(0, np.int64), menu=MENU)


def test_the_gain_is_paired_and_tells_its_cost() -> None:
    tables, targets = answers([1.5] * 8, number=600)
    one, several = predictions(tables[0], targets), predictions(average_views(tables), targets)
    found = tta_gain(one, several, views=8, seconds_one=2.0, seconds_all=15.0)
    assert found.one_view == (one.predicted == targets).mean()
    assert found.difference.value == pytest.approx(found.all_views - found.one_view)
    assert found.difference.verdict == "better"
    assert found.cost == 7.5
    assert found.seconds_a_picture == 15.0 / 600
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["difference"]["verdict"] == "better"
    assert "better; 7.5 times the time" in values["words"]


def test_where_interval_and_test_disagree_nothing_is_claimed() -> None:
    """The interval may just leave out zero where McNemar's test sees nothing."""
    tables, targets = answers([1.5] * 2, number=300)
    found = tta_gain(
        predictions(tables[0], targets), predictions(tables[1], targets), views=2, seconds_one=1.0, seconds_all=2.0
    )
    told = replace(found, mcnemar_p=0.06, difference=replace(found.difference, interval=Interval(low=0.001, high=0.08)))
    assert told.difference.verdict == "better"
    assert told.verdict == told.to_dict()["difference"]["verdict"] == "cannot tell"
    assert "cannot tell" in told.words
