"""Trials that Optuna chooses: TPE over a space, hopeless ones ended early, a journal that survives a kill.

What a trial is asked follows from the seed and the trials that ended before it, and from nothing else: a sweep that was
killed and resumed asks the same as one that was not. Optuna's journal lies in the sweep's folder and can be opened with
its own tools; what an arm answered is in the arm's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from budwood.errors import IntegrityError, UsageError
from budwood.search.arms import Arm, SweepFolder
from budwood.search.grid import Evaluate, carry_out, refuse_nothing
from budwood.search.space import Axis, Range, Space, toml_text
from budwood.seeding import named_generator

if TYPE_CHECKING:
    import optuna

_STUDY = "sweep"
# The first trials are drawn at random, and none is ended early before so many have ended.
_RANDOM_TRIALS, _TRIALS_BEFORE_PRUNING, _EPOCHS_BEFORE_PRUNING = 8, 5, 1


def check_optuna() -> None:
    """Refuse trials where Optuna is not installed.

    Raises:
        UsageError: says how to install it.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UsageError("--trials needs Optuna, which is not installed: pip install 'budwood[sweep]'") from error


def run_trials(
    space: Space,
    evaluate: Evaluate,
    *,
    trials: int,
    seed: int,
    store: SweepFolder,
    prune: bool = True,
    ended: Callable[[Arm], None] = lambda arm: None,
) -> tuple[Arm, ...]:
    """Run trials until ``trials`` have ended, those of an earlier call included.

    Args:
        seed: another seed asks other trials.
        store: opened; its journal is made or gone on with.
        prune: end a trial after an epoch of its first training when its score is below the median of the trials that
            ended, at the same epoch.
        ended: called after each trial, those of an earlier call included.

    Raises:
        UsageError: Optuna is missing, or not one trial could be trained.
    """
    check_optuna()
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(store, prune=prune)
    arms: list[Arm] = []
    for old in study.get_trials(deepcopy=False):
        if old.state == TrialState.RUNNING:  # its process was killed
            study.tell(old.number, state=TrialState.FAIL)
        elif old.state in (TrialState.COMPLETE, TrialState.PRUNED):
            arms.append(_ended_before(store, len(arms)))
            ended(arms[-1])
    while len(arms) < trials:
        number = len(arms)
        study.sampler = optuna.samplers.TPESampler(
            seed=int(named_generator(seed, f"trial {number}").integers(2**31)), n_startup_trials=_RANDOM_TRIALS
        )
        trial = study.ask()
        settings = {axis.key: _suggest(trial, axis) for axis in space.axes}
        told: set[int] = set()
        arms.append(carry_out(number, settings, evaluate, store=store, hopeless=_reporter(trial, told)))
        _tell(study, trial, arms[-1], told)
        ended(arms[-1])
    refuse_nothing(arms)
    return tuple(arms)


def _study(store: SweepFolder, *, prune: bool) -> optuna.Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    # We hold the whole folder, so that a lock on the journal is one of a killed process: Optuna would wait 30 s for it.
    for left in store.path.glob(f"{store.journal.name}.lock*"):
        left.unlink()
    name = str(store.journal)
    median = optuna.pruners.MedianPruner(n_startup_trials=_TRIALS_BEFORE_PRUNING, n_warmup_steps=_EPOCHS_BEFORE_PRUNING)
    return optuna.create_study(
        study_name=_STUDY,
        storage=JournalStorage(JournalFileBackend(name, lock_obj=JournalFileOpenLock(name))),
        direction="maximize",
        pruner=median if prune else optuna.pruners.NopPruner(),
        load_if_exists=True,
    )


def _ended_before(store: SweepFolder, number: int) -> Arm:
    arm = store.load(number)
    if arm is None:
        raise IntegrityError(
            f"{store.journal} knows more trials than {store.arms_folder} holds: {store.arm_folder(number)} is missing;"
            " choose another --out"
        )
    return arm


def _suggest(trial: optuna.Trial, axis: Axis) -> Any:
    if isinstance(axis, Range):
        if axis.whole:
            return trial.suggest_int(axis.key, int(axis.low), int(axis.high), log=axis.log)
        return trial.suggest_float(axis.key, axis.low, axis.high, log=axis.log)
    texts = {toml_text(value): value for value in axis.values}
    return texts[trial.suggest_categorical(axis.key, list(texts))]


def _reporter(trial: optuna.Trial, told: set[int]) -> Callable[[int, float], bool]:
    def hopeless(step: int, score: float) -> bool:
        trial.report(score, step)
        told.add(step)
        return trial.should_prune()

    return hopeless


def _tell(study: optuna.Study, trial: optuna.Trial, arm: Arm, told: set[int]) -> None:
    """Optuna counts a trial without an answer as worse than all that have one."""
    from optuna.trial import TrialState

    for step, score in arm.reports.items():
        if step not in told:  # the arm ended in an earlier process, which was killed before it could say so here
            trial.report(score, step)
    if arm.answer is None:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, arm.answer.score)
