"""An ensemble of finished runs: a run like any other, scored as it ships, and refused where its score would lie."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from budwood.ensemble_report import is_ensemble, write_ensemble_report
from budwood.ensembling import combine
from budwood.errors import IntegrityError, Interrupted, LeakError, SettingsError, SplitError, UsageError
from budwood.evaluation.predictions import Predictions
from budwood.export.bundle import load
from budwood.files import read_json, write_json
from budwood.member_training import member_recipes
from budwood.members import choosing_answers, open_members
from budwood.order import Order
from budwood.recipe import EnsembleSpec, Recipe, load_recipe, parse_recipe
from budwood.runs import Run, RunDir
from budwood.systems import fit
from budwood.test_lock import FILE_NAME, Looking
from budwood.workspace import workspace

QUICK = ("export.golden=1",)


@pytest.fixture(scope="module")
def runs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two tiny runs of one split, with different networks."""
    folder = tmp_path_factory.mktemp("runs")
    first = fit(photos, recipe="probe", overrides=QUICK, tiny=True, threads=1, out=folder / "one")
    other = ("model.backbone=resnet18", *QUICK)
    fit(
        photos, recipe="probe", overrides=other, tiny=True, threads=1, out=folder / "two", split_file=first.folder.split
    )
    return folder / "one", folder / "two"


