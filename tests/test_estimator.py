"""`BudwoodClassifier` where scikit-learn's own rules make sense for pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, cross_val_score

from budwood.errors import DataError
from budwood.estimator import BudwoodClassifier

TINY = {"tiny": True, "threads": 1, "refit": False}


@pytest.fixture(scope="module")
def paths(photos: Path) -> list[str]:
    return sorted(str(path) for path in photos.glob("*/*.jpg"))


@pytest.fixture(scope="module")
def labels(paths: list[str]) -> list[str]:
    return [Path(path).parent.name for path in paths]


@pytest.fixture(scope="module")
def arrays(paths: list[str]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path).convert("RGB").resize((32, 32))) for path in paths])


def test_paths_and_texts_in_probabilities_out(
    paths: list[str], labels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = BudwoodClassifier(**TINY).fit(paths, labels)
    probs = model.predict_proba(paths[:5])
    assert model.classes_.tolist() == sorted(set(labels))
    assert probs.shape == (5, 3)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    assert model.predict(paths[:5]).tolist() == [model.classes_[k] for k in probs.argmax(1)]
    assert model.score(paths, labels) == np.mean(model.predict(paths) == np.array(labels))
    np.testing.assert_allclose(probs, model.bundle_.predict(paths[:5]).probs, atol=1e-6)
    assert list(tmp_path.iterdir()) == [], "nothing is left where it was called"


def test_arrays_with_numbers_keep_their_numbers_and_order(arrays: np.ndarray, labels: list[str]) -> None:
    numbers = np.array(
        [
            {name: number for number, name in zip((100, 7, 30), sorted(set(labels)), strict=True)}[name]
            for name in labels
        ]
    )
    model = BudwoodClassifier(**TINY).fit(arrays, numbers)
    assert model.classes_.tolist() == [7, 30, 100]
    assert set(model.predict(arrays).tolist()) <= {7, 30, 100}
    as_it_is = model.bundle_.predict_images(list(arrays))
    named = [model.bundle_.classes.index(name) for name in ("007", "030", "100")]
    np.testing.assert_allclose(model.predict_proba(arrays), as_it_is[:, named], atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(arrays / 255.0), as_it_is[:, named], atol=1e-6)


@pytest.mark.slow
def test_it_is_clonable_and_lives_in_cross_validation(paths: list[str], labels: list[str]) -> None:
    model = BudwoodClassifier("probe", seed=3, **TINY)
    again = clone(model).set_params(seed=4)
    assert again.get_params() == {**model.get_params(), "seed": 4}
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    scores = cross_val_score(model, np.array(paths), np.array(labels), cv=folds, error_score="raise")
    assert len(scores) == 2
    assert all(0 <= score <= 1 for score in scores)


def test_what_does_not_fit_is_said_before_anything_is_trained(paths: list[str], labels: list[str]) -> None:
    with pytest.raises(DataError, match="one each is expected"):
        BudwoodClassifier(**TINY).fit(paths, labels[:-1])
    with pytest.raises(DataError, match="different texts"):
        BudwoodClassifier(**TINY).fit(paths, ["", *labels[1:]])
