"""Linear heads: equal to scikit-learn's, honest about pictures that were left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from budwood.augment.balance import BalanceSpec, Method
from budwood.events import StepAdvanced, StepFinished, StepStarted
from budwood.train import linear
from budwood.train.balanced_heads import Heads, weighed, weighing
from budwood.train.heads import HeadSpec, choose_head, fit_head

Floats = NDArray[Any]


@dataclass
class Problem:
    """Features ``[V, N, D]``, labels and folds of a learnable task."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    folds: NDArray[np.int64]
    num_classes: int


def learnable(
    *, pictures: int = 60, width: int = 8, num_classes: int = 3, views: int = 1, noise: float = 1.5, seed: int = 0
) -> Problem:
    generator = np.random.default_rng(seed)
    targets = np.arange(pictures) % num_classes
    centres = generator.normal(size=(num_classes, width))
    features = centres[targets] + noise * generator.normal(size=(views, pictures, width))
    features = features * generator.uniform(0.1, 20, width) + generator.normal(size=width) * 3
    folds = generator.permutation(pictures) % 5
    return Problem(features.astype(np.float32), targets, folds, num_classes)


def scikit_head(rows: Floats, targets: Floats, *, penalty: float, num_classes: int) -> tuple[Floats, Floats]:
    """Weight and bias on standardised rows. Two classes: scikit-learn keeps one vector v, a softmax head -v/2 and v/2,
    whose squares sum to half of v's: the same penalty is twice the C."""
    strength = (2.0 if num_classes == 2 else 1.0) / (penalty * len(rows))
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=20_000).fit(rows, targets)
    if num_classes > 2:
        return model.coef_, model.intercept_
    return np.concatenate([-model.coef_, model.coef_]) / 2, np.concatenate([-model.intercept_, model.intercept_]) / 2


def objective(rows: Floats, targets: Floats, weight: Floats, bias: Floats, *, penalty: float) -> float:
    right = log_softmax(rows @ weight.T + bias, axis=1)[np.arange(len(rows)), targets]
    return float(-right.mean() + penalty / 2 * np.square(weight).sum())


@pytest.mark.parametrize("penalty", [1e-4, 1e-3, 3e-2, 1.0])
@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize(("pictures", "width"), [(90, 12), (40, 100)], ids=["more rows", "more columns"])
def test_head_equals_scikit_learn(penalty: float, num_classes: int, pictures: int, width: int) -> None:
    task = learnable(pictures=pictures, width=width, num_classes=num_classes, views=2)
    weight, bias = fit_head(task.features, task.targets, num_classes=num_classes, penalty=penalty)
    raw = task.features.reshape(-1, width).astype(np.float64)
    targets = np.tile(task.targets, 2)
    scaler = StandardScaler().fit(raw)
    rows = scaler.transform(raw)
    their_weight, their_bias = scikit_head(rows, targets, penalty=penalty, num_classes=num_classes)
    best = objective(rows, targets, their_weight, their_bias, penalty=penalty)
    own = objective(rows, targets, weight * scaler.scale_, bias + weight @ scaler.mean_, penalty=penalty)
    assert own == pytest.approx(best, rel=1e-5, abs=5e-7)  # the losses themselves are float32
    own_probs = softmax(raw @ weight.T + bias, axis=1)
    np.testing.assert_allclose(own_probs, softmax(rows @ their_weight.T + their_bias, axis=1), atol=1e-3)


def test_out_of_fold_probabilities_equal_a_scikit_learn_head_that_never_saw_the_fold() -> None:
    task = learnable(views=2)
    spec = HeadSpec(penalties=(0.02,))
    result = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=spec)
    rows = StandardScaler().fit_transform(task.features.reshape(-1, 8).astype(np.float64))
    targets, folds = np.tile(task.targets, 2), np.tile(task.folds, 2)
    expected = np.zeros((60, 3))
    for fold in range(5):
        kept = folds != fold
        weight, bias = scikit_head(rows[kept], targets[kept], penalty=0.02, num_classes=3)
        probs = softmax(rows @ weight.T + bias, axis=1).reshape(2, 60, 3).mean(0)
        expected[task.folds == fold] = probs[task.folds == fold]
    np.testing.assert_allclose(result.out_of_fold, expected, atol=3e-3)


