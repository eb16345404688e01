"""What a person or a policy decided reaches the training, and comparisons are honest about both sides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import budwood
from budwood.data.cleaning.decisions import Decision, DecisionJournal, content_digest
from budwood.data.ledger import read_catalog
from budwood.errors import UsageError
from budwood.evaluation.predictions import Predictions
from budwood.workspace import workspace


@pytest.fixture
def copied(photos: Path, tmp_path: Path) -> Path:
    """The drawn pictures, four of each class twice."""
    folder = tmp_path / "copied"
    shutil.copytree(photos, folder)
    for own in sorted(folder.iterdir()):
        for picture in sorted(own.iterdir())[:4]:
            shutil.copy(picture, own / f"copy-{picture.name}")
    return folder


def test_fit_applies_what_a_person_decided(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second, other = (budwood.scan(photos).records[i] for i in (0, 1, -1))
    DecisionJournal(workspace(photos).decisions).record(
        Decision(path=first.path, digest=content_digest(first), action="exclude", check="too_dark"),
        Decision(path=second.path, digest=content_digest(second), action="relabel", label=other.label),
        Decision(path=other.path, digest="of another content", action="exclude"),
    )
    run = budwood.fit(photos, tiny=True, threads=1, out=tmp_path / "run")
    ledger = {r.path: r for r in read_catalog(run.folder.catalog, photos).records}
    assert (ledger[first.path].state, ledger[first.path].reason) == ("excluded", "excluded in review (too_dark)")
    assert ledger[second.path].label == other.label
    assert ledger[other.path].state == "ok"
    parts = json.loads(run.folder.split.read_text())["parts"]
    assert first.path not in {path for paths in parts.values() for path in paths}
    assert sum(len(paths) for paths in parts.values()) == 23


def test_cleaned_against_original_is_judged_on_the_same_pictures(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = budwood.fit(copied, tiny=True, threads=1, clean=True, compare="clean", out=tmp_path / "run")
    found = run.comparison
    original = Predictions.load(run.folder.predictions("test-original"))
    assert set(original.paths) == set(run.predictions.paths)
    assert found["comparison"]["num_pictures"] == len(run.predictions)
    assert found["num_original"] > found["num_cleaned"]
    ledger = {r.path: r.state for r in read_catalog(run.folder.catalog, copied).records}
    assert sum(state == "excluded" for state in ledger.values()) == 12
    assert all(ledger[path] == "ok" for path in run.predictions.paths)
    page = run.report.read_text(encoding="utf-8")
    assert "What cleaning brought" in page
    assert "95 % interval" in page


def test_comparing_with_nothing_cleaned_is_refused_before_training(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="has nothing to compare"):
        budwood.fit(photos, tiny=True, threads=1, compare="clean", out=tmp_path / "run")


def test_balance_is_compared_on_the_training_part_only(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = budwood.fit(photos, tiny=True, threads=1, compare="balance", out=tmp_path / "run")
    found = run.comparison
    names = [arm["name"] for arm in found["arms"]]
    assert names[0] == "none"
    assert {"class_weights", "weighted_sampler", "oversampling", "logit_adjustment"} <= set(names)
    train = json.loads(run.folder.split.read_text())["parts"]["train"]
    assert sum(found["counts"]) == len(train)
    assert "Ways against imbalance" in run.report.read_text(encoding="utf-8")
