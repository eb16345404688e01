"""Compare two settings of a recipe on the same folds, and see whether either is better.

Run it: python examples/07_sweep.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import budwood
from budwood.herbarium import SPECIES


def main() -> None:
    """Draw a few pictures, try each setting on three folds, print how they stand."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = budwood.draw_herbarium(folder, num_pictures=60, size=64, species=SPECIES[:3]).photos

        # Settings that are the same for both arms go into overrides; predict.views=1 makes this quick.
        found = budwood.sweep(
            photos,
            recipe="probe",
            over=["model.size=32,64"],
            folds=3,
            overrides=["predict.views=1", "train.views=2"],
            out=folder / "sweep",
            threads=1,
        )
        for arm, standing in found.ranked:
            assert standing is not None  # an arm that could not be trained has none
            interval = standing.accuracy.interval
            print(f"{arm.settings}: {standing.accuracy.value:.3f} ({interval.low:.3f} to {interval.high:.3f})")
        print(found.judgement.lead)
        print(f"on other pictures expect {found.judgement.corrected.value:.3f} of the winner")
        print(f"then: {found.fit_command}")


if __name__ == "__main__":
    main()