def test_scores_are_those_of_the_out_of_fold_probabilities() -> None:
    task = learnable()
    result = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec())
    right = result.out_of_fold[np.arange(60), task.targets]
    hit = result.out_of_fold.argmax(1) == task.targets
    for fold in range(5):
        held = task.folds == fold
        assert result.accuracies[result.chosen, fold] == pytest.approx(hit[held].mean())
        assert result.log_losses[result.chosen, fold] == pytest.approx(-np.log(right[held]).mean(), rel=1e-5)
    assert result.selection_accuracy == pytest.approx(hit.mean())
    assert result.log_losses.mean(1).argmin() == result.chosen
    assert result.penalty == result.penalties[result.chosen]


def test_shipped_head_is_the_chosen_penalty_fitted_on_all_rows() -> None:
    task = learnable(views=2)
    result = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec())
    weight, bias = fit_head(task.features, task.targets, num_classes=3, penalty=result.penalty)
    np.testing.assert_allclose(result.weight, weight, atol=1e-5)
    np.testing.assert_allclose(result.bias, bias, atol=1e-5)


def test_all_views_of_a_picture_are_left_out_together() -> None:
    # Labels are noise; only another view of the same picture tells them.
    generator = np.random.default_rng(1)
    pictures = generator.normal(size=(80, 160)).astype(np.float32)
    targets = generator.permutation(np.arange(80) % 2)
    views = np.stack([pictures, pictures + 0.05 * generator.normal(size=pictures.shape).astype(np.float32)])
    folds = generator.permutation(80) % 5
    spec = HeadSpec(penalties=(1e-2,))
    honest = choose_head(views, targets, folds, num_classes=2, spec=spec)
    leaking_folds = np.concatenate([folds, (folds + 1) % 5])
    leaking = choose_head(views.reshape(1, 160, 160), np.tile(targets, 2), leaking_folds, num_classes=2, spec=spec)
    assert leaking.selection_accuracy > 0.95  # the leak is there to be used
    assert honest.selection_accuracy < 0.7


def test_shuffled_labels_stay_at_chance() -> None:
    task = learnable(pictures=240, num_classes=3, noise=0.5)
    shuffled = np.random.default_rng(5).permutation(task.targets)
    told = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec())
    fooled = choose_head(task.features, shuffled, task.folds, num_classes=3, spec=HeadSpec())
    assert told.selection_accuracy > 0.9
    assert 0.2 < fooled.selection_accuracy < 0.45


@pytest.mark.parametrize("value", [0.0, 0.5, 1234.567], ids=str)
def test_constant_features_give_the_class_frequencies(value: float) -> None:
    features = np.full((2, 40, 6), value, dtype=np.float32)
    targets = np.array([0] * 24 + [1] * 12 + [2] * 4)
    weight, bias = fit_head(features, targets, num_classes=3, penalty=1e-2)
    logits = features[0, 0].astype(np.float64) @ weight.T.astype(np.float64) + bias
    np.testing.assert_allclose(softmax(logits), [0.6, 0.3, 0.1], atol=1e-3)


@pytest.mark.parametrize("damage", ["duplicate", "constant", "both"])
def test_redundant_columns_give_what_scikit_learn_gives(damage: str) -> None:
    task = learnable(pictures=70)
    columns = [task.features]
    columns += [task.features, task.features[..., :3]] if damage != "constant" else []
    columns += [np.full((1, 70, 4), 7.25, np.float32)] if damage != "duplicate" else []
    features = np.concatenate(columns, axis=2)
    weight, bias = fit_head(features, task.targets, num_classes=3, penalty=1e-2)
    raw = features[0].astype(np.float64)
    rows = StandardScaler().fit_transform(raw)
    expected = scikit_head(rows, task.targets, penalty=1e-2, num_classes=3)
    own = softmax(raw @ weight.T + bias, axis=1)
    np.testing.assert_allclose(own, softmax(rows @ expected[0].T + expected[1], axis=1), atol=1e-3)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scale_of_the_features_does_not_matter(factor: float) -> None:
    task = learnable()
    weight, bias = fit_head(task.features, task.targets, num_classes=3, penalty=1e-2)
    scaled, scaled_bias = fit_head(task.features * factor, task.targets, num_classes=3, penalty=1e-2)
    np.testing.assert_allclose(scaled * factor, weight, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(scaled_bias, bias, atol=1e-3)


def test_chunks_give_what_all_heads_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    task = learnable(views=2)
    together = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec())
    monkeypatch.setattr(linear, "_LOGITS_BUDGET", 4 * 120 * 3 * 2)  # two heads a chunk
    events: list[object] = []
    apart = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec(), listen=events.append)
    assert [e.count for e in events if isinstance(e, StepAdvanced)] == [2] * 15 + [1]
    np.testing.assert_allclose(apart.log_losses, together.log_losses, atol=1e-3)
    np.testing.assert_allclose(apart.out_of_fold, together.out_of_fold, atol=2e-3)
    np.testing.assert_allclose(apart.weight, together.weight, atol=1e-4)
    assert apart.chosen == together.chosen


