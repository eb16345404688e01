"""The journal of decisions: what was confirmed survives any cut and any kill; decisions hold for one content only."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.data.cleaning import line_log
from budwood.data.cleaning.decisions import (
    Decision,
    DecisionJournal,
    apply_decisions,
    content_digest,
    in_force,
    kept_paths,
)
from budwood.data.records import Catalog, ImageRecord
from budwood.errors import IntegrityError, OutputError

PATHS = ("a/1.jpg", "a/\\xff ü.jpg", "b/\u202e2.jpg")


def decision(path: str = "a/1.jpg", action: str = "exclude", **more: str) -> Decision:
    label = "b" if action == "relabel" else ""
    return Decision(path=path, digest="d", action=action, label=label, time="t", **more)


decisions = st.builds(decision, st.sampled_from(PATHS), st.sampled_from(["keep", "exclude", "relabel"]))
steps = st.lists(st.one_of(st.none(), st.lists(decisions, max_size=3)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_any_sequence_of_record_and_undo_equals_a_list_of_steps(
    steps: list[list[Decision] | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("journal") / "new" / "decisions.jsonl"
    model: list[tuple[Decision, ...]] = []
    for step in steps:
        journal = DecisionJournal(file)  # opened anew each time: nothing is kept in memory
        if step is None:
            assert journal.undo() == (model.pop() if model else ())
        else:
            journal.record(*step)
            model += [tuple(step)] if step else []
        assert len(journal) == len(model)
        assert journal.decisions() == {d.path: d for done in model for d in done}


def test_a_journal_cut_at_any_byte_keeps_every_whole_line_and_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "decisions.jsonl"
    journal = DecisionJournal(file)
    for number in range(2):
        journal.record(decision(reason=f"step {number}"))
    whole = file.read_bytes()
    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        confirmed = whole[:cut].count(b"\n")
        assert len(journal) == confirmed
        journal.record(decision(reason="after"))
        assert [json.loads(line)["decisions"][0]["reason"] for line in file.read_text().splitlines()] == [
            *(f"step {number}" for number in range(confirmed)),
            "after",
        ]


def test_of_two_decisions_on_a_path_in_one_step_the_last_holds_and_undo_takes_both(tmp_path: Path) -> None:
    journal = DecisionJournal(tmp_path / "d.jsonl")
    journal.record(decision(action="keep"))
    journal.record(decision(action="exclude"), decision(action="relabel"))
    assert journal.decisions()["a/1.jpg"].action == "relabel"
    assert len(journal.undo()) == 2
    assert journal.decisions()["a/1.jpg"].action == "keep"


def test_a_step_without_decisions_writes_nothing_that_undo_would_take_back(tmp_path: Path) -> None:
    journal = DecisionJournal(tmp_path / "d.jsonl")
    journal.record(decision())
    journal.record()
    assert len(journal.undo()) == 1


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    def write(name: str) -> None:
        journal = DecisionJournal(tmp_path / "d.jsonl")
        for number in range(20):
            journal.record(decision(path=f"{name}/{number}"))

    writers = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(DecisionJournal(tmp_path / "d.jsonl").decisions()) == 60


def test_undos_at_once_take_back_different_steps(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    for number in range(12):
        DecisionJournal(file).record(decision(path=str(number)))
    taken: list[str] = []
    undoers = [
        threading.Thread(target=lambda: taken.extend(d.path for d in DecisionJournal(file).undo())) for _ in range(8)
    ]
    for undoer in undoers:
        undoer.start()
    for undoer in undoers:
        undoer.join()
    assert len(set(taken)) == 8
    assert len(DecisionJournal(file)) == 4


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = DecisionJournal(tmp_path / "d.jsonl")
    journal.record(decision())
    before = journal.file.read_bytes()
    real = os.write

    def half_then_full(handle: int, data: bytes) -> int:
        monkeypatch.setattr(line_log.os, "write", full)
        return real(handle, data[:7])

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(line_log.os, "write", half_then_full)
    with pytest.raises(OutputError, match="No space left"):
        journal.record(decision(path="b"))
    monkeypatch.undo()
    assert journal.file.read_bytes() == before
    journal.record(decision(path="c"))
    assert set(journal.decisions()) == {"a/1.jpg", "c"}


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'{"decisions": 5}',
        b'{"undo": 1, "decisions": []}',
        b'{"decisions": [{"path": "a", "digest": "d", "action": "burn"}]}',
        b'{"decisions": [{"path": "a", "digest": "d"}]}',
        b'{"decisions": [{"path": 5, "digest": "d", "action": "keep"}]}',
        b'{"decisions": [{"path": "a", "digest": "d", "action": "relabel"}]}',
        b'{"decisions": [{"path": "a", "digest": "d", "action": "keep", "more": "x"}]}',
        b"[" * 100_000,
    ],
    ids=["bytes", "list", "number", "both", "action", "missing", "type", "no label", "more", "deep"],
)
def test_a_changed_line_is_named_and_never_guessed(line: bytes, tmp_path: Path) -> None:
    journal = DecisionJournal(tmp_path / "d.jsonl")
    journal.file.write_bytes(line + b"\n")
    with pytest.raises(IntegrityError, match=r"d\.jsonl"):
        journal.decisions()


WRITER = """
import sys
from budwood.data.cleaning.decisions import Decision, DecisionJournal
from pathlib import Path
journal = DecisionJournal(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), 10**9):
    if number % 5 == 4:
        journal.undo()
    else:
        journal.record(Decision(path=str(number), digest="d", action="keep", reason="r" * 300))
    print(number, flush=True)
