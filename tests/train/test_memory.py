"""Memory of training does not grow with the number of pictures: they stay in their mapped file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SIDE = 64
LARGEST = 20  # MiB; 2,000 pictures take 23 MiB as pixels and four times as much as a network's input
# Tells how much memory of its own the process holds at most, in MiB, in an epoch over few and then over many pictures.
# Some 200 bytes a picture are there in any case: its path, its label, its place in the order.
TRAIN = """
import json, sys
from pathlib import Path
import numpy as np, torch
from budwood.augment.transforms import Augment, AugmentSpec
from budwood.data.loader import PixelSet
from budwood.data.preprocess import Preprocess
from budwood.models.build import ModelSpec, attach_head, open_backbone
from budwood.train.balanced_steps import Balancing
from budwood.train.device import Device
from budwood.train.feed import PixelFeed
from budwood.train.loop import fine_tune
from budwood.train.stage_input import StageInput
from budwood.train.stages import Stage, TrainSpec

def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024

peak = 0.0
def watch():
    global peak
    peak = max(peak, own())

class Watched(PixelFeed):
    def drawn(self, positions, repeats, epoch):
        watch()
        return super().drawn(positions, repeats, epoch)
    def plain(self, positions):
        watch()
        return super().plain(positions)

def train(file, number):
    pixels = np.memmap(file, np.uint8, "r", shape=(number, side, side, 3))
    paths = tuple(f"{i}.png" for i in range(number))
    part = PixelSet(pixels=pixels, targets=np.arange(number) % 3, paths=paths, rows=np.arange(number))
    feed = Watched(part=part, transform=Augment(calm, preprocess, seed=0), preprocess=preprocess)
    stage = Stage(trains="all", epochs=1)
    data = StageInput(
        train=feed, val=feed, augment=calm, spec=TrainSpec(stages=(stage,), batch_size=32, workers=2), stage=stage,
        device=Device(accelerator="cpu"), seed=0, balancing=Balancing(num_classes=3),
    )
    fine_tune(attach_head(open_backbone(spec), num_classes=3, spec=spec), data)

torch.set_num_threads(1)
file, side, numbers = sys.argv[1], int(sys.argv[2]), [int(n) for n in sys.argv[3:]]
preprocess, spec = Preprocess(size=side), ModelSpec(backbone="softmax", size=side)
calm = AugmentSpec(rotation=0, flip="none", scale=(1, 1), shift=0, brightness=0, contrast=0, saturation=0, cutmix=0)
peaks = []
for number in numbers:
    train(file, number)
    peaks.append(peak)
print(json.dumps(peaks))
"""


def check(folder: Path, *, few: int, many: int) -> None:
    file = folder / "pixels"
    file.write_bytes(np.random.default_rng(0).integers(0, 256, many * SIDE * SIDE * 3, dtype=np.uint8).tobytes())
    command = [sys.executable, "-c", TRAIN, str(file), str(SIDE), str(few), str(many)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=280)
    small, large = json.loads(done.stdout.splitlines()[-1])
    assert large - small < LARGEST, f"{few} pictures take {small:.0f} MiB, {many} take {large:.0f} MiB"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's own memory apart from mapped files")
def test_an_epoch_over_ten_times_the_pictures_needs_no_more_memory(tmp_path: Path) -> None:
    check(tmp_path, few=500, many=2_500)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's own memory apart from mapped files")
def test_an_epoch_over_a_hundred_thousand_pictures_needs_no_more_memory(tmp_path: Path) -> None:
    check(tmp_path, few=10_000, many=100_000)