@pytest.fixture(scope="module")
def joined(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Both joined by their mean."""
    return combine(runs, method="mean", out=tmp_path_factory.mktemp("ensemble") / "run")


def changed(run: Path, out: Path) -> RunDir:
    """A copy of a run, for a test to change and seal again."""
    shutil.copytree(run, out)
    return RunDir(out)


def test_an_ensemble_is_a_run_like_any_other(joined: Run, runs: tuple[Path, Path]) -> None:
    assert joined.folder.is_complete()
    assert joined.folder.verify() == []
    assert set(read_json(runs[0] / "metrics.json")) - {"tta", "calibration", "view_choice"} <= set(joined.metrics)
    assert read_json(joined.folder.split) == read_json(runs[0] / "split.json")
    recipe = parse_recipe(joined.folder.recipe.read_text(encoding="utf-8"), source="recipe")
    assert recipe.ensemble == EnsembleSpec(members=("probe", "probe"), method="mean")
    assert is_ensemble(joined.folder)
    assert not is_ensemble(RunDir(runs[0]))
    assert "test_looks" not in joined.metrics, "untrained networks learn nothing of the test part"


def test_what_was_scored_is_what_the_bundle_answers(joined: Run, photos: Path) -> None:
    stored = joined.predictions
    again = load(joined.bundle).predict([photos / path for path in stored.paths])
    np.testing.assert_allclose(again.probs, stored.probs, atol=1e-5)
    score = joined.metrics["ensemble"]["score"]
    right = float((stored.predicted == stored.targets).mean())
    assert joined.metrics["test"]["accuracy"]["value"] == score["gain"]["accuracy"]["b"] == right


def test_the_score_names_both_members_their_pair_and_the_best_of_validation(
    joined: Run, runs: tuple[Path, Path]
) -> None:
    score = joined.metrics["ensemble"]["score"]
    assert [member["name"] for member in score["members"]] == ["one", "two"]
    assert [(pair["first"], pair["second"]) for pair in score["pairs"]] == [("one", "two")]
    for member, run in zip(score["members"], runs, strict=True):
        assert member["accuracy"]["value"] == read_json(run / "metrics.json")["test"]["accuracy"]["value"]
        assert member["chosen_accuracy"] == read_json(run / "metrics.json")["validation"]["accuracy"]["value"]
    assert score["best"] in ("one", "two")


def test_the_page_is_made_again_from_the_files(joined: Run) -> None:
    before = joined.report.read_text(encoding="utf-8")
    write_ensemble_report(joined.folder)
    assert joined.report.read_text(encoding="utf-8") == before
    assert "the best member in validation" in before


def test_a_look_of_the_ensemble_is_counted_where_its_members_looks_were(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    counted = changed(runs[0], tmp_path / "counted")
    write_json(counted.metrics, {**read_json(counted.metrics), "test_looks": 1})
    counted.seal()
    found = combine([counted.path, runs[1]], method="vote", out=tmp_path / "run").metrics
    assert found["test_looks"] == 1
    assert found["looks"] == "looked at once"
    again = combine([counted.path, runs[1]], method="mean", out=tmp_path / "again").metrics
    assert again["test_looks"] == 2
    assert "looked at 2 times" in again["looks"]


def test_a_member_trained_on_anothers_test_pictures_is_refused_with_their_number(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    other = changed(runs[1], tmp_path / "other")
    split = read_json(other.split)
    swapped = {**split["parts"], "test": split["parts"]["train"][:3], "train": split["parts"]["test"]}
    write_json(other.split, {**split, "parts": swapped})
    other.seal()
    number = len(split["parts"]["test"])
    words = rf"other was trained on {number} of the {number} test pictures of one.*too high; .*--split .*split.json"
    with pytest.raises(LeakError, match=words):
        open_members([runs[0], other.path])
    with pytest.raises(LeakError, match="one was trained on"):
        open_members([other.path, runs[0]])


def test_parts_that_differ_without_a_leak_are_refused_too(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = changed(runs[1], tmp_path / "other")
    split = read_json(other.split)
    write_json(other.split, {**split, "parts": {**split["parts"], "val": split["parts"]["val"][1:]}})
    other.seal()
    with pytest.raises(SplitError, match="validation parts of one and other differ in 1 pictures"):
        open_members([runs[0], other.path])


def test_fewer_training_pictures_are_no_reason_to_refuse(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = changed(runs[1], tmp_path / "other")
    split = read_json(other.split)
    write_json(other.split, {**split, "parts": {**split["parts"], "train": split["parts"]["train"][1:]}})
    other.seal()
    assert len(open_members([runs[0], other.path])) == 2


def test_answers_that_were_changed_are_found(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = changed(runs[1], tmp_path / "other")
    answers = Predictions.load(other.predictions("test"))
    replace(answers, probs=answers.probs[:, ::-1]).save(other.predictions("test"))
    with pytest.raises(IntegrityError, match="not what was written"):
        combine([runs[0], other.path], out=tmp_path / "run")
    other.seal()
    with pytest.raises(IntegrityError, match="bundle differs by"):
        combine([runs[0], other.path], method="mean", out=tmp_path / "run")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param(["one"], "needs two runs or more; found 1", id="one run"),
        pytest.param(["one", "one"], "is given twice", id="the same run"),
        pytest.param(["one", "."], "is no run", id="no run"),
    ],
)
def test_what_are_no_two_runs_is_told(runs: tuple[Path, Path], names: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_members([runs[0].parent / name for name in names])


def test_a_run_that_is_not_done_is_told_with_how_to_go_on(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = changed(runs[1], tmp_path / "other")
    write_json(other.status, {**read_json(other.status), "state": "interrupted", "go_on": "budwood fit --resume"})
    with pytest.raises(UsageError, match="interrupted, not done; go on with: budwood fit --resume"):
        open_members([runs[0], other.path])


def test_out_of_fold_answers_are_chosen_by_without_the_test_part(runs: tuple[Path, Path]) -> None:
    members = []
    for member in open_members(runs):
        both = (member.test, member.val)
        pooled = replace(
            member.val,
            probs=np.concatenate([part.probs for part in both]),
            targets=np.concatenate([np.asarray(part.targets) for part in both]),
            paths=tuple(path for part in both for path in part.paths),
        )
        members.append(replace(member, cross_validated=pooled))
    _, first, chosen_on = choosing_answers(members)
    assert set(first.paths) == set(members[0].val.paths)
    assert chosen_on.startswith("out-of-fold answers")
    _, first, chosen_on = choosing_answers([members[0], replace(members[1], cross_validated=None)])
    assert (first.paths, chosen_on) == (members[0].val.paths, "the validation part")


def test_what_an_ensemble_recipe_says_holds_for_every_member() -> None:
    recipe = load_recipe("a3-ensemble3", overrides=["train.lr=5e-4", "predict.views=2", "seed=7"])
    members = member_recipes(recipe)
    assert [member.model.backbone for member in members] == ["resnet50", "vgg16", "mobilenetv2_100"]
    assert {(member.train.lr, member.predict.views, member.seed) for member in members} == {(5e-4, 2, 7)}
    assert [stage.epochs for stage in members[0].train.stages] == [25, 200], "the rest is the member's own"


def test_a_recipe_that_is_named_again_gets_the_next_seed() -> None:
    recipe = Recipe(name="deep", seed=3, ensemble=EnsembleSpec(members=("probe", "transfer", "probe", "probe")))
    assert [member.seed for member in member_recipes(recipe)] == [3, 3, 4, 5]


def test_members_that_cannot_be_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="names one recipe"):
        load_recipe("probe", overrides=['ensemble.members=["probe"]'])
    with pytest.raises(SettingsError, match="2 networks for 3 members"):
        load_recipe("a3-ensemble3", overrides=['ensemble.backbones=["lite0", "lite1"]'])
    with pytest.raises(SettingsError, match="share one split, which folds are not"):
        load_recipe("a3-ensemble3", folds=3)
    with pytest.raises(UsageError, match='no recipe is called "prob"'):
        member_recipes(load_recipe("probe", overrides=['ensemble.members=["probe", "prob"]']))
    with pytest.raises(UsageError, match="is an ensemble itself"):
        member_recipes(load_recipe("probe", overrides=['ensemble.members=["probe", "a3-ensemble3"]']))
    bad = tmp_path / "probe.toml"
    bad.write_text("[model]\nbackbon = 1\n")
    recipe = load_recipe("probe", overrides=[f'ensemble.members=["{bad}", "probe"]'])
    with pytest.raises(SettingsError, match="member probe of recipe probe: unknown key"):
        member_recipes(recipe)


def test_members_are_trained_on_one_split_and_a_stopped_ensemble_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from budwood import member_training, pipeline

    recipe = load_recipe("probe", overrides=['ensemble.members=["probe", "probe"]', *QUICK], tiny=True)
    trained: list[str] = []

    def stops_at_second(order: Order, *, looking: Looking) -> Run:
        trained.append(order.path.name)
        assert (looking.run, looking.members) == (tmp_path / "run", ("1-probe", "2-probe"))
        if len(trained) == 2:
            raise Interrupted("stopped; go on with the member")
        return pipeline.fit(order, looking=looking)

    with monkeypatch.context() as patch:
        patch.setattr(member_training, "fit", stops_at_second)
        with pytest.raises(Interrupted, match=r"run keeps what was done"):
            fit(photos, recipe=recipe, out=tmp_path / "run", threads=1)
    assert RunDir(tmp_path / "run").read_status()["state"] == "interrupted"
    first = tmp_path / "run" / "members" / "1-probe"
    weights = (first / "bundle" / "model.safetensors").stat().st_mtime_ns
    done = fit(photos, recipe=recipe, out=tmp_path / "run", threads=1, resume=True)
    assert (first / "bundle" / "model.safetensors").stat().st_mtime_ns == weights, "what was done is not done again"
    splits = [read_json(run / "split.json")["parts"] for run in sorted(first.parent.iterdir())]
    assert len(splits) == 2
    assert splits[0] == splits[1]
    assert done.folder.verify() == []
    again = parse_recipe(done.folder.recipe.read_text(encoding="utf-8"), source="recipe")
    assert json.dumps(again.model_dump(mode="json")) == json.dumps(recipe.model_dump(mode="json"))


@pytest.mark.slow
def test_members_trained_and_joined_by_one_command_are_one_look_in_the_ensembles_name(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = load_recipe("probe", overrides=['ensemble.members=["probe", "probe"]', "predict.views=1", *QUICK])
    done = fit(photos, recipe=chosen, out=tmp_path / "run", threads=1)
    members = sorted(done.folder.members.iterdir())
    for metrics in (done.metrics, *(read_json(RunDir(member).metrics) for member in members)):
        assert (metrics["test_looks"], metrics["looks"]) == (1, "looked at once")
    (line,) = (workspace(photos).path / FILE_NAME).read_text(encoding="ascii").splitlines()
    found = json.loads(line)
    assert (found["kind"], found["members"]) == ("ensemble", [member.name for member in members])
    again = combine(members, method="mean", out=tmp_path / "again").metrics
    assert again["test_looks"] == 2, "whoever joins finished runs once more has looked once more"