def test_order_of_the_penalties_does_not_matter() -> None:
    task = learnable()
    penalties = (1e-3, 1e-2, 1e-1, 1.0)
    up = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec(penalties=penalties))
    down = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec(penalties=penalties[::-1]))
    assert up.penalty == down.penalty
    np.testing.assert_allclose(up.log_losses, down.log_losses[::-1], atol=1e-3)
    np.testing.assert_allclose(up.weight, down.weight, atol=1e-4)


def test_numbers_of_the_folds_do_not_matter() -> None:
    task = learnable()
    renamed = np.array([3, 0, 4, 1, 2])
    first = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec())
    second = choose_head(task.features, task.targets, renamed[task.folds], num_classes=3, spec=HeadSpec())
    np.testing.assert_allclose(second.log_losses[:, renamed], first.log_losses, atol=1e-3)
    np.testing.assert_allclose(second.out_of_fold, first.out_of_fold, atol=2e-3)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), num_classes=st.integers(2, 6), views=st.integers(1, 3))
def test_rows_of_out_of_fold_probabilities_sum_to_one(seed: int, num_classes: int, views: int) -> None:
    task = learnable(pictures=30, num_classes=num_classes, views=views, seed=seed)
    spec = HeadSpec(penalties=(1e-2, 1.0))
    result = choose_head(task.features, task.targets, task.folds, num_classes=num_classes, spec=spec)
    np.testing.assert_allclose(result.out_of_fold.sum(1), 1, atol=1e-5)
    assert result.weight.shape == (num_classes, 8)
    assert result.bias.shape == (num_classes,)
    assert result.converged


def test_converged_is_false_when_the_iterations_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    task = learnable()
    spec = HeadSpec(penalties=(1e-3,))
    assert choose_head(task.features, task.targets, task.folds, num_classes=3, spec=spec).converged
    monkeypatch.setattr("budwood.train.lbfgs._MAX_ITERATIONS", 2)
    cut = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=spec)
    assert not cut.converged
    assert cut.iterations == 2


def test_class_that_a_fold_holds_alone_is_no_obstacle() -> None:
    task = learnable(num_classes=3)
    folds = np.where(task.targets == 2, 0, 1 + np.arange(60) % 4)
    result = choose_head(task.features, task.targets, folds, num_classes=3, spec=HeadSpec())
    assert np.isfinite(result.log_losses).all()
    assert result.accuracies[result.chosen, 0] == 0  # no head that judged the class had seen it


def test_empty_fold_is_passed_over() -> None:
    task = learnable()
    result = choose_head(task.features, task.targets, task.folds * 2, num_classes=3, spec=HeadSpec())
    full = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec())
    assert result.penalty == full.penalty


def test_progress_counts_every_head() -> None:
    task = learnable()
    events: list[object] = []
    choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec(), listen=events.append)
    started = next(e for e in events if isinstance(e, StepStarted))
    assert started.total == sum(e.count for e in events if isinstance(e, StepAdvanced))
    assert isinstance(events[-1], StepFinished)


def uneven(*, seed: int = 0) -> Problem:
    """Three classes, the last of them rare."""
    task = learnable(pictures=90, seed=seed, views=2)
    rare = np.flatnonzero(task.targets == 2)[6:]
    kept = np.setdiff1d(np.arange(90), rare)
    return Problem(task.features[:, kept], task.targets[kept], task.folds[kept], 3)


def heads_of(task: Problem, *, folds: bool = True) -> Heads:
    return Heads.of(task.features, task.targets, task.folds if folds else None, num_classes=3, seed=4)


