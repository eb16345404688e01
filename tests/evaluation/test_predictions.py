from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.errors import IntegrityError
from budwood.evaluation.predictions import Predictions

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@st.composite
def tables(draw: st.DrawFn) -> Predictions:
    classes = tuple(draw(st.lists(names, min_size=1, max_size=5, unique=True)))
    paths = tuple(draw(st.lists(names, min_size=1, max_size=8, unique=True)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    targets = random.integers(0, len(classes), len(paths)) if draw(st.booleans()) else None
    probs = random.dirichlet(np.ones(len(classes)), len(paths)).astype(np.float32)
    return Predictions(probs=probs, targets=targets, paths=paths, classes=classes)


@given(table=tables())
@settings(max_examples=60)
def test_what_is_saved_is_loaded_again(table: Predictions, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("predictions") / "test.csv"
    table.save(path)
    loaded = Predictions.load(path)
    assert (loaded.paths, loaded.classes) == (table.paths, table.classes)
    np.testing.assert_allclose(loaded.probs, table.probs, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(loaded.predicted, table.predicted)
    if table.targets is None:
        assert loaded.targets is None
    else:
        np.testing.assert_array_equal(loaded.targets, table.targets)


def test_predicted_is_the_most_probable_class() -> None:
    probs = np.array([[0.2, 0.8], [0.9, 0.1]], dtype=np.float32)
    table = Predictions(probs=probs, targets=None, paths=("a", "b"), classes=("x", "y"))
    assert table.predicted.tolist() == [1, 0]
    assert len(table) == 2


@pytest.mark.parametrize(
    ("paths", "classes", "targets", "message"),
    [
        pytest.param(("a",), ("x", "y"), None, "2 x 2, but there are 1 paths", id="too few paths"),
        pytest.param(("a", "b"), ("x",), None, "and 1 classes", id="too few classes"),
        pytest.param(("a", "b"), ("x", "y"), np.zeros(3, np.int64), r"expected \(2,\)", id="too many targets"),
    ],
)
def test_shapes_that_do_not_agree_are_refused(
    paths: tuple[str, ...], classes: tuple[str, ...], targets: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Predictions(probs=np.full((2, 2), 0.5, np.float32), targets=targets, paths=paths, classes=classes)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("path,target,predicted,probability,p(x)\na,x,x,1,one\n", id="no number"),
        pytest.param("path,target,predicted,probability,p(x)\na,y,x,1,1\n", id="unknown class"),
        pytest.param("", id="empty"),
    ],
)
def test_a_damaged_table_is_an_integrity_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_text(text)
    with pytest.raises(IntegrityError, match="not a table of predictions"):
        Predictions.load(path)


def test_a_missing_table_is_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        Predictions.load(tmp_path / "none.csv")
