"""What belongs together, torn apart by a split: found, named with its reason, refused or dropped; own parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.data.leaks import find_leaks, tied_groups
from budwood.data.own_parts import given_parts
from budwood.data.records import Catalog, ImageRecord
from budwood.data.split import PARTS, Split, SplitSpec, check_split, own_split, split, split_folds
from budwood.errors import LeakError, SplitError
from budwood.events import Event, Warned

Groups = tuple[tuple[str, ...], ...]


def catalog_of(parts: dict[str, int], *, classes: str = "ab", **groups: str) -> Catalog:
    """``parts`` pictures of each class in each part; ``groups`` names the group of paths such as a_train_0."""
    records = tuple(
        ImageRecord(
            path=f"{part}/{name}/{n}.jpg",
            label=name,
            part=part,
            pixel_digest=f"{part}{name}{n}",
            group=groups.get(f"{name}_{part}_{n}", ""),
        )
        for part in sorted(parts)
        for name in classes
        for n in range(parts[part])
    )
    return Catalog(root=Path("/p"), records=records, classes=tuple(classes))


def paths_in(made: Split, catalog: Catalog) -> dict[str, set[str]]:
    return {part: {catalog.records[i].path for i in rows} for part, rows in made.parts.items()}


def test_a_split_by_hand_that_leaks_is_found_with_the_reason() -> None:
    catalog = catalog_of({"train": 5, "test": 3}, a_train_0="nest", a_test_0="nest")
    records = list(catalog.records)
    equal = [i for i, r in enumerate(records) if r.path in ("train/b/0.jpg", "test/b/1.jpg")]
    for i in equal:
        records[i] = replace(records[i], pixel_digest="same")
    catalog = replace(catalog, records=tuple(records))
    near = (("train/a/1.jpg", "test/a/1.jpg", "train/a/2.jpg"), ("train/a/3.jpg", "train/a/4.jpg"))
    found = find_leaks(given_parts(catalog), catalog, near)
    assert {leak.paths: leak.why for leak in found} == {
        ("test/a/0.jpg", "train/a/0.jpg"): "same group",
        ("test/a/1.jpg", "train/a/1.jpg", "train/a/2.jpg"): "near-duplicate",
        ("test/b/1.jpg", "train/b/0.jpg"): "equal",
    }
    assert found[0].parts == ("test", "train")
    assert found[0].pair == ("test/a/0.jpg (test)", "train/a/0.jpg (train)")


def test_equal_pictures_are_tied_even_where_nobody_hands_in_groups() -> None:
    records = tuple(
        ImageRecord(path=f"{name}/{n}.jpg", label=name, pixel_digest="x" if n < 2 else f"{name}{n}")
        for name in "ab"
        for n in range(10)
    )
    catalog = Catalog(root=Path("/p"), records=records, classes=("a", "b"))
    assert tied_groups(catalog, ()) == (("a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg"),)
    for seed in range(5):
        made = split(catalog, groups=(), seed=seed)
        assert find_leaks(made, catalog, ()) == ()


def test_own_parts_that_leak_are_refused_with_both_remedies() -> None:
    catalog = catalog_of({"train": 6, "val": 2, "test": 2})
    near = (
        *((f"train/a/{n}.jpg", f"test/a/{n}.jpg") for n in (0, 1)),
        ("train/b/0.jpg", "val/b/0.jpg"),
    )
    with pytest.raises(LeakError) as error:
        own_split(catalog, groups=near)
    for words in (
        "3 groups of pictures that belong together",
        "test/a/0.jpg (test) and train/a/0.jpg (train): near-duplicate",
        "--set split.leaks=drop",
        "--set split.own=ignore",
    ):
        assert words in str(error.value)


def test_dropping_leaks_leaves_the_later_part_whole() -> None:
    catalog = catalog_of({"train": 6, "val": 3, "test": 3})
    near = (
        ("train/a/0.jpg", "val/a/0.jpg", "test/a/0.jpg"),
        ("train/b/0.jpg", "train/b/1.jpg", "val/b/0.jpg"),
        ("train/b/2.jpg", "train/b/3.jpg"),
    )
    made = own_split(catalog, groups=near, spec=SplitSpec(leaks="drop"))
    out = {catalog.records[i].path for i in made.left_out}
    assert out == {"train/a/0.jpg", "val/a/0.jpg", "train/b/0.jpg", "train/b/1.jpg"}
    kept = paths_in(made, catalog)
    assert kept["test"] == {r.path for r in catalog.records if r.part == "test"}
    assert made.groups == (("train/b/2.jpg", "train/b/3.jpg"),)
    check_split(made, catalog, near)


def test_split_keeps_own_parts_unless_told_to_ignore_them() -> None:
    catalog = catalog_of({"train": 8, "val": 3, "test": 4})
    assert split(catalog, groups=()).parts == given_parts(catalog).parts
    assert split(catalog, groups=(), spec=SplitSpec(own="ignore")).parts != given_parts(catalog).parts
    with pytest.raises(SplitError, match=r"folds would mix them.*split\.own=ignore"):
        split_folds(catalog, groups=(), spec=SplitSpec(folds=3))
    assert len(split_folds(catalog, groups=(), spec=SplitSpec(folds=3, own="ignore"))) == 3


@pytest.mark.parametrize(
    ("given", "cut"),
    [({"train": 20, "test": 5}, ["val"]), ({"train": 20, "val": 5}, ["test"]), ({"train": 20}, ["test", "val"])],
    ids=["no val", "no test", "train only"],
)
def test_a_missing_part_is_cut_from_train_guarded_and_said_so(given: dict[str, int], cut: list[str]) -> None:
    catalog = catalog_of(given)
    near = tuple((f"train/a/{n}.jpg", f"train/a/{n + 1}.jpg") for n in range(0, 10, 2))
    heard: list[Event] = []
    made = own_split(catalog, groups=near, spec=SplitSpec(val=0.2, test=0.2), seed=3, listen=heard.append)
    check_split(made, catalog, near)
    found = paths_in(made, catalog)
    for part in PARTS:
        own = {r.path for r in catalog.records if r.part == part}
        if part in cut:
            assert Counter(path.split("/")[1] for path in found[part]) == {"a": 4, "b": 4}
            assert all(path.startswith("train/") for path in found[part])
        elif part != "train":
            assert found[part] == own
    texts = [event.text for event in heard if isinstance(event, Warned)]
    assert sorted(t.split()[4] for t in texts) == cut
    assert all("of the training pictures are used for it" in t for t in texts)


def test_a_users_group_is_never_torn_when_a_part_is_cut() -> None:
    catalog = catalog_of({"train": 12, "test": 3}, **{f"a_train_{n}": "nest" for n in range(5)})
    for seed in range(5):
        made = paths_in(own_split(catalog, groups=(), seed=seed), catalog)
        nest = {f"train/a/{n}.jpg" for n in range(5)}
        assert nest <= made["train"] or nest <= made["val"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: replace(r, part="") if r.path == "train/a/0.jpg" else r, 'such as train/a/0.jpg (""): give each'),
        (lambda r: replace(r, part="test"), "hold no training picture"),
        (lambda r: replace(r, part="test") if r.label == "b" else r, 'class "b" has no training picture'),
        (lambda r: replace(r, part=""), "did not come divided into parts"),
    ],
    ids=["some", "no train", "class", "none"],
)
def test_own_parts_that_cannot_be_used_are_refused(change: Callable, words: str) -> None:
    catalog = catalog_of({"train": 4, "val": 2, "test": 2})
    catalog = replace(catalog, records=tuple(change(record) for record in catalog.records))
    with pytest.raises(SplitError) as error:
        own_split(catalog, groups=())
    assert words in str(error.value)


def test_a_class_that_a_part_lacks_is_said() -> None:
    catalog = catalog_of({"train": 4, "val": 2, "test": 2})
    kept = tuple(r for r in catalog.records if not (r.part == "test" and r.label == "b"))
    heard: list[Event] = []
    own_split(replace(catalog, records=kept), groups=(), listen=heard.append)
    assert [e.text for e in heard if isinstance(e, Warned)] == [
        'class "b" has no test picture: no score there speaks of it'
    ]


def test_cutting_from_a_class_with_one_training_picture_is_refused() -> None:
    with pytest.raises(SplitError, match=r'class "a" has 1 picture; train and val \(cut from the training pictures\)'):
        own_split(catalog_of({"train": 1, "test": 2}), groups=())


@st.composite
def divided(draw: st.DrawFn) -> tuple[Catalog, Groups]:
    catalog = catalog_of({"train": draw(st.integers(8, 20)), "val": draw(st.integers(0, 5)), "test": 4})
    paths = [record.path for record in catalog.records]
    groups = draw(st.lists(st.lists(st.sampled_from(paths), min_size=2, max_size=3, unique=True), max_size=4))
    return catalog, tuple(tuple(group) for group in groups)


@settings(max_examples=80, deadline=None)
@given(drawn=divided(), seed=st.integers(0, 2**31))
def test_dropped_own_parts_are_disjoint_complete_whole_and_keep_the_test_part(
    drawn: tuple[Catalog, Groups], seed: int
) -> None:
    catalog, groups = drawn
    made = own_split(catalog, groups=groups, spec=SplitSpec(leaks="drop"), seed=seed)
    check_split(made, catalog, groups)
    rows = [i for part in PARTS for i in made.parts[part]]
    assert sorted([*rows, *made.left_out]) == list(range(len(catalog)))
    assert paths_in(made, catalog)["test"] == {r.path for r in catalog.records if r.part == "test"}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_a_split_does_not_depend_on_the_order_of_records_or_groups(data: st.DataObject, seed: int) -> None:
    base = catalog_of({"train": 15}, classes="abc")
    base = replace(base, records=tuple(replace(record, part="") for record in base.records))
    groups = [(f"train/a/{n}.jpg", f"train/a/{n + 1}.jpg") for n in range(0, 6, 2)] + [
        ("train/b/1.jpg", "train/c/1.jpg")
    ]
    shuffled = replace(base, records=tuple(data.draw(st.permutations(base.records))))
    made = paths_in(split(base, groups=groups, seed=seed), base)
    other = paths_in(split(shuffled, groups=data.draw(st.permutations(groups)), seed=seed), shuffled)
    assert made == other


def planted(num_pairs: int, *, seed: int) -> None:
    records = tuple(
        ImageRecord(path=f"{k % 7}/{k}{copy}.jpg", label=str(k % 7), pixel_digest=f"{k}{copy}")
        for k in range(num_pairs)
        for copy in ("", "-copy")
    )
    catalog = Catalog(root=Path("/p"), records=records, classes=tuple("0123456"))
    pairs = tuple((f"{k % 7}/{k}.jpg", f"{k % 7}/{k}-copy.jpg") for k in range(num_pairs))
    for made in (split(catalog, groups=pairs, seed=seed), *split_folds(catalog, groups=pairs, spec=SplitSpec(folds=5))):
        assert find_leaks(made, catalog, pairs) == ()
    torn = split(catalog, groups=(), seed=seed)
    assert len(find_leaks(torn, catalog, pairs)) > num_pairs / 5, "the check sees what an unguarded split tears apart"


def test_of_a_thousand_planted_pairs_none_is_torn_apart() -> None:
    planted(1000, seed=0)


def test_the_fingerprint_of_the_catalog_still_guards_a_split_with_left_out_pictures() -> None:
    catalog = catalog_of({"train": 6, "val": 3, "test": 3})
    near = (("train/a/0.jpg", "test/a/0.jpg"),)
    made = own_split(catalog, groups=near, spec=SplitSpec(leaks="drop"))
    with pytest.raises(SplitError, match="lies in train and again in left_out"):
        check_split(replace(made, parts=given_parts(catalog).parts), catalog, near)
    with pytest.raises(SplitError, match="1 pictures lie in no part"):
        check_split(replace(made, left_out=()), catalog, near)
