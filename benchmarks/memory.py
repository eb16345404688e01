"""Memory of one training epoch over many pictures: does it grow with their number?

Synthetic pictures are written to a mapped file as `data/pixels.py` leaves one, and one epoch of a small network is
trained on them as a run does it, with a twentieth as many for validation. Each number of pictures has a process of its
own. Reading a folder, the audit and the features of a solved head are not in it.

    python benchmarks/memory.py [--pictures 2000,100000] [--side 64] [--backbone test_efficientnet] [--workers 0]

Prints of each the peak of what the process held (with the pages of the mapped file that happened to be in memory, which
the kernel takes back when it needs them) and the peak of its own memory alone (sampled; Linux), in MB of 10^6 bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

_CHUNK = 1000


def main() -> None:
    """Each number of pictures in turn."""
    options = read_options()
    if options.file:
        print(json.dumps(trained(options)))
        return
    for number in map(int, options.pictures.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pixels"
            write_pixels(file, number, side=options.side)
            flags = ["--pictures", str(number), "--side", str(options.side), "--workers", str(options.workers)]
            command = [sys.executable, __file__, *flags, "--backbone", options.backbone, "--file", str(file)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        print(
            f"{number} pictures of {options.side} px: peak {found['peak']:.0f} MB, without the mapped file"
            f" {found['own']:.0f} MB; {found['seconds']:.0f} s; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", default="2000,100000")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--backbone", default="test_efficientnet", help="with random weights")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_pixels(file: Path, number: int, *, side: int) -> None:
    """Noise, in pieces, so that nothing large is ever held."""
    import numpy as np

    generator = np.random.default_rng(0)
    with file.open("wb") as out:
        for at in range(0, number, _CHUNK):
            out.write(generator.integers(0, 256, (min(_CHUNK, number - at), side, side, 3), np.uint8).tobytes())


def trained(options: argparse.Namespace) -> dict[str, float]:
    """One epoch in this process, and what it took."""
    from budwood import machine

    machine.tune_allocator()
    import torch

    torch.set_num_threads(1)
    from budwood.train.loop import fine_tune

    model, data = setting(options)
    own = Sampler()
    started = time.perf_counter()
    with own:
        fine_tune(model, data)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"peak": used / 1e6, "own": own.peak / 1e6, "seconds": time.perf_counter() - started}


def setting(options: argparse.Namespace) -> tuple[Any, Any]:
    """The model and its stage."""
    import numpy as np

    from budwood.augment.transforms import Augment, AugmentSpec
    from budwood.data.loader import PixelSet
    from budwood.models.build import ModelSpec, attach_head, choose_preprocess, open_backbone
    from budwood.train.balanced_steps import Balancing
    from budwood.train.device import Device
    from budwood.train.feed import PixelFeed
    from budwood.train.stage_input import StageInput
    from budwood.train.stages import Stage, TrainSpec

    number = int(options.pictures)
    pixels: Any = np.memmap(options.file, np.uint8, "r", shape=(number, options.side, options.side, 3))
    targets, paths = np.arange(number) % 10, tuple(f"class {i % 10}/picture {i}.png" for i in range(number))
    spec = ModelSpec(backbone=options.backbone, size=options.side, pretrained=False)
    backbone = open_backbone(spec)
    preprocess = choose_preprocess(spec, backbone.preprocess, shorter_side=options.side)
    augment = AugmentSpec(rotation=180, flip="both")
    transform = Augment(augment, preprocess, seed=0)
    rows = np.array_split(np.arange(number), [number - number // 20])
    train, val = (
        PixelFeed(
            part=PixelSet(pixels=pixels, targets=targets, paths=paths, rows=part),
            transform=transform,
            preprocess=preprocess,
        )
        for part in rows
    )
    stage = Stage(trains="all", epochs=1)
    data = StageInput(
        train=train,
        val=val,
        augment=augment,
        spec=TrainSpec(stages=(stage,), workers=options.workers),
        stage=stage,
        device=Device(accelerator="cpu"),
        seed=0,
        balancing=Balancing(num_classes=10),
    )
    return attach_head(backbone, num_classes=10, spec=spec), data


class Sampler:
    """The peak of the memory that belongs to this process alone, looked at ten times a second."""

    def __init__(self) -> None:
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.peak = max(self.peak, anonymous_bytes())


def anonymous_bytes() -> int:
    """Memory of this process that no file stands behind; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


if __name__ == "__main__":
    main()
