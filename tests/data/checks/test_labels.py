"""Confident learning: which labels are doubted, in which order, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from budwood.data.checks.labels import MOST_NAMED, confident_classes, find_label_errors, suspect_labels
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, ImageRecord

Many = Callable[..., list[ImageRecord]]
Collect = Callable[..., Catalog]


def answers(labels: NDArray[np.int64], *, skill: float, num_classes: int, seed: int) -> NDArray[np.float32]:
    """Probabilities of a network that leans towards ``labels``."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), num_classes))
    logits[np.arange(len(labels)), labels] += skill
    values = np.exp(logits)
    return (values / values.sum(1, keepdims=True)).astype(np.float32)


def swapped(labels: NDArray[np.int64], *, count: int, num_classes: int, seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels))[:count]
    given = labels.copy()
    given[rows] = (given[rows] + rng.integers(1, num_classes, count)) % num_classes
    return given


@pytest.fixture
def opinion_of() -> Callable[..., Opinion]:
    def make(catalog: Catalog, probs: NDArray[np.float32]) -> Opinion:
        rows = len(catalog)
        return Opinion(
            paths=tuple(r.path for r in catalog.records),
            classes=catalog.classes,
            features=np.zeros((rows, 2), np.float32),
            probs=probs,
            folds=np.arange(rows) % 5,
            backbone="lite0",
        )

    return make


def test_swapped_labels_are_named_and_right_ones_are_not() -> None:
    truth = np.arange(600) % 6
    given = swapped(truth, count=30, num_classes=6, seed=0)
    named = suspect_labels(answers(truth, skill=7, num_classes=6, seed=1), given)
    wrong = set(np.flatnonzero(given != truth).tolist())
    assert len(wrong & set(named.tolist())) >= 28
    assert len(set(named.tolist()) - wrong) <= 4


@pytest.mark.parametrize("skill", [2.0, 3.0, 4.0, 6.0])
@pytest.mark.parametrize("seed", range(3))
def test_precision_is_not_below_cleanlabs_on_the_same_probabilities(skill: float, seed: int) -> None:
    """And so is the number of wrong labels among the first suspects, as many as cleanlab names."""
    find_label_issues = pytest.importorskip("cleanlab.filter").find_label_issues
    truth = np.arange(1000) % 8
    given = swapped(truth, count=50, num_classes=8, seed=seed)
    probs = answers(truth, skill=skill, num_classes=8, seed=seed + 10)
    wrong = given != truth
    theirs = find_label_issues(given, probs.astype(np.float64), n_jobs=1)
    ours = suspect_labels(probs, given)
    assert wrong[ours].mean() >= wrong[theirs].mean()
    as_many = np.argsort(probs[np.arange(1000), given])[: theirs.sum()]
    assert wrong[as_many].mean() >= wrong[theirs].mean()


def test_the_least_probable_label_comes_first() -> None:
    truth = np.arange(200) % 2
    given = swapped(truth, count=10, num_classes=2, seed=3)
    probs = answers(truth, skill=3, num_classes=2, seed=4)
    named = suspect_labels(probs, given)
    own = probs[named, given[named]]
    assert len(named) > 5
    assert (np.diff(own) >= 0).all()


def test_a_class_reached_is_the_most_probable_one_above_its_own_mean() -> None:
    labels = np.repeat([0, 1], 5)
    probs = np.array([[0.9, 0.1]] * 5 + [[0.4, 0.6]] * 4 + [[0.95, 0.05]], np.float32)
    assert confident_classes(probs, labels).tolist() == [0] * 5 + [1] * 4 + [0]
    assert suspect_labels(probs, labels).tolist() == [9]


def test_a_network_that_knows_nothing_does_not_doubt_everything() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 400)
    probs = answers(np.random.default_rng(1).integers(0, 4, 400), skill=3, num_classes=4, seed=2)
    assert len(suspect_labels(probs, labels)) <= MOST_NAMED * 400


def test_a_class_of_three_pictures_is_not_doubted() -> None:
    labels = np.array([0] * 40 + [1] * 40 + [2] * 3)
    probs = answers(np.array([0] * 40 + [1] * 40 + [0] * 3), skill=6, num_classes=3, seed=0)
    assert not set(suspect_labels(probs, labels).tolist()) & {80, 81, 82}


def test_no_pictures_give_no_suspects() -> None:
    assert suspect_labels(np.empty((0, 3), np.float32), np.empty(0, np.int64)).tolist() == []


def test_the_evidence_names_both_classes_and_the_suggestion_is_the_likelier(
    many: Many, catalog_of: Collect, opinion_of: Callable[..., Opinion]
) -> None:
    catalog = catalog_of(*many(40))
    probs = np.full((40, 2), 0.1, np.float32)
    probs[np.arange(40), catalog.targets] = 0.9
    probs[0] = [0.001, 0.999]
    probs[3] = [0.93, 0.07]
    sure, hint = find_label_errors(catalog, opinion_of(catalog, probs))
    assert (sure.paths, sure.severity, sure.suggestion) == (("a/0000.jpg",), "warning", "b")
    assert sure.evidence == 'labelled "a" (under .01); lite0, trained without it, says "b" (over .99)'
    assert (hint.paths, hint.severity, hint.suggestion) == (("b/0003.jpg",), "info", "a")
    assert hint.evidence == 'labelled "b" (.07); lite0, trained without it, says "a" (.93)'
    assert sure.score > hint.score


def test_a_relabelled_picture_is_judged_by_its_new_label(
    many: Many, catalog_of: Collect, opinion_of: Callable[..., Opinion]
) -> None:
    records = many(40)
    probs = np.full((40, 2), 0.1, np.float32)
    probs[np.arange(40), [n % 2 for n in range(40)]] = 0.9
    probs[0] = [0.01, 0.99]
    opinion = opinion_of(catalog_of(*records), probs)
    corrected = catalog_of(records[0].__class__(path="a/0000.jpg", label="b"), *records[1:])
    assert find_label_errors(corrected, opinion) == []
