"""Write an own recipe, change one setting in the call, and fine-tune the last blocks of the network.

Run it: python examples/06_own_recipe.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import budwood
from budwood.herbarium import SPECIES

RECIPE = """
name = "last-blocks"
description = "Head first, then the last two blocks"

[model]
backbone = "lite0"
size = 64

[train]
views = 2
ema = 0.9
stages = [{ trains = "head" }, { trains = 2, epochs = 1 }]

[predict]
views = 1
"""


def main() -> None:
    """Fit with the recipe file; an override wins over the file, and the run keeps the result of both."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = budwood.draw_herbarium(folder, num_pictures=45, size=64, species=SPECIES[:3], faults=False).photos
        recipe = folder / "last-blocks.toml"
        recipe.write_text(RECIPE, encoding="utf-8")

        changes = ("train.stages.1.epochs=2", "train.lr=1e-4")
        run = budwood.fit(photos, recipe=str(recipe), out=folder / "run", overrides=changes, threads=1)
        for row in run.history.rows:
            print(f"epoch {row.epoch} of {row.stage}: validation loss {row.val_loss:.3f}")
        kept = run.folder.recipe.read_text(encoding="utf-8")
        print("recipe.toml in the run holds every setting:", len(kept.splitlines()), "lines")


if __name__ == "__main__":
    main()
