"""What a long step tells its listener. Values only: no display, no logging, no inheritance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A step begins; ``total`` units of work are ahead (None: not known)."""

    step: str
    total: int | None = None
    unit: str = "images"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAdvanced:
    """``count`` more units of ``step`` are done."""

    step: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step ended after ``seconds``; ``note`` is one line worth keeping on the screen."""

    step: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A selection score was measured; ``best`` is the best so far of this step (both in 0..1)."""

    step: str
    name: str
    value: float
    best: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something the user should know; it also goes to the run's warnings."""

    text: str


Event = StepStarted | StepAdvanced | StepFinished | Scored | Warned
Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """A listener that drops every event."""
