"""Make a split in which near-duplicates stay together, and see a leaking split refused.

Run it: python examples/04_split.py
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import budwood
from budwood.errors import LeakError
from budwood.herbarium import SPECIES


def main() -> None:
    """Split a herbarium, then move one of two near-duplicates into the test part."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = budwood.draw_herbarium(folder, num_pictures=96, size=96, species=SPECIES[:4]).photos
        store = budwood.PictureStore(folder / "store", side=320)
        scanned = budwood.scan(photos, store=store)
        groups = budwood.audit(scanned, store).groups

        catalog = scanned.usable()  # unreadable files are in no part
        spec = budwood.SplitSpec(val=0.15, test=0.2)
        made = budwood.split(catalog, groups=groups, spec=spec, seed=0)
        print({part: len(rows) for part, rows in made.parts.items()})
        budwood.check_split(made, catalog, groups)  # says nothing: no leak

        in_train = {catalog.records[i].path: i for i in made.parts["train"]}
        moved = next(in_train[path] for group in made.groups for path in group if path in in_train)
        parts = {
            **made.parts,
            "train": tuple(i for i in made.parts["train"] if i != moved),
            "test": tuple(sorted((*made.parts["test"], moved))),
        }
        try:
            budwood.check_split(replace(made, parts=parts), catalog, groups)
        except LeakError as error:
            print(f"refused: {error}")


if __name__ == "__main__":
    main()
