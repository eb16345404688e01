"""`sweep`: arms that differ by their settings alone, a test part that is left alone, kills that cost no arm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from budwood import cache
from budwood.bench import Bench
from budwood.errors import Interrupted, OutputError, SettingsError, SplitError, UsageError
from budwood.evaluation.calibrate import apply_temperature
from budwood.evaluation.predictions import Predictions
from budwood.events import Scored, StepAdvanced, StepStarted, Warned
from budwood.export.bundle import load
from budwood.files import read_json
from budwood.recipe import load_recipe
from budwood.sweep_plan import plan_sweep
from budwood.sweep_result import SweepResult
from budwood.sweeping import sweep
from budwood.systems import fit
from budwood.train import boundary

TINY: dict[str, Any] = {"tiny": True, "threads": 1}
RATES = ("train.lr=1e-4,1e-2",)


def plan(recipe: str = "transfer", *over: str, **settings: Any) -> Any:
    given: dict[str, Any] = {"trials": None, "folds": None, "seeds": (), "overrides": (), "seed": None, "tiny": True}
    return plan_sweep(recipe, over=over, **{**given, **settings})


@pytest.fixture(scope="module")
def folded(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """Two rates, two folds, two seeds."""
    out = tmp_path_factory.mktemp("sweep") / "folded"
    return sweep(photos, recipe="transfer", over=RATES, folds=2, seeds=(0, 1), out=out, **TINY)


def test_arms_are_judged_on_all_pictures_but_those_of_the_test_part(folded: SweepResult) -> None:
    parts = read_json(folded.path / "split.json")["parts"]
    for arm in folded.arms:
        assert arm.answer is not None
        assert list(arm.answer.predictions) == [0, 1]
        for answers in arm.answer.predictions.values():
            assert sorted(answers.paths) == sorted(parts["train"] + parts["val"])
            assert not set(answers.paths) & set(parts["test"])
        assert {(t.seed, t.fold) for t in arm.answer.trainings} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert folded.judgement.num_seeds == 2
    assert folded.judgement.num_folds == 2


def test_arms_of_one_architecture_and_seed_share_their_first_weights(folded: SweepResult) -> None:
    files = sorted((folded.path / "initial").iterdir())
    assert len(files) == 2  # one for each seed
    first, second = (load_file(file) for file in files)
    assert any(name.startswith("backbone.") for name in first)  # untrained, so nothing else could bring them back
    assert any((first[name] != second[name]).any() for name in first if name.startswith("backbone."))


def test_the_folder_tells_everything(folded: SweepResult) -> None:
    results = json.loads((folded.path / "results.json").read_text())
    assert results["winner"] == folded.winner
    assert len(results["arms"]) == 2
    assert folded.report.is_file()
    assert "budwood fit" in folded.fit_command
    assert "--split" in folded.fit_command
    history = (folded.path / "arms" / "000" / "history.csv").read_text().splitlines()
    assert history[0].startswith("seed,fold,stage,epoch")
    assert len(history) == 1 + 4  # one epoch of each training
    assert not list(folded.path.rglob("under-way"))


def test_an_arm_answers_what_a_run_with_its_settings_answers(photos: Path, tmp_path: Path) -> None:
    found = sweep(photos, recipe="transfer", over=RATES, out=tmp_path / "sweep", **TINY)
    run = fit(photos, recipe="transfer", overrides=("train.lr=1e-2",), out=tmp_path / "run", **TINY)
    arm = next(arm for arm in found.arms if arm.settings["train.lr"] == 1e-2)
    assert arm.answer is not None
    one, other = arm.answer.predictions[0], Predictions.load(run.folder.predictions("val"))
    fitted = load(run.bundle).facts.calibration  # of a run only: it changes no answer, and arms are told apart by these
    answers = one.probs if fitted is None else apply_temperature(one.probs, fitted.temperature)
    expected = dict(zip(other.paths, other.probs, strict=True))
    assert set(one.paths) == set(other.paths)
    for path, probs in zip(one.paths, answers, strict=True):
        assert probs == pytest.approx(expected[path], abs=2e-6)


def test_an_interrupted_sweep_goes_on_and_ends_as_if_it_had_not_been(
    photos: Path, folded: SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, calls = tmp_path / "broken", Bench.answer, list[tuple[int, int]]()

    def interrupted(self: Bench, *args: Any, **kwargs: Any) -> Any:
        calls.append((kwargs["seed"], kwargs["fold"]))
        if len(calls) == 7:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    settings: dict[str, Any] = dict(recipe="transfer", over=RATES, folds=2, seeds=(0, 1), out=out, **TINY)
    monkeypatch.setattr(Bench, "answer", interrupted)
    with pytest.raises(Interrupted, match=r"resume=True"):
        sweep(photos, **settings)
    trained = list[object]()
    monkeypatch.setattr(Bench, "answer", real)
    inner = Bench._trainer
    monkeypatch.setattr(Bench, "_trainer", lambda *a, **k: trained.append(a) or inner(*a, **k))
    again = sweep(photos, **settings, resume=True)
    assert len(trained) == 2  # of eight trainings six had ended
    assert again.judgement == folded.judgement
    for name in ("predictions-0.csv", "predictions-1.csv"):
        for number in ("000", "001"):
            one, other = (r.path / "arms" / number / name for r in (folded, again))
            assert one.read_bytes() == other.read_bytes()


def test_a_resumed_sweep_with_other_settings_or_other_pictures_is_refused(
    photos: Path, folded: SweepResult, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(folded.path, tmp_path / "copy"))
    common: dict[str, Any] = dict(recipe="transfer", folds=2, seeds=(0, 1), out=out, resume=True, **TINY)
    with pytest.raises(OutputError, match="another over"):
        sweep(photos, over=("train.lr=1e-4,1e-3",), **common)
    with pytest.raises(OutputError, match="another folds"):
        sweep(photos, over=RATES, **{**common, "folds": 3})
    fewer = Path(shutil.copytree(photos, tmp_path / "photos"))
    next(fewer.rglob("*.jpg")).unlink()
    with pytest.raises(OutputError, match="another catalog"):
        sweep(fewer, over=RATES, **common)


def test_heads_are_compared_by_cached_features_each_from_its_own_first_weights(photos: Path, tmp_path: Path) -> None:
    over = ('model.top=[[],["dense 8"]]',)
    found = sweep(photos, recipe="probe", over=over, out=tmp_path / "sweep", **TINY)
    assert [arm.state for arm in found.arms] == ["finished"] * 2
    assert len(list((tmp_path / "sweep" / "initial").iterdir())) == 2


def test_trials_draw_settings_and_a_resumed_search_adds_more(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    over = ("train.lr=log:1e-5..1e-2", "model.dropout=0..0.5")
    common: dict[str, Any] = dict(recipe="transfer", over=over, out=tmp_path / "sweep", **TINY)
    two = sweep(photos, trials=2, **common)
    three = sweep(photos, trials=3, resume=True, **common)
    assert [arm.settings for arm in three.arms][:2] == [arm.settings for arm in two.arms]
    assert len(three.arms) == 3
    assert all(arm.reports for arm in three.arms)  # the accuracy after each epoch


def test_depths_go_from_the_whole_network_to_the_head_alone(photos: Path, tmp_path: Path) -> None:
    found = sweep(photos, recipe="transfer", over=("freeze=0,1,all",), out=tmp_path / "sweep", **TINY)
    assert [arm.settings["freeze"] for arm in found.arms] == ["all", 1, 0]
    page = found.report.read_text()
    assert "last 1 block" in page
    assert "whole network" in page
    assert "the depths share no activations: batches are mixed" in page


DEPTHS: dict[str, Any] = {
    "recipe": "transfer",
    "over": ("freeze=0,1,2,all",),
    "overrides": ("augment.cutmix=0", "train.cache=on", "train.precision=float32"),
    "folds": 2,
    **TINY,
}


@pytest.fixture(scope="module")
def depths(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """Four depths on two folds."""
    return sweep(photos, out=tmp_path_factory.mktemp("depths") / "sweep", **DEPTHS)


def kept_sets() -> list[Path]:
    return list(cache.boundaries_folder().glob("sweep-*"))


def test_depths_share_activations_and_say_so(depths: SweepResult) -> None:
    said = {arm.settings["freeze"]: " ".join(arm.answer.notes) for arm in depths.arms if arm.answer}
    assert "the same 1 version of each picture as every depth; nothing is frozen" in said["all"]
    assert "for 2 trainings of 1 epoch" in said[2]
    assert "made once from those at " in said[1]
    assert said[0] == ""
    assert "the same 1 version of each picture" in depths.report.read_text()
    assert not kept_sets()


def test_each_picture_passes_the_frozen_start_once_for_all_folds(
    photos: Path, depths: SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int]] = []
    real = boundary._run

    def counted(network: Any, make: Any, *, rows: Any, keeping: Any) -> Any:
        made.append((str(network.stop), len(rows)))
        return real(network, make, rows=rows, keeping=keeping)

    monkeypatch.setattr(boundary, "_run", counted)
    found = sweep(photos, out=tmp_path / "sweep", **DEPTHS)
    parts = read_json(found.path / "split.json")["parts"]
    assert [rows for _, rows in made] == [len(parts["train"]) + len(parts["val"])] * 2
    assert len({stop for stop, _ in made}) == 2
    assert found.judgement == depths.judgement


def test_depths_answer_as_without_kept_activations(
    photos: Path, depths: SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("budwood.bench.allowed_bytes", lambda folder, *, budget: 0)
    found = sweep(photos, out=tmp_path / "sweep", **DEPTHS)
    for arm, other in zip(found.arms, depths.arms, strict=True):
        assert arm.answer is not None
        assert other.answer is not None
        if arm.settings["freeze"] in (1, 2):
            assert "not kept" in arm.answer.notes[-1]
        # float16 rounds what enters the trained part, and AdamW's first steps make much of small differences
        np.testing.assert_allclose(arm.answer.predictions[0].probs, other.answer.predictions[0].probs, atol=1e-2)
    assert found.winner == depths.winner


@pytest.mark.parametrize("after", [3, 5])
def test_depths_that_were_interrupted_end_as_if_they_had_not_been(
    photos: Path, depths: SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    real, calls = Bench.answer, list[object]()

    def interrupted(self: Bench, *args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        if len(calls) > after:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Bench, "answer", interrupted)
        with pytest.raises(Interrupted):
            sweep(photos, out=tmp_path / "sweep", **DEPTHS)
    assert len(kept_sets()) == 1
    monkeypatch.setattr("budwood.bench.allowed_bytes", lambda folder, *, budget: 0)  # what was decided holds
    again = sweep(photos, out=tmp_path / "sweep", resume=True, **DEPTHS)
    assert again.judgement == depths.judgement
    for arm in depths.arms:
        name = f"arms/{arm.number:03d}/predictions-0.csv"
        assert (again.path / name).read_bytes() == (depths.path / name).read_bytes()
    assert not kept_sets()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("train.cache=off",), 'train.cache is "off"'),
        (("model.input_dropout=0.1",), "dropout on the input"),
        (('train.stages=[{trains="head"}, {trains=1}, {trains="all"}]',), "an earlier stage trains the backbone"),
    ],
    ids=["cache off", "input dropout", "earlier stage"],
)
def test_depths_that_cannot_share_say_why(photos: Path, tmp_path: Path, overrides: tuple[str, ...], words: str) -> None:
    settings = {**DEPTHS, "over": ("freeze=1,all",), "folds": None}
    settings["overrides"] = ("augment.cutmix=0", *overrides)
    found = sweep(photos, out=tmp_path / "sweep", **settings)
    for arm in found.arms:
        assert arm.answer is not None
        assert any(f"the depths share no activations: {words}" in note for note in arm.answer.notes)


def test_freeze_alone_means_every_border_of_the_backbone() -> None:
    made = plan("transfer", "freeze")
    (axis,) = made.space.axes
    depths = axis.values[::-1]
    assert depths[0] == 0
    assert depths[-1] == "all"
    assert list(depths[1:-1]) == list(range(1, len(depths) - 1))
    stages = [made.arm({"freeze": value}).train.stages for value in depths]
    assert [s.trains for s in stages[0]] == ["head"]
    assert [s[-1].trains for s in stages[1:]] == list(depths[1:])
    assert all(s[0].trains == "head" for s in stages)


def test_arms_with_equal_activations_follow_one_another_from_the_input_to_the_output() -> None:
    made = plan("transfer", "train.lr=1e-4,1e-3", "freeze=1,all,2", "augment.blur=0,0.5")
    assert made.space.keys == ("augment.blur", "freeze", "train.lr")
    assert [arm["freeze"] for arm in made.space.arms()[:6:2]] == ["all", 2, 1]
    assert [stage.trains for stage in made.depths] == ["all", 2, 1]
    assert plan("transfer", "freeze=conv_stem,blocks,2").space.axes[0].values == ("conv_stem", "blocks", 2)  # as named
    assert plan("transfer", "train.lr=1e-4,1e-3").depths == plan("transfer", "train.lr=1e-5,1e-3").depths


def test_freeze_takes_the_place_of_a_frozen_share() -> None:
    made = plan("transfer", "freeze=1,2", overrides=('train.stages=[{trains="head"}, {frozen="90/296", epochs=3}]',))
    stage = made.arm({"freeze": 2}).train.stages[-1]
    assert stage.trains == 2
    assert not stage.frozen


def test_progress_counts_trainings_and_tells_the_best_score(photos: Path, tmp_path: Path) -> None:
    events: list[Any] = []
    found = sweep(photos, recipe="probe", over=("train.views=1,2",), out=tmp_path / "s", listen=events.append, **TINY)
    own = [event for event in events if getattr(event, "step", "") == "sweep"]
    assert own[0] == StepStarted(step="sweep", total=2, unit="trainings")
    assert sum(event.count for event in own if isinstance(event, StepAdvanced)) == 2
    scores = [event for event in own if isinstance(event, Scored)]
    assert [event.name for event in scores] == ["accuracy with views 1", "accuracy with views 2"]
    assert scores[-1].best == found.judgement.standings[found.judgement.winner].accuracy.value
    assert any(isinstance(event, Warned) and "scores mean nothing" in event.text for event in events)


@pytest.mark.parametrize(
    ("over", "settings", "words"),
    [
        ((), {}, "nothing to sweep over"),
        (("seed=0,1",), {}, "--seeds 0,1,2"),
        (("split.val=0.1,0.2",), {}, "judged on the same pictures"),
        (("clean.exclude=[[],['blurred']]",), {}, "judged on the same pictures"),
        (("train.lrr=1,2",), {}, 'did you mean "train.lr"'),
        (("train.lr=1e-3,fast",), {}, "the arm lr fast"),
        (("model.backbone=lite0,lite9",), {}, "lite9"),
        (("train.lr=1e-5..1e-3",), {}, "--trials"),
        (("train.lr=1e-5,1e-3",), {"trials": 5}, "leave --trials out"),
        (("train.lr=1e-5,1e-3",), {"seeds": (1, 1)}, "twice"),
        (("train.lr=1e-5,1e-3",), {"overrides": ("split.folds=3",)}, "leaves the test part alone"),
        (("freeze", "model.backbone=lite0,lite1"), {}, "list them"),
        (("train.lr=log:1e-5..1e-3", "model.dropout=0.1..3"), {"trials": 5}, "dropout"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_is_read(
    over: tuple[str, ...], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError) as error:
        plan("transfer", *over, **settings)
    assert words in str(error.value)


def test_a_recipe_s_own_sweep_holds_where_the_call_says_nothing() -> None:
    own = ('sweep={over=["train.batch_size=8,64,256"], folds=3, seeds=[0, 1]}',)
    made = plan("transfer", overrides=own)
    assert [arm["train.batch_size"] for arm in made.space.arms()] == [8, 64, 256]
    assert (made.folds, made.seeds, made.trials) == (3, (0, 1), None)
    other = plan("transfer", "train.lr=1e-4,1e-3", overrides=own, seeds=(5,))
    assert other.space.keys == ("train.lr",)
    assert (other.folds, other.seeds) == (3, (5,))
    assert made.base.sweep.over == ()  # a fit of the winner is not concerned with it
    assert made.identity["recipe"] == other.identity["recipe"]


def test_a_recipe_without_fine_tuning_has_no_depths() -> None:
    with pytest.raises(SettingsError, match="trains the head only"):
        plan("probe", "freeze")


def test_a_recipe_object_holds_its_own_settings() -> None:
    with pytest.raises(SettingsError, match="already holds seed"):
        plan_sweep(
            load_recipe("probe"),
            over=RATES,
            trials=None,
            folds=None,
            seeds=(),
            overrides=(),
            seed=1,
            tiny=False,
        )


def test_more_folds_than_pictures_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="20 folds of the training and validation part"):
        sweep(photos, recipe="probe", over=("train.views=1,2",), folds=20, out=tmp_path / "sweep", **TINY)


def test_the_place_is_checked_first(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="never written to"):
        sweep(photos, over=RATES, out=photos / "sweep", **TINY)
    with pytest.raises(UsageError, match="--out"):
        sweep(photos, over=RATES, resume=True, **TINY)
    with pytest.raises(UsageError, match="nosuch"):
        sweep(tmp_path / "nosuch", over=RATES, **TINY)
