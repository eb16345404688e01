"""The same from Python: `budwood.fit`, the run's properties, `load`, `predict`, `evaluate`."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import budwood
from budwood.judge import evaluate


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> budwood.Run:
    """A tiny run made from Python."""
    out = tmp_path_factory.mktemp("python") / "run"
    return budwood.fit(photos, recipe="transfer", tiny=True, threads=1, out=out, overrides=["train.batch_size=4"])


def test_a_run_offers_its_results(run: budwood.Run) -> None:
    assert 0 <= run.metrics["test"]["accuracy"]["value"] <= 1
    assert run.report.is_file()
    assert [row.epoch for row in run.history.rows] == [1]
    assert len(run.predictions) == run.metrics["test"]["num_pictures"]
    assert run.predictions.classes == tuple(sorted({p.split("/")[0] for p in run.predictions.paths}))


def test_a_loaded_bundle_gives_the_runs_own_answers(run: budwood.Run, photos: Path) -> None:
    stored = run.predictions
    answers = budwood.load(run.bundle).predict([photos / path for path in stored.paths])
    assert answers.probs.dtype == np.float32
    assert np.allclose(answers.probs, stored.probs, atol=1e-5)
    again, unreadable = budwood.predict(run.path, [str(photos / path) for path in stored.paths])
    assert np.array_equal(again.probs, answers.probs)
    assert unreadable == ()


def test_one_path_is_as_good_as_a_list_of_one(run: budwood.Run, photos: Path) -> None:
    picture = next(photos.glob("*/*.jpg"))
    for given in (picture, str(picture), [picture]):
        answers, _ = budwood.predict(run.bundle, given)
        assert answers.paths == (str(picture),)


def test_an_unreadable_picture_is_an_error_that_names_it(run: budwood.Run, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("text")
    with pytest.raises(budwood.BudwoodError, match=r"bad\.jpg"):
        budwood.load(run.bundle).predict([tmp_path / "bad.jpg"])


def test_evaluate_matches_classes_by_name(run: budwood.Run, photos: Path, tmp_path: Path) -> None:
    some = Path(shutil.copytree(photos, tmp_path / "some"))
    shutil.rmtree(sorted(some.iterdir())[0])
    metrics, predictions = evaluate(run.bundle, some)
    assert metrics.num_pictures == 16
    assert all(
        predictions.classes[t] == p.split("/")[0] for t, p in zip(predictions.targets, predictions.paths, strict=True)
    )
    sorted(some.iterdir())[0].rename(some / "quercus")
    with pytest.raises(budwood.BudwoodError, match="quercus") as caught:
        evaluate(run.bundle, some)
    assert caught.value.exit_code == 3


def test_a_recipe_object_is_accepted(photos: Path, tmp_path: Path) -> None:
    from budwood.recipe import load_recipe

    recipe = load_recipe("probe", tiny=True, seed=4)
    done = budwood.fit(photos, recipe=recipe, threads=1, out=tmp_path / "run")
    assert done.metrics["test"]["num_pictures"] == 3


def test_the_signal_handler_is_given_back(photos: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(budwood.BudwoodError, match="does not exist"):
        budwood.fit(tmp_path / "none", out=tmp_path / "run", tiny=True, threads=1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_events_are_heard(photos: Path, tmp_path: Path) -> None:
    heard: list[object] = []
    budwood.fit(photos, recipe="transfer", tiny=True, threads=1, out=tmp_path / "run", listen=heard.append)
    kinds = {type(event).__name__ for event in heard}
    assert {"StepStarted", "StepAdvanced", "StepFinished", "Scored", "Warned"} <= kinds
