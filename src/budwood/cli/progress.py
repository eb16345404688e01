"""Events -> one live `rich` display on a terminal, plain lines elsewhere. Both go to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from budwood.events import Event, Listener, Scored, StepAdvanced, StepFinished, StepStarted, Warned

# One plain line at most every so many seconds: a log file must stay readable.
_PLAIN_SECONDS = 10.0
_WORDS = {
    "herbarium": "drawing the herbarium",
    "scan": "reading the pictures",
    "near-duplicates": "looking for near-duplicates",
    "audit": "checking the pictures",
    "pixels": "resizing to the working size",
    "orientation": "have the pictures an up?",
    "features": "frozen features",
    "head": "choosing the head",
    "fine-tune": "fine-tuning",
    "evaluate": "scoring the test part, once",
    "look": "a network looks at the pictures",
    "look at borders": "and at their borders alone",
    "opinion": "its opinion, out of fold",
    "compare": "the model of the pictures as they came",
    "leakage": "what leaking would bring",
    "balance": "ways against imbalance",
    "unpack": "unpacking",
    "table": "reading the table",
    "multiply": "multiplying the training pictures",
    "zero-input baseline": "zero-input baseline",
    "refit": "refitting on all parts",
    "predict": "predicting",
    "sweep": "arms",
    "range test": "steps at rising rates",
    "views": "choosing the views",
    "features of views": "features of the views",
    "ensemble": "joining the members",
    "calibrate": "measuring how sure it may be",
    "explain": "why it answers so",
    "drift": "comparing with the pictures it was judged on",
    "border activations": "activations at the frozen border",
}


@contextmanager
def progress() -> Iterator[Listener]:
    """Yield a listener that shows what it hears."""
    if sys.stderr.isatty():
        with _live() as listen:
            yield listen
    else:
        yield _Plain()


def _name(step: str) -> str:
    return _WORDS.get(step, step)


class _Plain:
    """Lines for logs and pipes: a step's end, and its state every ten seconds."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.started: dict[str, float] = {}
        self.units: dict[str, str] = {}
        self.last = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Print a line when there is something to say."""
        if isinstance(event, StepStarted):
            self.totals[event.step], self.done[event.step] = event.total or 0, 0
            self.units[event.step], self.started[event.step] = event.unit, time.monotonic()
        elif isinstance(event, StepAdvanced):
            self._advance(event)
        elif isinstance(event, StepFinished):
            note = f" · {event.note}" if event.note else ""
            self._print(f"{_name(event.step)}: done in {event.seconds:.1f} s{note}")
        elif isinstance(event, Scored):
            self._print(f"{_name(event.step)}: {event.name} {event.value:.4f}, best {event.best:.4f}")
        elif isinstance(event, Warned):
            self._print(f"warning: {event.text}")

    def _advance(self, event: StepAdvanced) -> None:
        done = self.done[event.step] = self.done.get(event.step, 0) + event.count
        total, now = self.totals.get(event.step, 0), time.monotonic()
        if now - self.last < _PLAIN_SECONDS or not total:
            return
        rate = done / max(1e-9, now - self.started[event.step])
        unit = self.units.get(event.step, "images")
        # an advance of nothing tells of work at the step's start: how long the rest takes is not known yet
        pace = f", {rate:.0f} {unit}/s, {(total - done) / rate:.0f} s left" if done else ""
        self._print(f"{_name(event.step)}: {done} of {total} {unit}{pace}")

    def _print(self, text: str) -> None:
        self.last = time.monotonic()
        print(text, file=sys.stderr, flush=True)


@contextmanager
def _live() -> Iterator[Listener]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("[green]{task.fields[score]}"),
        console=console,
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def listen(event: Event) -> None:
        if isinstance(event, StepStarted):
            tasks[event.step] = bars.add_task(_name(event.step), total=event.total, rate="", score="")
        elif isinstance(event, StepAdvanced) and event.step in tasks:
            task = tasks[event.step]
            bars.advance(task, event.count)
            speed = next((t.finished_speed or t.speed for t in bars.tasks if t.id == task), None)
            if speed:
                bars.update(task, rate=f"{speed:.0f}/s")
        elif isinstance(event, Scored) and event.step in tasks:
            bars.update(tasks[event.step], score=f"{event.name} {event.value:.3f}, best {event.best:.3f}")
        elif isinstance(event, StepFinished):
            if event.step in tasks:
                bars.remove_task(tasks.pop(event.step))
            note = f"[dim] · {escape(event.note)}" if event.note else ""
            bars.console.print(f"[green]✓[/] {_name(event.step)} [dim]{event.seconds:.1f} s[/]{note}", highlight=False)
        elif isinstance(event, Warned):
            bars.console.print(f"[yellow]![/] {escape(event.text)}", highlight=False)

    with bars:
        yield listen
