"""Cross-validation is nested: each fold trains and chooses on pictures that its test part does not hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from budwood.data.loader import PixelSet
from budwood.evaluation.predictions import Predictions
from budwood.systems import fit
from budwood.trained import Trained
from budwood.training import Trainer


def test_each_fold_trains_and_chooses_without_its_test_pictures(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[set[str]] = []
    train = Trainer.train

    def recorded(self: Trainer, part: PixelSet, val: PixelSet, *, name: str = "fit") -> Trained:
        seen.append({part.paths[int(i)] for i in np.concatenate([part.rows, val.rows])})
        return train(self, part, val, name=name)

    monkeypatch.setattr(Trainer, "train", recorded)
    run = fit(photos, recipe="probe", folds=3, tiny=True, threads=1, out=tmp_path / "run")
    pooled = Predictions.load(run.folder.predictions("cross-validation"))
    assert len(seen) == 3
    # what a fold did not see is what it is tested on, and every picture is tested once
    tested = [set(pooled.paths) - own for own in seen]
    assert sum(map(len, tested)) == len(pooled.paths) == len(set().union(*tested))