def test_weights_of_one_change_nothing() -> None:
    task = uneven()
    plain = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec())
    same = choose_head(
        task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec(), weighing=weighed(heads_of(task))
    )
    np.testing.assert_allclose(same.out_of_fold, plain.out_of_fold, atol=1e-6)
    np.testing.assert_allclose(same.log_losses, plain.log_losses, atol=1e-6)
    np.testing.assert_allclose(same.weight, plain.weight, atol=1e-6)


def test_class_weights_give_scikit_learns_balanced_head() -> None:
    task = uneven()
    found = weighing(BalanceSpec(method="class_weights"), heads_of(task, folds=False))
    weight, bias = fit_head(task.features, task.targets, num_classes=3, penalty=0.02, weighing=found)
    raw, targets = task.features.reshape(-1, 8).astype(np.float64), np.tile(task.targets, 2)
    scaler = StandardScaler().fit(raw)
    model = LogisticRegression(C=1 / (0.02 * len(raw)), class_weight="balanced", tol=1e-10, max_iter=20_000)
    expected = model.fit(scaler.transform(raw), targets).predict_proba(scaler.transform(raw))
    np.testing.assert_allclose(softmax(raw @ weight.T + bias, axis=1), expected, atol=1e-3)


@pytest.mark.parametrize("method", ["weighted_sampler", "oversampling"])
def test_a_draw_is_a_head_on_the_drawn_pictures(method: Any) -> None:
    task = uneven()
    found = weighing(BalanceSpec(method=method), heads_of(task, folds=False))
    assert found is not None
    times = found.weights[-1].astype(int)
    assert (times == found.weights[-1]).all()
    weight, bias = fit_head(task.features, task.targets, num_classes=3, penalty=0.02, weighing=found)
    raw = task.features.reshape(-1, 8).astype(np.float64)
    rows = StandardScaler().fit_transform(raw)  # all arms share the scaling of the pictures as they are
    drawn = np.repeat(np.arange(len(raw)), np.tile(times, 2))
    targets = np.tile(task.targets, 2)
    expected = scikit_head(rows[drawn], targets[drawn], penalty=0.02, num_classes=3)
    own = softmax(raw @ weight.T + bias, axis=1)
    np.testing.assert_allclose(own, softmax(rows @ expected[0].T + expected[1], axis=1), atol=1e-3)


def test_further_rows_count_like_pictures() -> None:
    task = uneven()
    repeated = weighing(BalanceSpec(method="oversampling"), heads_of(task, folds=False))
    assert repeated is not None
    extra = np.repeat(np.arange(len(task.targets)), repeated.weights[-1].astype(int) - 1)
    given = weighed(
        heads_of(task, folds=False),
        rows=task.features[:, extra].reshape(-1, 8),
        row_targets=np.tile(task.targets[extra], 2),
        row_weights=np.ones((1, 2 * len(extra))),
    )
    as_weights = fit_head(task.features, task.targets, num_classes=3, penalty=0.02, weighing=repeated)
    as_rows = fit_head(task.features, task.targets, num_classes=3, penalty=0.02, weighing=given)
    for one, other in zip(as_weights, as_rows, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_logit_adjustment_afterwards_is_the_head_that_was_trained_with_the_offsets() -> None:
    task = uneven()
    found = weighing(BalanceSpec(method="logit_adjustment"), heads_of(task, folds=False))
    assert found is not None
    weight, bias = fit_head(task.features, task.targets, num_classes=3, penalty=0.02, weighing=found)
    raw, targets = task.features.reshape(-1, 8).astype(np.float64), np.tile(task.targets, 2)
    rows = StandardScaler().fit_transform(raw)
    prior = np.log(np.bincount(task.targets) / len(task.targets))

    def loss(flat: Floats) -> float:  # Menon et al.: the offset stands in the loss, not in the answer
        head = flat.reshape(3, 9)
        return objective(rows, targets, head[:, :8], head[:, 8] + prior, penalty=0.02)

    best = minimize(loss, np.zeros(27), method="BFGS", options={"gtol": 1e-6}).x.reshape(3, 9)
    own = softmax(raw @ weight.T + bias, axis=1)
    np.testing.assert_allclose(own, softmax(rows @ best[:, :8].T + best[:, 8], axis=1), atol=2e-3)


def test_logit_adjustment_chooses_the_penalty_of_the_plain_head_and_shifts_its_answers() -> None:
    task = uneven()
    found = weighing(BalanceSpec(method="logit_adjustment"), heads_of(task))
    plain = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec())
    shifted = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec(), weighing=found)
    assert shifted.penalty == plain.penalty
    np.testing.assert_allclose(shifted.weight, plain.weight, atol=1e-6)
    assert (shifted.out_of_fold[:, 2] > plain.out_of_fold[:, 2]).all()


