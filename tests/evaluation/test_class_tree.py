"""A class tree joins its decisions by the product along each path, whatever the shape of the tree."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budwood.errors import SettingsError
from budwood.evaluation.class_tree import CascadeSpec, ClassTree

CLASSES = ("a", "b", "c", "d", "e")
DEEP = ["c", ["a", ["e", "b"], "d"]]


def trees(names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Any nesting of some names in any order."""

    @st.composite
    def nested(draw: st.DrawFn, left: list[str]) -> Any:
        if len(left) == 1:
            return left[0]
        cuts = sorted(draw(st.sets(st.integers(1, len(left) - 1), min_size=1)))
        pieces = [left[a:b] for a, b in zip([0, *cuts], [*cuts, len(left)], strict=True)]
        return [draw(nested(piece)) for piece in pieces]

    return st.permutations(names).flatmap(nested)


def tables_of(tree: ClassTree, *, rows: int, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        generator.dirichlet(np.ones(len(decision.branches)), size=rows).astype(np.float32)
        for decision in tree.decisions
    ]


def test_the_double_model_is_the_product_of_its_two_answers() -> None:
    tree = ClassTree.first(["b"], classes=("a", "b", "c"))
    assert [decision.labels for decision in tree.decisions] == [("b", "a + c"), ("a", "c")]
    joined = tree.join([np.array([[0.3, 0.7]], np.float32), np.array([[0.9, 0.1]], np.float32)])
    assert joined[0] == pytest.approx([0.63, 0.3, 0.07])


@given(trees(CLASSES), st.integers(0, 1000))
def test_joined_rows_are_probabilities_and_every_branch_keeps_its_own(tree: Any, seed: int) -> None:
    made = ClassTree(tree, classes=CLASSES)
    tables = tables_of(made, rows=4, seed=seed)
    joined = made.join(tables)
    assert joined.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    # P(branch | decision) can be read off the joined table again: nothing got lost or went elsewhere.
    for decision, table in zip(made.decisions, tables, strict=True):
        sums = np.stack([joined[:, [CLASSES.index(n) for n in names]].sum(axis=1) for names in decision.branches], 1)
        assert sums / sums.sum(axis=1, keepdims=True) == pytest.approx(table, abs=1e-4)


@given(trees(CLASSES), st.integers(0, 1000))
def test_the_order_of_the_classes_only_moves_columns(tree: Any, seed: int) -> None:
    made, turned = ClassTree(tree, classes=CLASSES), ClassTree(tree, classes=CLASSES[::-1])
    tables = tables_of(made, rows=3, seed=seed)
    assert np.array_equal(made.join(tables), turned.join(tables)[:, ::-1])


@given(trees(CLASSES))
def test_a_tree_comes_back_from_its_values(tree: Any) -> None:
    made = ClassTree(tree, classes=CLASSES)
    again = ClassTree.from_dict(made.to_dict())
    assert (again.decisions, again.classes) == (made.decisions, made.classes)


@given(trees(CLASSES))
def test_decisions_that_are_all_right_make_answers_that_are_all_right(tree: Any) -> None:
    made, truth = ClassTree(tree, classes=CLASSES), np.arange(len(CLASSES))
    tables = []
    for number, decision in enumerate(made.decisions):
        right = made.targets(number, truth)
        assert sorted(CLASSES[i] for i in np.flatnonzero(right >= 0)) == sorted(decision.classes)
        tables.append(np.eye(len(decision.branches), dtype=np.float32)[np.maximum(right, 0)])
    assert np.array_equal(made.join(tables), np.eye(len(CLASSES), dtype=np.float32))


def test_a_class_that_is_called_like_a_group_keeps_its_name_and_the_group_gives_way() -> None:
    tree = ClassTree(["x + y", ["x", "y"]], classes=("x", "x + y", "y"))
    assert tree.decisions[0].labels == ("x + y", "x + y'")


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (["a", "b"], "missing: c, d, e"),
        ([*CLASSES, "f"], "no class of these pictures: f"),
        ([*CLASSES, ["a"]], "twice: a"),
        ([["a"]], "nothing to decide"),
        (["a", []], "none empty"),
        (["a", 3], "expected class names"),
    ],
    ids=["missing", "unknown", "twice", "one", "empty", "number"],
)
def test_a_tree_that_does_not_fit_is_refused_in_words(tree: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        ClassTree(tree, classes=CLASSES)


@pytest.mark.parametrize(
    "values", [{}, {"tree": ["a", "b"]}, {"tree": 3, "classes": ["a"]}, {"tree": [], "classes": 1}]
)
def test_values_that_are_no_tree_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        ClassTree.from_dict(values)


def test_tables_that_do_not_fit_are_refused() -> None:
    tree = ClassTree(DEEP, classes=CLASSES)
    tables = tables_of(tree, rows=2, seed=0)
    for wrong in (tables[:-1], [*tables[:-1], tables[-1][:1]], [*tables[:-1], tables[0][:, :1]], []):
        with pytest.raises(ValueError, match="this tree needs"):
            tree.join(wrong)


def test_a_spec_names_one_class_a_chain_or_a_tree_and_not_two_of_them() -> None:
    assert CascadeSpec(first="b").tree_of(CLASSES).decisions[0].labels[0] == "b"
    chain = CascadeSpec(first=("b", "d")).tree_of(CLASSES)
    assert [decision.labels[0] for decision in chain.decisions] == ["b", "d", "a"]
    assert len(CascadeSpec(tree=tuple(DEEP)).tree_of(CLASSES).decisions) == 3
    with pytest.raises(ValueError, match="drop one of them"):
        CascadeSpec(first="a", tree=("a", "b"))
    with pytest.raises(SettingsError, match=r"cascade\.first=CLASS"):
        CascadeSpec().tree_of(CLASSES)
    for names in (("z",), ("a", "a"), ("a", "b", "c", "d")):
        with pytest.raises(SettingsError, match="leave at least two"):
            CascadeSpec(first=names).tree_of(CLASSES)
