"""Fit a classifier on a folder of class folders and look at what the run left behind.

Run it: python examples/01_fit.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import budwood
from budwood.herbarium import SPECIES


def main() -> None:
    """Draw a few pictures, fit the quick recipe, print the scores."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = budwood.draw_herbarium(folder, num_pictures=60, size=64, species=SPECIES[:3]).photos

        # Three settings are cut down so that this runs in seconds; leave them out for your own pictures.
        quick = ("model.size=64", "train.views=2", "predict.views=1")
        run = budwood.fit(photos, recipe="probe", out=folder / "run", overrides=quick, threads=1)

        test = run.metrics["test"]
        interval = test["accuracy"]["interval"]
        print(f"test accuracy {test['accuracy']['value']:.3f} on {test['num_pictures']} pictures")
        print(f"95 % interval {interval['low']:.3f} to {interval['high']:.3f}: wide, since the pictures are few")
        for baseline in run.metrics["baselines"]:
            print(f"{baseline['name']}: {baseline['accuracy']:.3f}")
        print("the run holds:", ", ".join(sorted(entry.name for entry in run.path.iterdir())))


if __name__ == "__main__":
    main()
