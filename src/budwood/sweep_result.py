"""`SweepResult`: the arms of a sweep, judged; its results and its page are written here. Nothing is trained."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from budwood import machine
from budwood.evaluation.rivals import Contestant, Judgement, Standing, judge
from budwood.files import write_json, write_text
from budwood.opening import command_line
from budwood.report.sweep_page import ArmRow, SweepView, render_sweep
from budwood.search.arms import Arm, ArmAnswer, SweepFolder
from budwood.sweep_plan import SweepPlan


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """A finished sweep. ``judgement.standings`` are of the arms that have an answer, in the order of ``arms``.

    shown: each arm's settings in words. fit_command: trains the winner, and scores it on the test part once.
    """

    path: Path
    arms: tuple[Arm, ...]
    judgement: Judgement
    shown: tuple[dict[str, str], ...]
    report: Path
    fit_command: str

    @property
    def winner(self) -> dict[str, Any]:
        """The settings that came first."""
        return self.ranked[0][0].settings

    @property
    def ranked(self) -> tuple[tuple[Arm, Standing | None], ...]:
        """The arms from the best to the worst, each with how it stands; then those without an answer."""
        answered = [arm for arm in self.arms if arm.answer]
        best: list[tuple[Arm, Standing | None]] = [
            (answered[i], self.judgement.standings[i]) for i in self.judgement.order
        ]
        return (*best, *((arm, None) for arm in self.arms if not arm.answer))


def judged(arms: Sequence[Arm], plan: SweepPlan, *, store: SweepFolder, photos: Path) -> SweepResult:
    """Judge the arms that have an answer, and write results and page into the sweep's folder."""
    answered = [(arm, arm.answer) for arm in arms if arm.answer]
    judgement = judge(
        [_contestant(plan.name(arm.settings), answer) for arm, answer in answered],
        seed=plan.base.seed,
    )
    result = SweepResult(
        path=store.path,
        arms=tuple(arms),
        judgement=judgement,
        shown=tuple(plan.shown(arm.settings) for arm in arms),
        report=store.report,
        fit_command=_fit_command(plan, answered[judgement.winner][0], store=store, photos=photos),
    )
    view = SweepView(
        title=plan.base.name,
        photos=photos.name,
        keys=plan.space.keys,
        rows=tuple(_row(plan, arm, standing) for arm, standing in result.ranked),
        judgement=judgement,
        logarithmic=plan.logarithmic,
        borders=plan.borders,
        command=command_line(),
        fit_command=result.fit_command,
        when=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        version=machine.versions()["budwood"],
    )
    write_json(store.results, view.to_dict())
    write_text(store.report, render_sweep(view))
    return result


def _fit_command(plan: SweepPlan, winner: Arm, *, store: SweepFolder, photos: Path) -> str:
    sets = [word for text in plan.as_overrides(winner.settings) for word in ("--set", text)]
    words = ["budwood", "fit", str(photos), "--recipe", str(store.recipe), *sets]
    return shlex.join([*words, "--split", str(store.split), *(["--tiny"] if plan.tiny else [])])


def _contestant(name: str, answer: ArmAnswer) -> Contestant:
    seeds = answer.predictions
    folds = {seed: tuple(t.accuracy for t in answer.trainings if t.seed == seed) for seed in seeds}
    return Contestant(name=name, answers=seeds, fold_accuracies=folds)


def _row(plan: SweepPlan, arm: Arm, standing: Standing | None) -> ArmRow:
    trainings = arm.answer.trainings if arm.answer else ()
    return ArmRow(
        number=arm.number,
        name=plan.name(arm.settings),
        settings=arm.settings,
        shown=plan.shown(arm.settings),
        state=arm.state,
        reason=arm.reason,
        seconds=arm.seconds,
        trainings=len(trainings),
        standing=standing,
        notes=arm.answer.notes if arm.answer else (),
    )
