"""`sweep`: one recipe, some settings in several values; every arm on the same pictures, folds and first weights.

The pictures are read, audited and split once, and the test part stays where it is: arms are compared on the rest.
`search/` goes through the arms, `bench.py` trains one, `sweep_result.py` has them judged. What won is not trained again
here: `SweepResult.fit_command` says how.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from budwood import cache
from budwood.bench import Bench, Freeze
from budwood.data.inputs.sources import check_source
from budwood.data.ledger import write_catalog
from budwood.data.rounds import Round, rounds_of
from budwood.data.split_file import write_split
from budwood.data.split_nouns import Split
from budwood.errors import Interrupted, UsageError
from budwood.events import Listener, Scored, StepAdvanced, StepFinished, StepStarted, Warned, silent
from budwood.files import refuse_inside, sha256_bytes, to_json, write_text
from budwood.look import form_opinion
from budwood.models.build import open_backbone, store_side
from budwood.opening import command_line, new_run_path
from budwood.prepare import Dataset, make_splits, read_photos, with_opinion
from budwood.recipe import Recipe
from budwood.runs import RunDir
from budwood.search.arms import Arm, ArmAnswer, SweepFolder
from budwood.search.grid import Hopeless, Report, run_grid
from budwood.search.trainings import Answered, history_table, pooled
from budwood.search.trials import check_optuna, run_trials
from budwood.stopping import stoppable
from budwood.sweep_plan import SweepPlan, plan_sweep
from budwood.sweep_result import SweepResult, judged
from budwood.where import Chosen, chosen_machine

_STEP = "sweep"


def sweep(
    photos: str | Path,
    *,
    recipe: str | Recipe = "probe",
    over: Sequence[str] = (),
    trials: int | None = None,
    folds: int | None = None,
    seeds: Sequence[int] = (),
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    tiny: bool = False,
    threads: int | None = None,
    resume: bool = False,
    listen: Listener = silent,
) -> SweepResult:
    """Train every arm on the same folds from the same weights, compare them, and leave a page.

    Args:
        photos: any input that `fit` takes.
        recipe: what all arms share; its ``[sweep]`` says what is not given here.
        over: settings with their values: ``"train.lr=1e-5,1e-4"``, a range ``"train.lr=log:1e-5..1e-2"`` with
            ``trials``, or ``"freeze"`` for every depth at which the last stage can begin to train.
        trials: so many trials chosen by Optuna, instead of every combination.
        folds: cross-validate on the training and validation part; None: train on one and judge by the other.
        seeds: train each arm once with each; the recipe's own unless given.
        out: the sweep's folder.
        overrides, seed, tiny: as for `fit`; ``seed`` also makes the split.
        threads: use exactly so many; None measures.
        resume: go on with the sweep in ``out``; arms that have ended are not run again.
        listen: hears of the step ``sweep``, and of what the arms do.

    Raises:
        UsageError: the call or a setting is wrong, or no arm could be trained. DataError: the pictures cannot be used.
        Interrupted: stopped; ended arms are kept.
    """
    plan = plan_sweep(
        recipe, over=over, trials=trials, folds=folds, seeds=seeds, overrides=overrides, seed=seed, tiny=tiny
    )
    photos = Path(photos).expanduser()
    check_source(photos)
    if plan.trials:
        check_optuna()
    if resume and out is None:
        raise UsageError("resume needs the sweep's folder: give it with --out")
    path = Path(out).expanduser() if out is not None else new_run_path(f"{plan.base.name}-sweep")
    refuse_inside(path, photos)
    store = SweepFolder(path)
    with store.opened(plan.identity, resume=resume), _stoppable(path):
        write_text(store.recipe, plan.base.to_toml())
        write_text(store.command, command_line() + "\n")
        return _Work(plan=plan, store=store, photos=photos, listen=listen).go(threads)


@dataclass(kw_only=True)
class _Work:
    """One sweep under way."""

    plan: SweepPlan
    store: SweepFolder
    photos: Path
    listen: Listener
    best: float = 0.0
    done: int = 0
    ended: list[Arm] = field(default_factory=list)

    def go(self, threads: int | None) -> SweepResult:
        """Read once, run all arms, judge, write."""
        plan = self.plan
        if plan.tiny:
            self.listen(Warned(text="--tiny: few pictures, one epoch, untrained networks; the scores mean nothing"))
        precision = plan.base.train.precision
        chosen = chosen_machine(RunDir(self.store.path), threads=threads, precision=precision, devices=1, nodes=1)
        dataset, split = self._pictures(chosen)
        rounds = rounds_of(split, dataset.catalog, groups=dataset.audit.groups, folds=plan.folds, seed=plan.base.seed)
        self.store.confirm({"catalog": dataset.catalog.fingerprint, "parts": _digest(dataset, rounds)})
        write_split(split, dataset.catalog, self.store.split)
        write_catalog(dataset.ledger(split), self.store.catalog)
        bench = Bench(
            dataset=dataset,
            split=split,
            rounds=rounds,
            chosen=chosen,
            initial=self.store.initial,
            listen=self.listen,
            freeze=self._freeze(),
        )
        arms = self._run(bench)
        bench.close()
        cache.prune()
        return judged(arms, plan, store=self.store, photos=self.photos)

    def _freeze(self) -> Freeze | None:
        """The depths that are compared one after the other, if any are."""
        plan, stages = self.plan, self.plan.depths
        if len(stages) < 2:
            return None
        name = sha256_bytes(str(self.store.path.resolve()).encode("utf-8", "surrogateescape"))[:16]
        return Freeze(
            stages=stages,
            epochs=max(stage.epochs for stage in stages),
            seeds=plan.seeds,
            folder=cache.boundaries_folder() / f"sweep-{name}",
            decisions=self.store.path / "chain.json",
        )

    def _pictures(self, chosen: Chosen) -> tuple[Dataset, Split]:
        """Read, look, clean, split, as `fit` does; the pictures are kept large enough for every arm."""
        recipe = self.plan.shared
        models = {spec.model_dump_json(): spec for spec in self.plan.models()}
        side = max(store_side(spec, open_backbone(spec).preprocess) for spec in models.values())
        dataset = read_photos(self.photos, recipe, side=side, listen=self.listen)
        if recipe.audit.opinion and recipe.model.starts_trained:
            opinion = form_opinion(dataset, recipe, bf16=chosen.bf16, listen=self.listen)
            dataset = with_opinion(dataset, opinion, recipe, listen=self.listen)
        dataset, splits = make_splits(dataset, recipe, None, listen=self.listen)
        return dataset, splits[0]

    def _run(self, bench: Bench) -> tuple[Arm, ...]:
        plan, started = self.plan, time.perf_counter()
        trainings = len(plan.seeds) * len(bench.rounds)
        self.listen(StepStarted(step=_STEP, total=plan.num_arms * trainings, unit="trainings"))

        def evaluate(settings: Mapping[str, Any], *, folder: Path, report: Report) -> ArmAnswer:
            return self._answer(bench, settings, folder=folder, report=report)

        def ended(arm: Arm) -> None:
            self.ended.append(arm)
            self._advance(len(self.ended) * trainings - self.done)
            if arm.answer:
                score = arm.answer.score
                self.best = max(self.best, score)
                name = f"accuracy with {self.plan.name(arm.settings)}"
                self.listen(Scored(step=_STEP, name=name, value=score, best=self.best))
            else:
                self.listen(Warned(text=f"{self.plan.name(arm.settings)}: {arm.reason}"))

        if plan.trials:
            arms = run_trials(
                plan.space,
                evaluate,
                trials=plan.trials,
                seed=plan.base.seed,
                store=self.store,
                prune=plan.prune,
                ended=ended,
            )
        else:
            arms = run_grid(plan.space, evaluate, store=self.store, ended=ended)
        note = f"{len(arms)} arms, best accuracy {self.best:.3f}"
        self.listen(StepFinished(step=_STEP, seconds=time.perf_counter() - started, note=note))
        return arms

    def _advance(self, count: int) -> None:
        if count > 0:
            self.done += count
            self.listen(StepAdvanced(step=_STEP, count=count))

    def _answer(self, bench: Bench, settings: Mapping[str, Any], *, folder: Path, report: Report) -> ArmAnswer:
        """All trainings of one arm."""
        recipe = self.plan.arm(settings)
        epochs = 0

        def nothing(accuracy: float) -> None: ...

        def on_epoch(accuracy: float) -> None:
            nonlocal epochs
            epochs += 1
            if report(epochs - 1, accuracy):
                raise Hopeless

        found: list[Answered] = []
        for seed in self.plan.seeds:
            for fold in range(len(bench.rounds)):
                # A trial goes by its first training only: the epochs of others cannot be laid beside these. Without
                # checkpoints a trial that was killed tells all its epochs again, and is judged as if it had not been.
                each = bench.answer(
                    recipe,
                    seed=seed,
                    fold=fold,
                    folder=folder,
                    checkpoints=not self.plan.trials,
                    on_epoch=nothing if found else on_epoch,
                )
                found.append(each)
                self._advance(1)
        answers = {
            seed: pooled([each.predictions for each in found if each.training.seed == seed]) for seed in self.plan.seeds
        }
        return ArmAnswer(
            predictions=answers,
            trainings=tuple(each.training for each in found),
            history=history_table(found),
            notes=tuple(dict.fromkeys(note for each in found for note in each.notes)),
        )


def _digest(dataset: Dataset, rounds: Sequence[Round]) -> str:
    records = dataset.catalog.records
    named = [[[records[i].path for i in part] for part in (each.train, each.judged)] for each in rounds]
    return sha256_bytes(to_json(named).encode())


@contextmanager
def _stoppable(path: Path) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the sweep within seconds, and say how to go on."""
    words = shlex.split(command_line())
    go_on = f"budwood.sweep(..., out={str(path)!r}, resume=True)"
    if words[:2] == ["budwood", "sweep"]:
        words = [word for word in words if word != "--resume"]
        given = any(word in ("--out", "-o") or word.startswith("--out=") for word in words)
        go_on = shlex.join([*words, *([] if given else ["--out", str(path)]), "--resume"])
    text = f"{path} keeps every arm that ended. Go on with: {go_on}"
    with stoppable(lambda: print(f"stopped: {text}", file=sys.stderr), exit_code=Interrupted.exit_code) as dealt_with:
        try:
            yield
        except KeyboardInterrupt as error:
            dealt_with()
            raise Interrupted(f"stopped; {text}") from error
