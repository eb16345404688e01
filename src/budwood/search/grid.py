"""Every combination of a space, one arm after the other; arms that have ended are never run again.

`carry_out` runs one arm and keeps how it ended; `trials.py` uses it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from budwood.errors import BackboneError, DivergedError, OutputError, UsageError
from budwood.search.arms import Arm, ArmAnswer, SweepFolder
from budwood.search.space import Space

Report = Callable[[int, float], bool]


class Evaluate(Protocol):
    """Trains and answers with some settings."""

    def __call__(self, settings: Mapping[str, Any], *, folder: Path, report: Report) -> ArmAnswer:
        """Answer one arm.

        Args:
            settings: a value for each key of the space.
            folder: the arm's own, to be made; what is put there is found again when the arm was killed and is run
                again, and removed when it has ended.
            report: to be told a step (0, 1, ...) and the score so far; when it says True, raise `Hopeless`.
        """


class Hopeless(Exception):
    """Raised by an `Evaluate` that was told to stop."""


def run_grid(
    space: Space,
    evaluate: Evaluate,
    *,
    store: SweepFolder,
    ended: Callable[[Arm], None] = lambda arm: None,
) -> tuple[Arm, ...]:
    """Run every combination that has not ended yet.

    Args:
        store: opened.
        ended: called after each arm, those of an earlier call included.

    Raises:
        SettingsError: the space holds a range. UsageError: not one arm could be trained.
    """
    arms = []
    for number, settings in enumerate(space.arms()):
        arms.append(carry_out(number, settings, evaluate, store=store))
        ended(arms[-1])
    refuse_nothing(arms)
    return tuple(arms)


def carry_out(
    number: int,
    settings: Mapping[str, Any],
    evaluate: Evaluate,
    *,
    store: SweepFolder,
    hopeless: Report = lambda step, score: False,
) -> Arm:
    """Run one arm, or take how it ended before, and keep that.

    An arm that cannot be trained with its settings is one that failed, and the others go on; so does one whose backbone
    could not be had, which is tried again by the next call.
    """
    known = store.load(number)
    if known is not None and known.settings == dict(settings) and known.error != BackboneError.__name__:
        return known
    folder = store.begin(number, settings)
    reports: dict[int, float] = {}

    def report(step: int, score: float) -> bool:
        reports[step] = score
        return hopeless(step, score)

    told: dict[str, Any] = {"number": number, "settings": dict(settings), "reports": reports}
    try:
        arm = Arm(**told, state="finished", answer=evaluate(settings, folder=folder, report=report))
    except Hopeless:
        last = max(reports, default=0)
        reason = f"stopped after step {last + 1}: {reports.get(last, 0.0):.3f} is less than half of the trials had"
        arm = Arm(**told, state="stopped", reason=reason)
    except OutputError:
        raise
    except UsageError as error:
        kind = DivergedError if isinstance(error, DivergedError) else type(error)
        arm = Arm(**told, state="failed", reason=str(error), error=kind.__name__)
    store.end(arm)
    return store.load(number) or arm  # the file's digits: a resumed sweep judges by the same numbers


def refuse_nothing(arms: list[Arm]) -> None:
    """Say why where not one arm has an answer.

    Raises:
        UsageError: none has.
    """
    if not any(arm.answer for arm in arms):
        raise UsageError(f"not one of {len(arms)} arms could be trained; the first says: {arms[0].reason}")
