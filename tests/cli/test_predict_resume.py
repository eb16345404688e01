"""`budwood predict` on many pictures: interrupted and taken up again, abstaining, scored by folders, as a page."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from budwood.answer_rows import AnswerSpec, Tally
from budwood.answers import answer_file, progress_file
from budwood.cli.predict_summary import own_pictures
from budwood.export.bundle import load
from budwood.judge import named_pictures


def rows_of(out: Path) -> dict[str, list[str]]:
    return {row[0]: row for row in list(csv.reader(io.StringIO(out.read_text(encoding="utf-8"))))[1:]}


@pytest.fixture
def many(photos: Path, tmp_path: Path) -> Path:
    """Forty-eight pictures: two batches."""
    for name in ("a", "b"):
        shutil.copytree(photos, tmp_path / "many" / name)
    return tmp_path / "many"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_resumed_call_ends_with_what_an_undisturbed_one_gives(
    form: str, probe_run: Path, many: Path, call: Callable, tmp_path: Path
) -> None:
    out, whole = tmp_path / f"out.{form}", tmp_path / f"whole.{form}"
    assert call("predict", probe_run, many, "--out", whole, "--threads", "1").code == 0
    bundle = load(probe_run)
    steps = answer_file(
        bundle, named_pictures(many), out, spec=AnswerSpec(form=form), tally=Tally(classes=bundle.classes)
    )
    next(steps)
    steps.close()  # killed after the first batch
    with out.open("a") as file:
        file.write("half a row")
    call("predict", probe_run, many, "--out", out, "--threads", "1").refused(2, "--resume", "interrupted")
    outcome = call("predict", probe_run, many, "--out", out, "--resume", "--threads", "1")
    outcome.refused(0, "48 pictures answered, 32 of them earlier")
    assert out.read_text() == whole.read_text()
    assert not progress_file(out).exists()
    call("predict", probe_run, many, "--out", out, "--resume", "--threads", "1").refused(2, "nothing to go on with")


def test_a_changed_file_is_asked_again_and_another_bundle_is_refused(
    probe_run: Path, transfer_run: Path, many: Path, call: Callable, tmp_path: Path
) -> None:
    out, bundle = tmp_path / "out.csv", load(probe_run)
    named = named_pictures(many)
    steps = answer_file(bundle, named, out, spec=AnswerSpec(), tally=Tally(classes=bundle.classes))
    next(steps)
    steps.close()
    call("predict", transfer_run, many, "--out", out, "--resume").refused(2, "another bundle")
    shutil.copy(named[40][1], named[0][1])
    outcome = call("predict", probe_run, many, "--out", out, "--resume", "--threads", "1")
    outcome.refused(0, "48 pictures answered, 31 of them earlier")
    rows = rows_of(out)
    assert len(rows) == 48
    assert rows[named[0][0]][3:] == rows[named[40][0]][3:]


def test_risk_adds_an_answer_that_may_be_missing_and_folders_give_scores(
    probe_run: Path, many: Path, call: Callable, tmp_path: Path
) -> None:
    out, page = tmp_path / "out.jsonl", tmp_path / "out.html"
    outcome = call("predict", probe_run, many, "-o", out, "--risk", "0.05", "--page", page, "--threads", "1")
    outcome.refused(0, "not certain enough", "of 48 right", "no look at the run's test part")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(row["candidates"] and row["answer"] in (None, row["predicted"]) for row in rows)
    assert page.read_text().count("data:image/jpeg") == 48


def test_the_runs_own_pictures_are_known_again(probe_run: Path, photos: Path) -> None:
    files = [file for _, file in named_pictures(photos)]
    own = own_pictures(probe_run / "bundle", files)
    assert sum(own.values()) == 24
    assert own["test"] > 0
