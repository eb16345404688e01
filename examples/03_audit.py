"""Audit a folder: unreadable files, duplicates, odd sizes, light and class counts, before any training.

Run it: python examples/03_audit.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import budwood
from budwood.herbarium import SPECIES


def main() -> None:
    """Audit a herbarium with planted faults and compare the findings with the truth."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        drawn = budwood.draw_herbarium(folder, num_pictures=96, size=96, species=SPECIES[:4])

        # The store keeps each decoded picture, so that the audit does not read the files again.
        store = budwood.PictureStore(folder / "store", side=320)
        catalog = budwood.scan(drawn.photos, store=store)
        result = budwood.audit(catalog, store)

        for finding in result.findings:
            print(f"{finding.severity:8} {finding.check:15} {', '.join(finding.paths)}: {finding.evidence}")
        print(f"{len(result.groups)} groups of pictures belong together; a split keeps each in one part")

        planted = json.loads(drawn.truth.read_text(encoding="utf-8"))
        print("truth.json says what was planted:", ", ".join(sorted(planted)))


if __name__ == "__main__":
    main()