"""


def kill_writers(times: int, file: Path) -> None:
    """A child writes and says which steps were confirmed; it is killed at a random moment, again and again."""
    generator, number, confirmed = random.Random(1), 0, []
    for _ in range(times):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file), str(number)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(generator.randrange(1, 12)):
            confirmed.append(int(child.stdout.readline()))
        threading.Event().wait(generator.random() / 500)
        child.send_signal(signal.SIGKILL)
        confirmed += [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        child.wait()
        child.stdout.close()
        number = confirmed[-1] + 1
        lines = [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
        written = [values.get("decisions", [{"path": "undo"}])[0]["path"] for values in lines]
        expected = ["undo" if step % 5 == 4 else str(step) for step in confirmed]
        # A step that reached the disk just before the kill may be there too, unconfirmed: it is done again.
        at = 0
        for name in written:
            at += at < len(expected) and name == expected[at]
        assert at == len(expected), f"confirmed but not on the disk: {expected[at]}"
    DecisionJournal(file).decisions()


def test_a_killed_writer_loses_nothing_that_it_confirmed(tmp_path: Path) -> None:
    kill_writers(4, tmp_path / "d.jsonl")


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing_that_was_confirmed(tmp_path: Path) -> None:
    kill_writers(200, tmp_path / "d.jsonl")


def catalog(**states: str) -> Catalog:
    records = tuple(
        ImageRecord(path=path, label=path[0], pixel_digest="d", state=states.get(path[2], "ok")) for path in PATHS
    )
    return Catalog(root=Path("/p"), records=records, classes=("a", "b"))


def test_a_decision_on_another_content_does_not_hold() -> None:
    made = catalog()
    stale = {path: replace(decision(path), digest="earlier") for path in PATHS}
    assert in_force(made, stale) == ()
    assert apply_decisions(made, stale) == made


def test_decisions_change_state_label_and_reason() -> None:
    made = catalog()
    asked = {
        PATHS[0]: decision(PATHS[0], "exclude", check="blurred"),
        PATHS[1]: decision(PATHS[1], "relabel"),
        PATHS[2]: decision(PATHS[2], "keep"),
    }
    first, second, third = apply_decisions(made, asked).records
    assert (first.state, first.reason) == ("excluded", "excluded in review (blurred)")
    assert (second.state, second.label, second.reason) == ("ok", "b", "relabelled, was a")
    assert third == made.records[2]
    assert kept_paths(in_force(made, asked)) == {PATHS[1], PATHS[2]}


def test_a_class_whose_pictures_all_went_to_another_is_gone() -> None:
    made = catalog()
    asked = {path: decision(path, "relabel") for path in PATHS[:2]}
    assert apply_decisions(made, asked).classes == ("b",)


@pytest.mark.parametrize("action", ["exclude", "relabel"])
def test_an_unreadable_file_stays_unreadable_with_its_reason(action: str) -> None:
    record = ImageRecord(path="a/1.jpg", label="a", state="unreadable", reason="cut short", file_digest="d")
    made = Catalog(root=Path("/p"), records=(record,), classes=("a",))
    assert content_digest(record) == "d"
    assert apply_decisions(made, {"a/1.jpg": decision(action=action)}).records == (record,)


@pytest.mark.parametrize("make", [lambda: decision(action="keep", label="b"), lambda: decision(label="b")])
def test_only_a_relabelling_has_a_label(make: Callable[[], Decision]) -> None:
    with pytest.raises((ValueError, TypeError)):
        make()
