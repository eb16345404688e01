"""`clean`: each check's fate, a person's word above all, facts for every part, looks for training only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.data import checks
from budwood.data.checks import components
from budwood.data.cleaning.clean import (
    TIDY,
    CleanSpec,
    apply_actions,
    clean,
    clean_split,
    known_checks,
    restrict_to,
)
from budwood.data.cleaning.decisions import Decision
from budwood.data.records import Catalog, Finding, ImageRecord
from budwood.data.split import check_split, split
from budwood.errors import DataError

NUM = 12


def catalog(**changes: dict[str, object]) -> Catalog:
    """Twelve pictures of each of a and b; ``changes`` alters the record a_3 or b_0."""
    records = tuple(
        replace(
            ImageRecord(path=f"{name}/{n:02}.jpg", label=name, pixel_digest=f"{name}{n}", width=32, height=32),
            **changes.get(f"{name}_{n}", {}),
        )
        for name in "ab"
        for n in range(NUM)
    )
    return Catalog(root=Path("/p"), records=records, classes=("a", "b"))


def finding(check: str, *paths: str, score: float = 1.0, suggestion: str = "") -> Finding:
    short = tuple(f"{path[0]}/{int(path[1:]):02}.jpg" for path in paths)
    return Finding(
        check=check, severity="info", paths=short, evidence="the evidence", score=score, suggestion=suggestion
    )


def decided(path: str, action: str, label: str = "") -> dict[str, Decision]:
    full = f"{path[0]}/{int(path[1:]):02}.jpg"
    digest = f"{path[0]}{int(path[1:])}"
    return {full: Decision(path=full, digest=digest, action=action, label=label)}


def out(result: object) -> dict[str, str]:
    """Which pictures were left out, and by which check."""
    return {f"{a.path[0]}{int(a.path[2:4])}": a.check for a in result.actions if a.action == "exclude"}


def test_a_policy_that_says_nothing_changes_nothing() -> None:
    findings = [finding(name, "a1", "a2") for name in known_checks()]
    made = catalog()
    result = clean(made, findings, spec=CleanSpec())
    assert CleanSpec().is_off
    assert result.actions == ()
    assert result.catalog == made


def test_an_exclusion_names_check_and_evidence_in_the_ledger() -> None:
    result = clean(catalog(), [finding("too_dark", "a1")], spec=CleanSpec(exclude=("too_dark",)))
    record = result.catalog.records[1]
    assert (record.state, record.reason) == ("excluded", "too_dark: the evidence (for training only)")
    assert len(result.catalog.usable()) == 2 * NUM - 1


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, "a1"),
        ({"a_5": {"width": 64}}, "a5"),
        ({"a_1": {"part": "train"}, "a_2": {"part": "train"}, "a_5": {"part": "test"}}, "a5"),
        ({"a_1": {"part": "train"}, "a_2": {"part": "val"}, "a_5": {"part": "train", "width": 64}}, "a2"),
    ],
    ids=["first by path", "largest", "the test part's", "the val part's"],
)
def test_of_copies_one_is_kept(changes: dict[str, dict[str, object]], kept: str) -> None:
    result = clean(catalog(**changes), [finding("exact_duplicate", "a1", "a2", "a5")], spec=TIDY)
    assert set(out(result)) == {"a1", "a2", "a5"} - {kept}
    assert all(f"{kept[0]}/{int(kept[1:]):02}.jpg is kept" in a.reason for a in result.actions)


@pytest.mark.parametrize("check", ["exact_duplicate", "repeated_picture", "conflicting_labels"])
def test_equal_pictures_of_two_labels_all_go(check: str) -> None:
    assert out(clean(catalog(), [finding(check, "a1", "a2", "b1")], spec=TIDY)) == dict.fromkeys(
        ["a1", "a2", "b1"], "conflicting_labels"
    )


def test_near_duplicates_are_touched_only_on_request_and_conflicts_among_them_too() -> None:
    findings = [finding("near_duplicate", "a1", "a2"), finding("near_duplicate", "a3", "b3")]
    assert out(clean(catalog(), findings, spec=TIDY)) == {}
    asked = CleanSpec(exclude=("conflicting_labels",), keep_one=("near_duplicate",))
    assert out(clean(catalog(), findings, spec=asked)) == {
        "a2": "near_duplicate",
        "a3": "conflicting_labels",
        "b3": "conflicting_labels",
    }


def test_excluding_repeated_pictures_leaves_no_copy() -> None:
    spec = CleanSpec(exclude=("repeated_picture",))
    findings = [finding("repeated_picture", "a1", "a2", "b1"), finding("exact_duplicate", "a1", "a2", "b1")]
    assert out(clean(catalog(), findings, spec=spec)) == dict.fromkeys(["a1", "a2", "b1"], "repeated_picture")


@pytest.mark.parametrize("check", sorted(known_checks()))
def test_no_check_touches_what_a_person_kept(check: str) -> None:
    spec = CleanSpec(exclude=(check,))
    found = [finding(check, "a1"), finding(check, "a1", "b1"), finding(check, "a1", "a2")]
    result = clean(catalog(), found, spec=spec, decisions=decided("a1", "keep"))
    assert "a1" not in out(result)


def test_a_copy_that_a_person_kept_is_the_one_that_stays() -> None:
    findings = [finding("exact_duplicate", "a1", "a2"), finding("conflicting_labels", "a4", "b4")]
    kept = {**decided("a2", "keep"), **decided("b4", "keep")}
    assert out(clean(catalog(), findings, spec=TIDY, decisions=kept)) == {
        "a1": "exact_duplicate",
        "a4": "conflicting_labels",
    }


def test_a_relabelling_by_a_person_settles_a_conflict() -> None:
    findings = [finding("conflicting_labels", "a1", "b1"), finding("exact_duplicate", "a1", "b1")]
    result = clean(catalog(), findings, spec=TIDY, decisions=decided("b1", "relabel", "a"))
    assert out(result) == {"a1": "exact_duplicate"}
    assert result.catalog.records[NUM + 1].label == "a"
    assert next((a.action, a.check, a.label) for a in result.actions) == ("relabel", "review", "a")


def test_a_decision_on_an_older_content_of_the_file_does_not_count() -> None:
    stale = {path: replace(d, digest="older") for path, d in decided("a1", "keep").items()}
    spec = CleanSpec(exclude=("blurred",))
    assert out(clean(catalog(), [finding("blurred", "a1")], spec=spec, decisions=stale)) == {"a1": "blurred"}


def test_labels_are_changed_from_the_stated_certainty_on() -> None:
    findings = [
        finding("label_error", "a1", score=0.985, suggestion="b"),
        finding("label_error", "a2", score=0.6, suggestion="b"),
        finding("label_error", "a3", score=0.99),
    ]
    result = clean(catalog(), findings, spec=CleanSpec(relabel=("label_error",)))
    assert [(a.path, a.action, a.label) for a in result.actions] == [("a/01.jpg", "relabel", "b")]
    assert result.catalog.records[1].label == "b"
    assert "was a" in result.catalog.records[1].reason
    lower = clean(catalog(), findings, spec=CleanSpec(relabel=("label_error",), certainty=0.5))
    assert len(lower.actions) == 2


def test_facts_hold_for_every_part_looks_and_opinions_for_training_only() -> None:
    assert set(known_checks()) >= set(checks.CHECKS)
    spec = CleanSpec(exclude=("too_dark", "unreadable", "label_error"), keep_one=("exact_duplicate", "near_duplicate"))
    made = catalog(a_9={"state": "unreadable"})
    findings = [
        finding("too_dark", "a1"),
        finding("label_error", "a2"),
        finding("exact_duplicate", "a3", "a4"),
        finding("near_duplicate", "a5", "a6"),
        finding("unreadable", "a9"),
    ]
    result = clean(made, findings, spec=spec, decisions=decided("a7", "exclude"))
    everywhere = {a.path: a.check for a in restrict_to(result.actions, ())}
    assert sorted(everywhere.values()) == ["exact_duplicate", "near_duplicate", "review", "unreadable"]
    assert {a.path for a in restrict_to(result.actions, {"a/01.jpg"})} == {*everywhere, "a/01.jpg"}


def test_the_users_own_test_and_val_pictures_are_spared_by_looks_and_it_is_said() -> None:
    made = catalog(a_1={"part": "test"}, a_2={"part": "val"}, a_3={"part": "train"})
    result = clean(made, [finding("blurred", "a1", "a2", "a3")], spec=CleanSpec(exclude=("blurred",)))
    assert out(result) == {"a3": "blurred"}
    assert result.notes[0].startswith("2 pictures of the val and test parts that blurred names were left")


def test_a_split_made_before_is_cleaned_in_train_by_looks_and_everywhere_by_facts() -> None:
    made = catalog()
    before = split(made, groups=(), seed=1)
    train, test = ([made.records[i].path for i in before.parts[part]] for part in ("train", "test"))
    names = [path[0] + path[2:4] for path in (train[0], test[0], test[1])]
    findings = [finding("blurred", names[0], names[1]), finding("unreadable", names[2])]
    spec = CleanSpec(exclude=("blurred", "unreadable"))
    result = clean(made, findings, spec=spec)
    after, changed = clean_split(before, made, result.actions)
    assert {made.records[i].path for i in after.left_out} == {train[0], test[1]}
    assert test[0] in {made.records[i].path for i in after.parts["test"]}
    check_split(after, changed, ())


def test_new_labels_by_opinion_reach_training_pictures_only() -> None:
    made = catalog()
    before = split(made, groups=(), seed=1)
    path = {part: next(made.records[i].path for i in rows if i < NUM) for part, rows in before.parts.items()}
    findings = [finding("label_error", p[0] + p[2:4], suggestion="b") for p in path.values()]
    actions = clean(made, findings, spec=CleanSpec(relabel=("label_error",))).actions
    after, changed = clean_split(before, made, actions)
    assert {r.path: r.label for r in changed.records if r.path in path.values()} == {
        path["train"]: "b",
        path["val"]: "a",
        path["test"]: "a",
    }
    check_split(after, changed, ())


def test_a_class_is_never_emptied_by_checks() -> None:
    everything = [finding("blurred", *(f"a{n}" for n in range(NUM)))]
    with pytest.raises(DataError, match=rf'class "a" without any of its {NUM} pictures \(blurred {NUM}\)'):
        clean(catalog(), everything, spec=CleanSpec(exclude=("blurred",)))
    moved = [finding("label_error", *(f"a{n}" for n in range(NUM)), suggestion="b")]
    with pytest.raises(DataError, match='class "a"'):
        clean(catalog(), moved, spec=CleanSpec(relabel=("label_error",)))


def test_a_class_is_never_emptied_in_the_training_part() -> None:
    made = catalog()
    before = split(made, groups=(), seed=1)
    train = [made.records[i].path for i in before.parts["train"] if i < NUM]
    findings = [finding("blurred", *(p[0] + p[2:4] for p in train))]
    actions = clean(made, findings, spec=CleanSpec(exclude=("blurred",))).actions
    with pytest.raises(DataError, match='class "a" without a training picture'):
        clean_split(before, made, actions)


def test_a_person_may_merge_two_classes() -> None:
    merged = {k: v for n in range(NUM) for k, v in decided(f"a{n}", "relabel", "b").items()}
    result = clean(catalog(), [], spec=CleanSpec(), decisions=merged)
    assert result.catalog.classes == ("b",)
    assert apply_actions(catalog(), result.actions) == result.catalog


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CleanSpec(exclude=("too_drak",)), 'there is no check "too_drak"; did you mean "too_dark"'),
        (lambda: CleanSpec(keep_one=("too_dark",)), "too_dark finds single pictures"),
        (lambda: CleanSpec(relabel=("blurred",)), "blurred suggests no class"),
        (lambda: CleanSpec(exclude=("near_duplicate",), keep_one=("near_duplicate",)), "stands in two of"),
        (lambda: CleanSpec(certainty=0.2), "greater than or equal to 0.5"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(make: Callable[[], CleanSpec], words: str) -> None:
    with pytest.raises(ValueError, match="1 validation error") as error:
        make()
    assert words in str(error.value)


def test_moving_a_check_to_another_fate_takes_it_from_the_first() -> None:
    changed = CleanSpec.model_validate(TIDY.changed(exclude=["exact_duplicate"], keep=["conflicting_labels"]))
    assert [changed.fate(n) for n in ("exact_duplicate", "conflicting_labels", "repeated_picture")] == [
        "exclude",
        "keep",
        "keep_one",
    ]


single = st.sampled_from(["too_dark", "blurred", "outlier", "unreadable"])
copies = st.sampled_from(["exact_duplicate", "repeated_picture", "near_duplicate", "conflicting_labels"])
names = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5)).map(lambda t: f"{t[0]}{t[1]}"),
    min_size=2,
    max_size=4,
    unique=True,
)


@settings(max_examples=60, deadline=None)
@given(
    found=st.lists(st.tuples(st.one_of(single, copies), names), max_size=8),
    kept=names,
    mode=st.sampled_from(["exclude", "keep_one"]),
)
def test_any_plan_is_sound(found: list[tuple[str, list[str]]], kept: list[str], mode: str) -> None:
    made = catalog()
    listed = ("exact_duplicate", "repeated_picture", "near_duplicate", "conflicting_labels")
    spec = CleanSpec.model_validate({mode: listed} if mode == "keep_one" else {"exclude": (*listed, "too_dark")})
    decisions = {k: v for name in kept for k, v in decided(name, "keep").items()}
    findings = [finding(check, *paths) for check, paths in found]
    result = clean(made, findings, spec=spec, decisions=decisions)
    paths = [action.path for action in result.actions]
    assert len(set(paths)) == len(paths)
    assert not set(paths) & set(decisions)
    assert {r.path for r in result.catalog.records if r.state == "excluded"} == set(paths)
    assert clean(made, findings[::-1], spec=spec, decisions=decisions).actions == result.actions
    if mode == "keep_one":
        left = {r.path for r in result.catalog.usable().records}
        for group in components(one.paths for one in findings if one.check in listed):
            assert left & set(group), "of pictures that are tied to one another one stays"
