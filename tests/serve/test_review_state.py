from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from budwood.data.cleaning.decisions import Decision, DecisionJournal, content_digest
from budwood.data.ledger import read_catalog
from budwood.data.opinion import Opinion
from budwood.data.records import Finding
from budwood.errors import IntegrityError, OutputError
from budwood.serve.ledger_keeper import LedgerKeeper
from budwood.serve.review_cards import check_summaries, findings_page, members, next_open, pictures_page
from budwood.serve.review_state import Refused, ReviewState, Wish, finding_id

Make = Callable[..., ReviewState]


def one(state: ReviewState, path: str, action: str = "exclude", label: str = "") -> Wish:
    return Wish(action=action, path=path, digest=content_digest(state.records[path]), label=label)


def in_force(state: ReviewState) -> dict[str, tuple[str, str]]:
    return {path: (d.action, d.label) for path, d in state.decisions.items()}


def of(state: ReviewState, check: str) -> Finding:
    return state.by_check[check][0]


def test_a_decision_is_in_the_journal_when_decide_returns_and_is_there_after_a_restart(make_state: Make) -> None:
    state = make_state()
    path = of(state, "label_error").paths[0]
    assert state.decide([one(state, path, "relabel", "betula")], check="label_error").num_steps == 1
    assert DecisionJournal(state.journal.file).decisions()[path].check == "label_error"
    again = make_state()
    assert in_force(again) == {path: ("relabel", "betula")}
    assert again.num_steps == 1


def test_keep_one_excludes_all_others_of_the_set_as_one_step(make_state: Make) -> None:
    state = make_state()
    finding = of(state, "exact_duplicate")
    outcome = state.decide([Wish(action="keep_one", finding=finding_id(finding), path=finding.paths[2])])
    assert set(outcome.changed) == set(finding.paths)
    assert in_force(state) == {p: ("keep" if p == finding.paths[2] else "exclude", "") for p in finding.paths}
    assert not state.is_open(finding)
    state.undo(expected=1)
    assert in_force(state) == {}
    assert state.is_open(finding)


def test_a_set_is_settled_once_one_picture_of_it_is_left(make_state: Make) -> None:
    state = make_state()
    finding = of(state, "exact_duplicate")
    for i, path in enumerate(finding.paths[:3]):
        assert state.is_open(finding)
        state.decide([one(state, path)])
        assert state.num_steps == i + 1
    assert not state.is_open(finding)


def test_conflicting_labels_are_settled_once_they_agree(make_state: Make) -> None:
    state = make_state()
    finding = of(state, "conflicting_labels")
    state.decide([one(state, finding.paths[0], "relabel", "betula")])
    assert not state.is_open(finding)


def test_relabelling_a_whole_set_keeps_those_that_have_the_label(make_state: Make) -> None:
    state = make_state()
    finding = of(state, "conflicting_labels")
    state.decide([Wish(action="relabel", finding=finding_id(finding), label="betula")])
    assert [in_force(state)[p] for p in finding.paths] == [("relabel", "betula"), ("keep", ""), ("keep", "")]


def test_the_same_decision_twice_is_one_step(make_state: Make) -> None:
    state = make_state()
    wish = one(state, of(state, "label_error").paths[0])
    state.decide([wish])
    assert state.decide([wish]).num_steps == 1


def test_undo_goes_back_across_a_restart_and_ends(make_state: Make) -> None:
    state = make_state()
    paths = [f.paths[0] for f in state.by_check["label_error"][:3]]
    for path in paths:
        state.decide([one(state, path)], check="label_error")
    state = make_state()
    for left in (2, 1, 0):
        outcome = state.undo(expected=left + 1)
        assert (outcome.changed, outcome.num_steps, outcome.check) == ((paths[left],), left, "label_error")
    with pytest.raises(Refused, match="nothing to undo"):
        state.undo(expected=0)


def test_an_undo_whose_answer_got_lost_is_not_done_twice(make_state: Make) -> None:
    state = make_state()
    paths = [f.paths[0] for f in state.by_check["label_error"][:2]]
    for path in paths:
        state.decide([one(state, path)])
    state.undo(expected=2)
    assert state.undo(expected=2).changed == ()
    assert list(state.decisions) == paths[:1]


def test_what_another_process_decided_is_seen_before_the_next_step(make_state: Make) -> None:
    state, other = make_state(), make_state()
    path = of(state, "label_error").paths[0]
    other.decide([one(other, path)])
    with pytest.raises(Refused, match="elsewhere"):
        state.undo(expected=0)
    assert in_force(state) == {path: ("exclude", "")}


def test_a_picture_that_was_changed_or_is_unknown_is_refused_and_nothing_is_written(make_state: Make) -> None:
    state = make_state()
    path = of(state, "label_error").paths[0]
    for wish, words in (
        (Wish(action="exclude", path=path, digest="0" * 64), "changed"),
        (Wish(action="exclude", path="../../etc/passwd"), "not in the catalog"),
        (one(state, path, "relabel", "no such class"), "no class"),
        (one(state, path, "relabel"), "needs the name"),
        (one(state, path, "keep_one"), "needs the finding"),
        (Wish(action="exclude", finding="0" * 16), "not among those"),
        (Wish(action="keep_one", finding=finding_id(of(state, "exact_duplicate")), path=path), "not part of"),
    ):
        with pytest.raises(Refused, match=words):
            state.decide([one(state, of(state, "label_error").paths[0]), wish])
    assert not state.journal.file.exists()


def test_a_decision_on_a_file_that_was_changed_since_does_not_count(make_state: Make) -> None:
    state = make_state()
    path = of(state, "label_error").paths[0]
    state.journal.record(Decision(path=path, digest="of another picture", action="exclude"))
    assert make_state().decisions == {}


