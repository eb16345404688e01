"""What a person or a policy decided reaches the training, and comparisons are honest about both sides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import budwood
from budwood.data.cleaning.decisions import Decision, DecisionJournal, content_digest
from budwood.data.ledger import read_catalog
from budwood.data.opinion import Opinion
from budwood.errors import UsageError
from budwood.evaluation.predictions import Predictions
from budwood.events import silent
from budwood.prepare import read_photos, with_opinion
from budwood.recipe import load_recipe
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


def test_what_was_cleaned_away_stays_away_after_a_network_was_asked(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conflict"
    shutil.copytree(photos, folder)
    first, second = sorted(folder.iterdir())[:2]
    picture = sorted(first.iterdir())[0]
    shutil.copy(picture, second / "the-same.png")
    recipe = load_recipe("probe", tiny=True, clean=True)
    before = read_photos(folder, recipe, side=320, listen=silent)
    paths = tuple(r.path for r in before.catalog.records)
    assert len(paths) == 23  # both of the equal pictures are out
    rng = np.random.default_rng(0)
    opinion = Opinion(
        paths=paths,
        classes=before.catalog.classes,
        features=rng.normal(size=(23, 16)).astype(np.float32),
        probs=rng.dirichlet(np.ones(3), 23).astype(np.float32),
        folds=np.arange(23) % 5,
    )
    after = with_opinion(before, opinion, recipe, listen=silent)
    assert tuple(r.path for r in after.catalog.records) == paths
    assert {"conflicting_labels"} <= {f.check for f in after.audit.findings}
