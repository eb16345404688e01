"""Score a finished bundle on other pictures, with intervals and per class.

Run it: python examples/05_evaluate.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import budwood
from budwood.herbarium import SPECIES
from budwood.judge import evaluate


def main() -> None:
    """Fit on one herbarium and score on another one, drawn from another seed."""
    with tempfile.TemporaryDirectory() as temporary:
        here, elsewhere = Path(temporary, "here"), Path(temporary, "elsewhere")
        drawn = budwood.draw_herbarium(here, seed=1, num_pictures=45, size=64, species=SPECIES[:3], faults=False)
        others = budwood.draw_herbarium(elsewhere, seed=2, num_pictures=24, size=64, species=SPECIES[:3], faults=False)

        quick = ("model.size=64", "train.views=2", "predict.views=1")
        run = budwood.fit(drawn.photos, recipe="probe", out=Path(temporary, "run"), overrides=quick, threads=1)

        # Classes are matched by the folders' names; a class that the bundle does not know is an error.
        metrics, predictions = evaluate(run.bundle, others.photos)
        low, high = metrics.accuracy.interval.low, metrics.accuracy.interval.high
        print(f"accuracy {metrics.accuracy.value:.3f} ({low:.3f} to {high:.3f}) on {len(predictions)} other pictures")
        for row in metrics.per_class:
            f1 = row.f1
            print(f"{row.name}: F1 {f1.value:.3f} ({f1.interval.low:.3f} to {f1.interval.high:.3f})")


if __name__ == "__main__":
    main()