def test_a_full_disk_is_said_and_nothing_counts_as_decided(make_state: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state()

    def full(*_: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(state.journal, "record", full)
    with pytest.raises(OutputError):
        state.decide([one(state, of(state, "label_error").paths[0])])
    assert (state.decisions, state.num_steps) == ({}, 0)


def test_the_ledger_shows_every_decision(make_state: Make) -> None:
    state = make_state()
    first, second = (f.paths[0] for f in state.by_check["label_error"][:2])
    state.decide([one(state, first), one(state, second, "relabel", "fagus")], check="label_error")
    state.write_ledger()
    records = {r.path: r for r in read_catalog(state.ledger, state.catalog.root).records}
    assert (records[first].state, records[first].reason) == ("excluded", "excluded in review (label_error)")
    assert (records[second].label, records[second].reason) == ("fagus", "relabelled, was acer")


def test_checks_say_what_is_left_and_name_what_is_only_to_know(make_state: Make) -> None:
    state = make_state()
    state.decide([one(state, state.by_check["label_error"][5].paths[0])])
    found = {s.name: (s.shape, s.total, s.left) for s in check_summaries(state)}
    assert found == {
        "conflicting_labels": ("sets", 1, 1),
        "exact_duplicate": ("sets", 1, 1),
        "unreadable": ("pictures", 1, 1),
        "label_error": ("pictures", 10, 9),
        "class_counts": ("notes", 0, 0),
        "blurred": ("notes", 0, 0),
    }
    assert check_summaries(state)[0].name == "conflicting_labels"
    assert check_summaries(state)[-1].notes


def test_pages_cut_the_findings_and_a_page_too_far_is_the_last_one(make_state: Make) -> None:
    state = make_state()
    acer = [f.paths[0] for f in state.by_check["label_error"]]
    many = tuple(Finding(check="outlier", severity="info", paths=(acer[i % 10],), evidence=str(i)) for i in range(130))
    state = make_state(many)
    page = findings_page(state, "outlier", page=99)
    assert (page.page, page.pages, page.first, page.total, len(page.cards)) == (3, 3, 120, 130, 10)
    assert [c.evidence for c in findings_page(state, "outlier", page=1).cards] == [str(i) for i in range(60)]
    with pytest.raises(Refused, match="no such check"):
        findings_page(state, "too_dark", page=1)


def test_next_open_goes_round_once(make_state: Make) -> None:
    state = make_state()
    findings = state.by_check["label_error"]
    for finding in findings[3:]:
        state.decide([one(state, finding.paths[0])])
    assert next_open(state, "label_error", after=1) == 2
    assert next_open(state, "label_error", after=2) == 0
    for finding in findings[:3]:
        state.decide([one(state, finding.paths[0])])
    assert next_open(state, "label_error", after=-1) is None


def test_all_pictures_can_be_seen_by_class_and_by_decision(make_state: Make) -> None:
    state = make_state()
    path = of(state, "label_error").paths[0]
    assert pictures_page(state).total == 31
    assert pictures_page(state, label="acer").total == 11
    assert [c.pictures[0].path for c in pictures_page(state, show="unreadable").cards] == ["acer/broken.jpg"]
    state.decide([one(state, path, "relabel", "betula")])
    assert (pictures_page(state, label="acer").total, pictures_page(state, label="betula").total) == (10, 11)
    assert [c.pictures[0].path for c in pictures_page(state, show="relabel").cards] == [path]
    assert pictures_page(state, show="open").total == 30
    with pytest.raises(Refused, match="none of"):
        pictures_page(state, show="nonsense")


def test_a_large_set_shows_its_first_pictures_and_the_rest_on_request(make_state: Make) -> None:
    paths = tuple(r.path for r in make_state().catalog.records if r.state == "ok")
    copies = Finding(check="repeated_picture", severity="warning", paths=paths * 2, evidence="many")
    state = make_state((copies,))
    card = findings_page(state, "repeated_picture", page=1).cards[0]
    assert (len(card.pictures), card.num_pictures) == (48, 60)
    assert len(members(state, card.id, first=48)) == 12


def test_the_networks_opinion_names_the_likeliest_classes(make_state: Make, opinion: Opinion) -> None:
    state = make_state(opinion=opinion)
    shown = findings_page(state, "label_error", page=1).cards[0].pictures[0]
    assert [name for name, _ in shown.opinion] == ["betula", "acer", "fagus"]
    assert shown.opinion[0][1] == pytest.approx(0.7)
    assert pictures_page(state, show="unreadable").cards[0].pictures[0].opinion == ()


def test_the_keeper_writes_once_for_many_changes_and_says_when_it_cannot() -> None:
    written: list[int] = []
    keeper = LedgerKeeper(lambda: written.append(1), delay=60)
    for _ in range(20):
        keeper.touch()
    assert written == []
    keeper.flush()
    assert written == [1]

    def refuse() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    keeper = LedgerKeeper(refuse)
    keeper.flush()
    assert "No space left" in keeper.trouble


def test_the_best_of_a_set_is_the_suggested_class_then_the_largest(make_state: Make) -> None:
    state = make_state()
    assert findings_page(state, "conflicting_labels", page=1).cards[0].best in (1, 2)


def test_a_finding_keeps_its_name_as_long_as_it_is_the_same(make_state: Make) -> None:
    assert list(make_state().by_id) == list(make_state().by_id)
    assert len(make_state().by_id) == len(make_state().findings)


def test_a_journal_that_cannot_be_read_is_not_passed_over(make_state: Make, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "decisions.jsonl").write_text("no json\n{}\n")
    with pytest.raises(IntegrityError):
        make_state()
