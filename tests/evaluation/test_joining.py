"""How models are joined: the fits are optimal, chance is not taken for skill, other questions are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.ensemble import combine, softmax
from budwood.evaluation.joining import Tried, align_tables, by_one_standard_error, choose_joining, held_out_answers
from budwood.evaluation.joining_fits import fit_greedy, fit_stacking, fit_weights, losses
from budwood.evaluation.joining_score import score_ensemble
from budwood.evaluation.joining_votes import answer_shares, choose_voters
from budwood.evaluation.predictions import Predictions

Table = NDArray[np.float32]
Labels = NDArray[np.int64]
CLASSES = ("a", "b", "c")


def members(noise: list[float], *, number: int = 400, shared: float = 0.0, seed: int = 0) -> tuple[Table, Labels]:
    """Members that are right but for noise of their own, and ``shared`` noise of the pictures."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 3, number)
    hard = shared * generator.normal(size=(number, 3))
    logits = [2.5 * np.eye(3)[targets] + hard + level * generator.normal(size=(number, 3)) for level in noise]
    return softmax(np.stack(logits)).astype(np.float32), targets


def predictions(probs: Table, targets: Labels | None, *, classes: tuple[str, ...] = CLASSES) -> Predictions:
    return Predictions(
        probs=probs, targets=targets, paths=tuple(f"{i}.jpg" for i in range(len(probs))), classes=classes
    )


def test_fitted_weights_are_the_best_on_the_simplex_and_leave_a_useless_member_out() -> None:
    tables, targets = members([0.8, 1.5, 8.0])
    found = fit_weights(tables, targets)
    best = losses(combine(tables, found), targets).mean()
    generator = np.random.default_rng(0)
    for weights in generator.dirichlet(np.ones(3), size=300):
        joined = np.einsum("m,mnk->nk", weights, tables)
        assert losses(joined, targets).mean() >= best - 1e-4
    assert found.weights[2] == 0
    assert found.weights[0] > found.weights[1]


def test_greedy_selection_is_never_worse_than_the_best_member_and_near_the_best_weights() -> None:
    tables, targets = members([1.0, 1.2, 1.4, 5.0])
    greedy = losses(combine(tables, fit_greedy(tables, targets)), targets).mean()
    assert greedy <= min(losses(table, targets).mean() for table in tables) + 1e-9
    assert greedy <= losses(combine(tables, fit_weights(tables, targets)), targets).mean() + 0.01


def test_stacking_mends_what_no_mean_can_and_is_the_mean_of_logarithms_when_held_to_it() -> None:
    tables, targets = members([1.0, 1.0], number=600)
    swapped = tables[:, :, [1, 0, 2]]  # both members mistake a for b, always
    mended = losses(combine(swapped, fit_stacking(swapped, targets, seed=0)), targets).mean()
    assert mended < 0.5 * losses(combine(swapped, replace(fit_greedy(swapped, targets))), targets).mean()
    held = np.asarray(fit_stacking(swapped, targets, seed=0, penalties=(1e6,)).coef)
    np.testing.assert_allclose(held, np.tile(np.eye(3) / 2, (1, 2)), atol=1e-3)


@pytest.mark.parametrize(
    ("gain", "error", "taken"), [(0.03, 0.01, "weighted"), (0.009, 0.01, "mean"), (-0.02, 0.01, "mean")]
)
def test_auto_leaves_the_mean_only_for_more_than_one_standard_error(gain: float, error: float, taken: str) -> None:
    kinds = {"mean": 0.0, "logit-mean": 0.05, "weighted": -gain, "greedy": 0.1, "stacking": 0.2, "vote": -1.0}
    tried = [Tried(method=m, loss=0.5 + g, accuracy=0.8, against_mean=g, error=error) for m, g in kinds.items()]
    method, why = by_one_standard_error(tried)
    assert method == taken
    assert "mean" in why


def test_auto_leaves_the_mean_where_members_are_very_unequal() -> None:
    tables, targets = members([0.5, 9.0, 9.0])
    found = choose_joining(tables, targets)
    assert found.method in ("weighted", "greedy", "stacking")
    assert "less than the mean's" in found.why
    json.dumps(found.to_dict(), allow_nan=False)
    fresh, own = members([0.5, 9.0, 9.0], seed=5)
    assert losses(found.answer(fresh), own).mean() < losses(fresh.mean(axis=0), own).mean()


@pytest.mark.parametrize("method", ["mean", "weighted", "vote", "logit-mean", "stacking", "greedy", "complementary"])
def test_every_method_answers_all_members_tables_and_only_uses_its_own(method: str) -> None:
    tables, targets = members([1.0, 1.5, 9.0], number=120)
    found = choose_joining(tables, targets, method=method)  # type: ignore[arg-type]
    assert found.method == method
    joined = found.answer(tables)
    assert joined.shape == (120, 3)
    unused = [i for i in range(3) if i not in found.members]
    changed = tables.copy()
    changed[unused] = 1 / 3
    np.testing.assert_array_equal(found.answer(changed), joined)
    held_out = held_out_answers(method, tables, targets)
    np.testing.assert_allclose(held_out.sum(axis=1), 1, atol=1e-4)
    if method in ("weighted", "greedy"):
        assert 2 not in found.members, "a useless member would only cost time"
    if method in ("mean", "vote", "logit-mean"):
        np.testing.assert_allclose(held_out, joined, atol=1e-6)


