"""Doubtful pairs unite groups for a split, a few at a time, and never at the cost of a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.data.checks import NearPair
from budwood.data.records import Catalog, ImageRecord
from budwood.data.split import SplitSpec, check_split, split, split_folds
from budwood.data.ties import FEWEST_GROUPS, MOST_UNITED, SMALLER_SIDE, with_doubtful


def catalog_of(**counts: int) -> Catalog:
    records = tuple(
        ImageRecord(path=f"{name}{number:02}", label=name, pixel_digest=f"{name}{number}")
        for name in sorted(counts)
        for number in range(counts[name])
    )
    return Catalog(root=Path("/p"), records=records, classes=tuple(sorted(counts)))


def near(first: str, second: str, similarity: float = 0.9) -> NearPair:
    return NearPair(first=first, second=second, similarity=similarity, transform="mirrored")


PICTURES = catalog_of(a=60, b=40)
BIG = tuple(f"a{number:02}" for number in range(SMALLER_SIDE + 1))
OTHER_BIG = tuple(f"a{number:02}" for number in range(20, 20 + SMALLER_SIDE + 1))


def test_two_pictures_that_may_be_copies_become_a_group() -> None:
    assert with_doubtful(PICTURES, (), [near("a03", "a01")]) == (("a01", "a03"),)


def test_without_doubtful_pairs_the_groups_stay() -> None:
    assert with_doubtful(PICTURES, (BIG, ("b00", "b01")), []) == (BIG, ("b00", "b01"))


@pytest.mark.parametrize(
    ("tied", "pair", "united"),
    [
        pytest.param((("a00", "a01"), ("a02", "a03")), ("a01", "a02"), ("a00", "a01", "a02", "a03"), id="two groups"),
        pytest.param((BIG,), ("a00", "a39"), (*BIG, "a39"), id="a large group and one picture"),
        pytest.param((("a00", "b00"),), ("a00", "a01"), ("a00", "a01", "b00"), id="a group that has the label"),
    ],
)
def test_a_doubtful_pair_unites_the_groups_of_its_pictures(
    tied: Sequence[tuple[str, ...]], pair: tuple[str, str], united: tuple[str, ...]
) -> None:
    assert with_doubtful(PICTURES, tied, [near(*pair)]) == (united,)


@pytest.mark.parametrize(
    ("tied", "pair"),
    [
        pytest.param((BIG, OTHER_BIG), ("a00", "a20"), id="two large groups"),
        pytest.param((), ("a00", "b00"), id="two labels"),
        pytest.param((("a00", "a01"), ("b00", "b01")), ("a00", "b00"), id="groups of two labels"),
        pytest.param((("a00", "a01"),), ("a00", "a01"), id="one group"),
        pytest.param((), ("a00", "gone"), id="a picture that is not there"),
    ],
)
def test_a_doubtful_pair_is_passed_over(tied: Sequence[tuple[str, ...]], pair: tuple[str, str]) -> None:
    assert with_doubtful(PICTURES, tied, [near(*pair)]) == tuple(tied)


def test_an_unusable_picture_is_tied_to_none() -> None:
    records = (replace(PICTURES.records[0], state="excluded", reason="blurred"), *PICTURES.records[1:])
    assert with_doubtful(replace(PICTURES, records=records), (), [near("a00", "a01"), near("a01", "a02")]) == (
        ("a01", "a02"),
    )


def test_a_chain_of_look_alikes_is_cut_where_it_is_least_alike() -> None:
    likeness = [0.95, 0.94, 0.93, 0.9, 0.94, 0.93]
    chain = [near(f"a{k:02}", f"a{k + 1:02}", value) for k, value in enumerate(likeness)]
    united = with_doubtful(PICTURES, (), chain)
    assert united == (("a00", "a01", "a02", "a03"), ("a04", "a05", "a06"))
    assert max(map(len, united)) == MOST_UNITED


def test_the_order_of_the_pairs_makes_no_difference() -> None:
    pairs = [near(f"a{k:02}", f"a{k + 1:02}", 0.9) for k in range(20)]
    assert with_doubtful(PICTURES, (), pairs) == with_doubtful(PICTURES, (), pairs[::-1])


def test_a_class_keeps_enough_groups_for_folds() -> None:
    pictures = catalog_of(a=FEWEST_GROUPS + 3, b=5)
    pairs = [near(f"a{2 * k:02}", f"a{2 * k + 1:02}") for k in range(10)] + [near("b00", "b01"), near("b02", "b03")]
    united = with_doubtful(pictures, (), pairs)
    assert len(united) == 3
    assert all(path.startswith("a") for paths in united for path in paths)
    assert len(split_folds(pictures, groups=(), doubtful=pairs, spec=SplitSpec(folds=5))) == 5


@st.composite
def doubts(draw: st.DrawFn) -> tuple[tuple[tuple[str, ...], ...], list[NearPair]]:
    """Sure groups of two to four of 100 pictures, and doubtful pairs among all."""
    paths = draw(st.permutations([record.path for record in PICTURES.records]))
    sizes, tied, at = draw(st.lists(st.integers(2, 4), max_size=10)), [], 0
    for size in sizes:
        tied.append(tuple(sorted(paths[at : at + size])))
        at += size
    end = st.sampled_from(paths)
    pairs = draw(st.lists(st.builds(near, end, end, st.floats(0.5, 1)), max_size=60))
    return tuple(sorted(tied)), pairs


@settings(max_examples=60, deadline=None)
@given(drawn=doubts())
def test_sure_groups_stay_whole_and_no_group_is_made_of_more_than_a_few(
    drawn: tuple[tuple[tuple[str, ...], ...], list[NearPair]],
) -> None:
    tied, pairs = drawn
    united = with_doubtful(PICTURES, tied, pairs)
    flat = [path for paths in united for path in paths]
    assert len(flat) == len(set(flat))
    for paths in united:
        inside = [group for group in tied if set(group) & set(paths)]
        assert all(set(group) <= set(paths) for group in inside)
        assert len(inside) + len(paths) - sum(map(len, inside)) <= MOST_UNITED
    assert all(any(set(group) <= set(paths) for paths in united) for group in tied)


def test_a_split_keeps_doubtful_pairs_together_and_the_shares_of_the_classes() -> None:
    pictures = catalog_of(a=90, b=60)
    pairs = [near(f"{name}{k:02}", f"{name}{k + 20:02}") for name in "ab" for k in range(20)]
    made = split(pictures, groups=(), doubtful=pairs, seed=3)
    part_of = {pictures.records[i].path: part for part, rows in made.parts.items() for i in rows}
    assert all(part_of[pair.first] == part_of[pair.second] for pair in pairs)
    assert {part: len(rows) for part, rows in made.parts.items()} == {
        part: len(rows) for part, rows in split(pictures, groups=(), seed=3).parts.items()
    }


def test_a_given_split_is_not_refused_for_a_doubtful_pair() -> None:
    own = tuple(
        replace(record, part=("train", "val", "test")[number % 3]) for number, record in enumerate(PICTURES.records)
    )
    pictures = replace(PICTURES, records=own)
    made = split(pictures, groups=(), doubtful=[near("a00", "a01")])
    assert made.parts["train"][:2] == (0, 3)
    check_split(made, pictures, ())
