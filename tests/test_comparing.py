"""Runs compared by what their folders hold: which are refused, which are seeds of one way, and the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from budwood.cli import compare
from budwood.comparing import compare_runs
from budwood.data.ledger import write_catalog
from budwood.data.records import Catalog, ImageRecord
from budwood.errors import DataError, UsageError
from budwood.evaluation.predictions import Predictions
from budwood.files import write_json, write_text
from budwood.recipe import load_recipe
from budwood.runs import RunDir

NUM = 120
CLASSES = ("ash", "elm <script>alert(1)</script>")


def make_run(
    folder: Path, *, share: float, seed: int = 0, recipe: str = "probe", digest: str = "d", looks: int | None = None
) -> Path:
    """What `fit` leaves and a comparison reads."""
    run = RunDir(folder)
    paths = tuple(f"{i:03}.jpg" for i in range(NUM))
    targets = np.arange(NUM) % 2
    right = np.random.default_rng([seed, round(1000 * share)]).random(NUM) < share
    said = np.where(right, targets, 1 - targets)
    Predictions(
        probs=np.eye(2, dtype=np.float32)[said] * 0.8 + 0.1, targets=targets, paths=paths, classes=CLASSES
    ).save(run.predictions("test"))
    records = tuple(
        ImageRecord(path=path, label=CLASSES[int(t)], pixel_digest=f"{digest}{path}")
        for path, t in zip(paths, targets, strict=True)
    )
    write_catalog(Catalog(root=folder, records=records, classes=CLASSES), run.catalog)
    write_text(run.recipe, load_recipe(recipe, seed=seed).to_toml())
    write_json(run.environment, {"photos": "photos", "root": "photos"})
    write_json(run.split, {"parts": {"train": [], "val": [], "test": list(paths)}})
    write_json(run.status, {"state": "done"})
    write_json(run.metrics, {} if looks is None else {"test_looks": looks})
    return folder


def test_a_clear_difference_is_told_and_the_answers_are_matched_by_path(tmp_path: Path) -> None:
    weak, strong = make_run(tmp_path / "weak", share=0.6), make_run(tmp_path / "strong", share=0.95, recipe="transfer")
    file = RunDir(strong).predictions("test")
    header, *rows = file.read_text().splitlines()
    file.write_text("\n".join([header, *reversed(rows)]) + "\n")
    found = compare_runs([weak, strong])
    assert found.found.pairs[0].verdict == "better"
    assert [arm.name for arm in found.found.arms] == ["weak", "strong"]


def test_runs_that_differ_by_the_seed_alone_become_one_arm(tmp_path: Path) -> None:
    seeds = [make_run(tmp_path / f"s{s}", share=0.7, seed=s) for s in range(3)]
    other = make_run(tmp_path / "other", share=0.95, recipe="transfer")
    found = compare_runs([*seeds, other])
    assert [arm.num_seeds for arm in found.found.arms] == [3, 1]
    assert found.found.arms[0].name == "probe (seeds 0, 1, 2)"
    assert found.folders == (tuple(seeds), (other,))
    assert found.found.noise
    with pytest.raises(UsageError, match="nothing but their seeds"):
        compare_runs(seeds)


def test_further_runs_measure_the_noise(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", share=0.7), make_run(tmp_path / "b", share=0.75, recipe="transfer")
    noise = [make_run(tmp_path / f"n{s}", share=0.7, seed=s, recipe="demo") for s in range(3)]
    assert compare_runs([a, b]).found.noise == ()
    found = compare_runs([a, b], noise=noise)
    assert len(found.found.arms) == 2
    assert found.found.noise[0].degrees == 2
    with pytest.raises(UsageError, match="no two runs that differ by the seed alone"):
        compare_runs([a, b], noise=[noise[0]])


def test_other_test_pictures_are_refused_with_both_named_and_what_to_do(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", share=0.7)
    b = make_run(tmp_path / "b", share=0.8, recipe="transfer", digest="e")  # same names, other pixels
    with pytest.raises(DataError) as error:
        compare_runs([a, b])
    for word in (str(a), str(b), "different test parts", f"--split {a}/split.json", "120 of 120 and 120"):
        assert word in str(error.value)


def damage(run: Path, what: str) -> Path:
    if what == "bundle":
        shutil.rmtree(run)
        write_json(run / "bundle.json", {})
    elif what == "answers":
        RunDir(run).predictions("test").unlink()
    else:
        shutil.rmtree(run)
    return run


@pytest.mark.parametrize(
    ("what", "words"),
    [("bundle", "is a bundle"), ("answers", "no answers to a test part"), ("folder", "is no folder")],
)
def test_what_is_no_scored_run_is_refused_in_words(tmp_path: Path, what: str, words: str) -> None:
    a = make_run(tmp_path / "a", share=0.7)
    b = damage(make_run(tmp_path / "b", share=0.7, recipe="transfer"), what)
    with pytest.raises(UsageError, match=words):
        compare_runs([a, b])


def test_a_run_named_twice_is_refused(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", share=0.7)
    with pytest.raises(UsageError, match="named twice"):
        compare_runs([a, tmp_path / "." / "a"])


def test_comparing_writes_nothing_into_the_runs_and_says_how_often_the_part_was_looked_at(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", share=0.7, looks=1), make_run(tmp_path / "b", share=0.8, looks=4, recipe="demo")
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    notes = compare_runs([a, b]).notes()
    assert "looked at 4 times" in notes[-1]
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


def test_the_command_prints_a_verdict_and_its_page_shows_hostile_names_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    a = make_run(tmp_path / "<b>first", share=0.6)
    b = make_run(tmp_path / "[red]second", share=0.95, recipe="transfer")
    page, numbers = tmp_path / "c.html", tmp_path / "c.json"
    compare.run([a, b], noise=None, html=page, json=numbers, seed=0)
    said = capsys.readouterr().out
    assert "[red]second against <b>first on 120 pictures" in said
    assert ": better." in said
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;b&gt;first" in text
    assert "http://" not in text
    assert json.loads(numbers.read_text())["pairs"][0]["verdict"] == "better"
