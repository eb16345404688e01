"""Doubts: a planted wrong label comes first, every reason is found by its own sign, sure and right is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.evaluation.doubts import entropy, find_doubts, margin, view_change

CLASSES = ("acer", "betula", "fagus", "tilia")
SURE = (0.97, 0.01, 0.01, 0.01)


def table(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_a_sure_answer_against_the_label_comes_first() -> None:
    probs = table(SURE, (0.36, 0.34, 0.2, 0.1), SURE)
    found = find_doubts(probs, classes=CLASSES, targets=np.array([0, 0, 2]))
    assert [doubt.row for doubt in found] == [2, 1]
    assert found[0].reasons == ("contradicts the label",)
    assert found[0].suggestion == "acer"
    assert found[0].sentence == 'Labelled "fagus" (1 %), but the model says "acer" (97 %)'
    assert found[1].suggestion == ""


def test_without_labels_nothing_contradicts_them() -> None:
    assert find_doubts(table(SURE, SURE), classes=CLASSES) == ()
    assert find_doubts(table(SURE), classes=CLASSES, targets=np.array([-1])) == ()


@pytest.mark.parametrize(
    ("reason", "more"),
    [
        ("changes with the view", {"other_views": table((0.1, 0.7, 0.1, 0.1))}),
        ("unlike the others", {"unusual": np.array([1.0])}),
    ],
)
def test_each_reason_is_found_by_its_own_sign(reason: str, more: dict[str, np.ndarray]) -> None:
    (found,) = find_doubts(table(SURE), classes=CLASSES, **more)
    assert found.reasons == (reason,)


def test_torn_and_unsure_are_two_things() -> None:
    torn, unsure = find_doubts(table((0.49, 0.48, 0.02, 0.01), (0.5, 0.17, 0.17, 0.16)), classes=CLASSES)
    assert torn.reasons[0] == "torn between two"
    assert '"acer" (49 %) and "betula" (48 %)' in torn.sentence
    assert unsure.reasons == ("unsure of all",)


def test_the_list_ends_where_it_is_told_to() -> None:
    probs = table(*[(0.3, 0.3, 0.2, 0.2)] * 9)
    assert len(find_doubts(probs, classes=CLASSES, limit=4)) == 4


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), number=st.integers(1, 12), classes=st.integers(1, 6))
def test_scores_fall_and_stay_in_bounds(seed: int, number: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    probs = random.dirichlet(np.full(classes, 0.4), size=number).astype(np.float32)
    found = find_doubts(
        probs,
        classes=[f"c{k}" for k in range(classes)],
        targets=random.integers(-1, classes, number),
        other_views=random.dirichlet(np.ones(classes), size=number).astype(np.float32),
        unusual=random.random(number),
    )
    scores = [doubt.score for doubt in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 and doubt.reasons for score, doubt in zip(scores, found, strict=True))


def test_margin_entropy_and_change_have_their_ends() -> None:
    even, one = table((0.25,) * 4), table((1.0, 0.0, 0.0, 0.0))
    assert (margin(even)[0], margin(one)[0]) == pytest.approx((0, 1))
    assert (entropy(even)[0], entropy(one)[0]) == pytest.approx((1, 0), abs=1e-6)
    assert view_change(one, one)[0] == 0
    assert view_change(one, table((0.0, 1.0, 0.0, 0.0)))[0] == 1