@pytest.mark.parametrize("method", [name for name in get_args(Method) if name != "none"])
def test_no_head_sees_anything_made_of_what_it_holds_out(method: Any) -> None:
    if method == "smote":
        pytest.importorskip("imblearn")
    task = uneven()
    poisoned = task.features.copy()
    held = task.folds == 1
    poisoned[:, held] = np.nan if method != "smote" else 1e6

    def more(features: Floats) -> Any:
        return lambda positions, number: np.repeat(features[:1, positions], number, axis=0) + 1

    sound = weighing(BalanceSpec(method=method), heads_of(task), more_views=more(task.features))
    spoilt = weighing(
        BalanceSpec(method=method),
        Heads.of(poisoned, task.targets, task.folds, num_classes=3, seed=4),
        more_views=more(poisoned),
    )
    assert sound is not None
    assert spoilt is not None
    fold = 1
    assert (sound.weights[fold, held] == 0).all()
    np.testing.assert_array_equal(sound.weights[fold], spoilt.weights[fold])
    seen = spoilt.row_weights[fold] > 0
    assert np.abs(spoilt.rows[seen]).max(initial=0) < 1e5  # nothing poisoned, and no NaN
    if method in ("class_augmentation", "smote"):
        assert seen.any()
        assert (task.targets == 2).sum() < (spoilt.row_targets[seen] == 2).sum()


def test_the_counts_of_a_fold_are_of_what_it_keeps() -> None:
    task = uneven()
    found = weighing(BalanceSpec(method="class_weights"), heads_of(task))
    assert found is not None
    for fold in range(5):
        kept = task.folds != fold
        totals = np.bincount(task.targets[kept], weights=found.weights[fold, kept])
        np.testing.assert_allclose(totals, kept.sum() / 3, rtol=1e-5)


@pytest.mark.parametrize("method", ["oversampling", "class_augmentation", "smote"])
def test_each_class_weighs_what_it_should_have_had(method: Any) -> None:
    if method == "smote":
        pytest.importorskip("imblearn")
    task = uneven()
    found = weighing(
        BalanceSpec(method=method),
        heads_of(task),
        more_views=lambda positions, number: np.repeat(task.features[:1, positions], number, axis=0),
    )
    assert found is not None
    for head in range(6):
        counts = np.bincount(task.targets[found.weights[head] > 0], minlength=3)
        totals = 2 * np.bincount(task.targets, weights=found.weights[head])
        totals += np.bincount(found.row_targets, weights=found.row_weights[head], minlength=3)
        np.testing.assert_allclose(totals, 2 * counts.max(), rtol=1e-5)


def test_the_penalty_is_chosen_by_the_loss_that_was_trained() -> None:
    task = uneven()
    found = weighing(BalanceSpec(method="class_weights"), heads_of(task))
    result = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec(), weighing=found)
    right = np.log(result.out_of_fold[np.arange(len(task.targets)), task.targets])
    for fold in range(5):
        held, kept = task.folds == fold, task.folds != fold
        each = 1 / np.bincount(task.targets[kept])[task.targets[held]]
        expected = -np.average(right[held], weights=each)
        assert result.log_losses[result.chosen, fold] == pytest.approx(expected, rel=1e-4)


def test_strength_zero_is_no_balance_at_all() -> None:
    task = uneven()
    plain = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec())
    for method in ("class_weights", "oversampling", "logit_adjustment"):
        spec = BalanceSpec.model_validate({"method": method, "strength": 0})
        weights = weighing(spec, heads_of(task))
        found = choose_head(task.features, task.targets, task.folds, num_classes=3, spec=HeadSpec(), weighing=weights)
        np.testing.assert_allclose(found.out_of_fold, plain.out_of_fold, atol=1e-5)
