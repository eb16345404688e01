"""`--over` texts: what is read, what is written back, what is refused in the user's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from budwood.errors import SettingsError
from budwood.search.space import Choices, Range, Space, SweepSpec, label, parse_over, toml_text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("train.lr=1e-5,1e-4,1e-3", (1e-5, 1e-4, 1e-3)),
        ("train.batch_size=8, 64,256", (8, 64, 256)),
        ("model.backbone=lite0,resnet50", ("lite0", "resnet50")),
        ('train.schedule="cosine",constant', ("cosine", "constant")),
        ("refit=true,false", (True, False)),
        ('model.top=[["dense 256"],["dense 64","dropout 0.2"]]', (["dense 256"], ["dense 64", "dropout 0.2"])),
        ('model.top=[],["dense 256"]', ([], ["dense 256"])),
        ("train.schedule={kind = 'step', every = 3},cosine", ({"kind": "step", "every": 3}, "cosine")),
        ("freeze=1,2,all", (1, 2, "all")),
        ("model.weights=../a.pt,../b.pt", ("../a.pt", "../b.pt")),
        ('name="a,b","c"', ("a,b", "c")),
    ],
)
def test_values_are_read_as_toml_or_plain_text(text: str, values: tuple[Any, ...]) -> None:
    axis = parse_over(text)
    assert isinstance(axis, Choices)
    assert axis.key == text.partition("=")[0]
    assert axis.values == values
    assert [type(value) for value in axis.values] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("text", "low", "high", "log", "whole"),
    [
        ("train.lr=log:1e-5..1e-2", 1e-5, 1e-2, True, False),
        ("model.dropout=0..0.5", 0, 0.5, False, False),
        ("model.dropout=0.1 .. 0.5", 0.1, 0.5, False, False),
        ("train.views=1..8", 1, 8, False, True),
        ("train.batch_size=log:8..256", 8, 256, True, True),
        ("x=-3..-1", -3, -1, False, True),
    ],
)
def test_ranges_know_their_ends_scale_and_whether_they_are_whole(
    text: str, low: float, high: float, log: bool, whole: bool
) -> None:
    assert parse_over(text) == Range(key=text.partition("=")[0], low=low, high=high, log=log, whole=whole)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train.lr", "key=value,value"),
        ("=1,2", "key=value,value"),
        ("train.lr=", "key=value,value"),
        ("train.lr=1e-3", "fix it with --set train.lr=1e-3"),
        ("train.lr=1e-3,0.001", "twice"),
        ("train.lr=1,,2", "between two commas"),
        ('model.top=[["dense 256"],["dense 64"]', "bracket is opened"),
        ("name='a,b", "quote is opened"),
        ("train.lr=1e-2..1e-5", "smaller number comes first"),
        ("train.lr=log:0..1e-2", "begins above 0"),
        ("train.lr=log:1e-5,1e-2", "a range is two numbers"),
        ("train.lr=1..x", "a range is two numbers"),
        ("train.lr=log:1e-5..inf", "a range is two numbers"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match="--over") as error:
        parse_over(text)
    assert words in str(error.value)


def test_a_grid_holds_every_combination_once_and_the_last_axis_changes_fastest() -> None:
    arms = Space.parse(["a=1,2", "b=x,y,z"]).arms()
    assert [tuple(arm.values()) for arm in arms] == [(1, "x"), (1, "y"), (1, "z"), (2, "x"), (2, "y"), (2, "z")]
    assert {tuple(arm) for arm in arms} == {("a", "b")}


def test_a_key_comes_once() -> None:
    with pytest.raises(SettingsError, match=r"names a twice"):
        Space.parse(["a=1,2", "a=3,4"])


def test_a_range_is_no_grid() -> None:
    with pytest.raises(SettingsError, match="--trials"):
        Space.parse(["a=1..8"]).arms()


def test_a_grid_that_no_one_waits_for_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"10,000 combinations"):
        Space.parse([f"{key}=1,2,3,4,5,6,7,8,9,10" for key in "abcd"]).arms()


TOML = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b-c", "d_1"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(values=st.lists(TOML, min_size=2, max_size=4, unique_by=toml_text))
def test_a_space_is_read_back_as_it_was_written(values: list[Any]) -> None:
    space = Space((Choices(key="some.key", values=tuple(values)),))
    (axis,) = Space.parse(space.to_json()).axes
    assert isinstance(axis, Choices)
    assert [toml_text(value) for value in axis.values] == [toml_text(value) for value in values]


@pytest.mark.parametrize("text", ["a=log:1e-05..0.01", "a=1..8", "a=0..0.5", "a=log:8..256"])
def test_a_range_is_read_back_as_it_was_written(text: str) -> None:
    axis = parse_over(text)
    assert parse_over(axis.to_text()) == axis


def test_an_arm_is_named_by_its_values_and_the_last_part_of_its_keys() -> None:
    settings = {"train.lr": 0.00012345, "model.backbone": "lite0", "model.top": ["dense 256"], "a.b": []}
    assert label(settings) == "lr 0.0001234, backbone lite0, top dense 256, b none"


def test_a_recipe_s_sweep_is_checked_when_the_recipe_is_read() -> None:
    spec = SweepSpec(over=("train.lr=1e-3,1e-4", "freeze"), trials=4, folds=3, seeds=(0, 1))
    assert spec.over[1] == "freeze"
    with pytest.raises(ValidationError, match="give two or more"):
        SweepSpec(over=("train.lr=1e-3",))
    with pytest.raises(ValidationError, match="twice"):
        SweepSpec(seeds=(1, 1))