def test_held_out_answers_are_not_flattered_by_their_own_fit() -> None:
    """Labels that are chance: a fit that saw its own pictures looks better than one that did not."""
    generator = np.random.default_rng(2)
    tables = generator.dirichlet(np.ones(3), size=(6, 60)).astype(np.float32)
    targets = generator.integers(0, 3, 60)
    seen = losses(choose_joining(tables, targets, method="weighted").answer(tables), targets).mean()
    assert losses(held_out_answers("weighted", tables, targets), targets).mean() > seen


def test_voters_are_those_whose_errors_fall_on_other_pairs_of_classes() -> None:
    """Three members confuse different pairs, two more all confuse the same pair as the first."""
    sure = np.eye(3)
    first, second, third = sure.copy(), sure.copy(), sure.copy()
    first[0], second[1], third[2] = (0.45, 0.55, 0), (0, 0.45, 0.55), (0.55, 0, 0.45)
    found = choose_voters(np.stack([first, first, first, second, third]))
    assert set(found.members) > {3, 4}
    alike = choose_voters(np.stack([first, first, first]), least=3)
    assert found.expected > alike.expected + 0.05


def test_expected_recall_of_one_voter_is_its_own_mean_recall() -> None:
    tables, targets = members([1.5], number=900)
    shares = answer_shares(tables, targets)
    assert choose_voters(shares).expected == pytest.approx(float(np.diag(shares[0]).mean()), abs=0.02)


def test_more_members_than_can_be_tried_in_all_sets_are_added_one_by_one() -> None:
    tables, targets = members([1.5] * 12, number=100)
    found = choose_voters(answer_shares(tables, targets))
    assert found.expected >= found.all_members - 1e-3


def test_tables_are_matched_by_path_and_class_name() -> None:
    tables, targets = members([1.0, 1.0], number=20)
    first, second = predictions(tables[0], targets), predictions(tables[1], targets)
    order, columns = np.random.default_rng(0).permutation(20), [2, 0, 1]
    moved = Predictions(
        probs=second.probs[order][:, columns],
        targets=np.array([columns.index(t) for t in targets[order]]),
        paths=tuple(second.paths[i] for i in order),
        classes=tuple(CLASSES[k] for k in columns),
    )
    found, own = align_tables([first, moved], names=("x", "y"))
    np.testing.assert_array_equal(found, tables)
    assert own is first


def test_other_pictures_classes_and_labels_are_refused_by_name() -> None:
    tables, targets = members([1.0, 1.0], number=20)
    first, second = predictions(tables[0], targets), predictions(tables[1], targets)
    cases = {
        r"did not answer the same pictures \(20 and 19\)": predictions(tables[1][:-1], targets[:-1]),
        'only one of left and right knows the class "c"': replace(second, classes=("a", "b", "d")),
        "0.jpg is labelled differently in left and right": replace(second, targets=(targets + 1) % 3),
        "right holds answers without labels": replace(second, targets=None),
    }
    for words, other in cases.items():
        with pytest.raises(DataError, match=words):
            align_tables([first, other], names=("left", "right"))
    with pytest.raises(DataError, match="needs two members"):
        choose_joining(tables[:1], targets)


def test_the_gain_is_against_the_member_that_was_best_on_the_choosing_pictures() -> None:
    """The second member is best on the test part, but the first was on the choosing pictures."""
    tables, targets = members([2.0, 1.0], number=300, seed=1)
    chosen, own = members([1.0, 2.0], number=300, seed=2)
    found = score_ensemble(
        predictions(tables.mean(axis=0), targets),
        members=[predictions(table, targets) for table in tables],
        chosen_by=[predictions(table, own) for table in chosen],
        names=("first", "second"),
        used=(True, True),
        weights=(None, None),
        seconds=(0.1, 0.2),
    )
    assert found.best == "first"
    assert found.members[1].accuracy.value > found.members[0].accuracy.value
    assert found.gain.accuracy.a == found.members[0].accuracy.value
    assert found.seconds == pytest.approx(0.3)
    named = tables.argmax(axis=2)
    (pair,) = found.pairs
    assert pair.disagreement == pytest.approx((named[0] != named[1]).mean())
    assert pair.both_wrong == pytest.approx(((named[0] != targets) & (named[1] != targets)).mean())
    assert pair.correlation == pytest.approx(np.corrcoef(named[0] != targets, named[1] != targets)[0, 1])
    assert "points" in found.words
    json.dumps(found.to_dict(), allow_nan=False)


def test_an_unknown_time_makes_the_sum_unknown_and_a_member_without_errors_has_no_correlation() -> None:
    targets = np.arange(30) % 3
    sure = predictions(np.eye(3, dtype=np.float32)[targets], targets)
    found = score_ensemble(
        sure,
        members=[sure, sure],
        chosen_by=[sure, sure],
        names=("x", "y"),
        used=(True, True),
        weights=(0.5, 0.5),
        seconds=(0.1, None),
    )
    assert found.seconds is None
    assert found.pairs[0].correlation is None
