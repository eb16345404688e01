"""What a run that is under way writes down about itself: finished steps, warnings, and its look at the test part.

How a look is counted is `test_lock.py`'s matter, how a run's folder is taken and ended `opening.py`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from budwood.data.records import Catalog
from budwood.data.split_nouns import Split
from budwood.errors import OutputError
from budwood.evaluation.metrics import Metrics
from budwood.events import Event, Listener, StepFinished, Warned
from budwood.opening import Journal
from budwood.runs import RunDir, StepTime
from budwood.test_lock import Looking, Looks, count_look


def noted(run: RunDir, journal: Journal, listen: Listener) -> Listener:
    """A listener that notes finished steps and warnings in the run's folder, then passes every event on."""

    def hear(event: Event) -> None:
        if isinstance(event, StepFinished):
            journal.finished(StepTime(name=event.step, seconds=round(event.seconds, 3), note=event.note))
        elif isinstance(event, Warned):
            run.warn(event.text)
        listen(event)

    return hear


def counted_look(photos: Path, split: Split, catalog: Catalog, *, looking: Looking, listen: Listener) -> Looks | None:
    """Count a look at the test part, before it is taken; None where it cannot be counted, which is told.

    Hours of training must not be lost to a folder that cannot be written.

    Raises:
        IntegrityError: the count was changed.
    """
    try:
        return count_look(photos, split, catalog, looking=looking)
    except OutputError as error:
        listen(Warned(text=f"this look at the test part is not counted: {error}"))
        return None


def looked(looks: Looks | None, metrics: Metrics) -> dict[str, Any]:
    """What metrics.json says of the looks at the test part."""
    if looks is None:
        return {}
    words = looks.words(pictures=metrics.num_pictures, accuracy=metrics.accuracy.value)
    return {"test_looks": looks.number, "looks": words}
