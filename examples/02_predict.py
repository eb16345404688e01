"""Load a bundle and name pictures with it; a file that is no picture is listed, not fatal.

Run it: python examples/02_predict.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import budwood
from budwood.herbarium import SPECIES


def main() -> None:
    """Fit a tiny model, then ask its bundle about three files, one of them damaged."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = budwood.draw_herbarium(folder, num_pictures=36, size=48, species=SPECIES[:3], faults=False).photos
        # tiny: an untrained network, so the answers below mean nothing; drop it for real work.
        run = budwood.fit(photos, out=folder / "run", tiny=True, threads=1)

        damaged = folder / "damaged.jpg"
        damaged.write_bytes(b"not a picture")
        files = [*sorted(photos.rglob("*.jpg"))[:2], damaged]

        bundle = budwood.load(run.bundle)  # every file's sha256 is checked here
        answers, unreadable = bundle.predict_files(files)
        for path, best, probs in zip(answers.paths, answers.predicted, answers.probs, strict=True):
            print(f"{Path(path).name}: {answers.classes[best]} ({probs[best]:.2f})")
        for failed in unreadable:
            print(f"{Path(failed.path).name} could not be read: {failed.reason}")


if __name__ == "__main__":
    main()
