"""Augmenting decoded pictures: Budwood against a batched affine grid in torch and torchvision's v2 transforms.

All sides do the same kinds of things at the same strengths (any rotation, both flips, scale .8-1.15, shift .1,
brightness, contrast, saturation .2, the network's mean and deviation) to the same pixels, one draw per picture, on one
thread. torchvision has no reflection in its affine transform and fills with black, which spares it work. The batched
grid is what Budwood itself did before.

    python benchmarks/augment.py PHOTOS [--size 224] [--pictures 256] [--repeats 7]

Sides take turns. Prints pictures a second of processor time of each (median, smallest, largest), and the ratios of each
round: a busy machine slows all sides alike.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from budwood import machine

_TUNED = machine.tune_allocator()  # before torch, as `budwood fit` does; for all sides alike

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch.nn import functional  # noqa: E402
from torchvision.transforms import InterpolationMode, v2  # noqa: E402

from budwood.augment.opencv import cv2  # noqa: E402
from budwood.augment.transforms import Augment, AugmentSpec  # noqa: E402
from budwood.data.preprocess import Preprocess  # noqa: E402
from budwood.seeding import picture_generator  # noqa: E402

BATCH = 32
# Everything but what `auto` decides is Budwood's default.
SPEC = AugmentSpec(rotation=180, flip="both", cutmix=0)


def main() -> None:
    """Time the sides in turn and print what they took."""
    options = read_options()
    torch.set_num_threads(1)
    preprocess = Preprocess(size=options.size)
    pixels = load_pixels(options, preprocess)
    sides = make_sides(preprocess)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-1, options.repeats):
        for name, side in sides.items():
            start = time.process_time()
            for at in range(0, len(pixels), BATCH):
                side(pixels[at : at + BATCH], range(at, at + len(pixels[at : at + BATCH])), number + 1)
            if number >= 0:  # the round before the first only warms up
                rates[name].append(len(pixels) / (time.process_time() - start))
    report(options, rates)


def report(options: argparse.Namespace, rates: dict[str, list[float]]) -> None:
    """Rates of each side, and how many times as fast the first one was in each round."""
    print(
        f"{options.pictures} pictures of {options.size} px, batches of {BATCH}, one thread, {options.repeats} rounds, "
        f"load {os.getloadavg()[0]:.1f}, allocator {'tuned' if _TUNED else 'as it is'}, OpenCV {cv2.__version__}"
    )
    first = next(iter(rates))
    for name, found in rates.items():
        ratios = sorted(ours / theirs for ours, theirs in zip(rates[first], found, strict=True))
        line = f"{name:32} {statistics.median(found):6.0f} per CPU second ({min(found):.0f}-{max(found):.0f})"
        if name != first:
            line += f"; {first} {statistics.median(ratios):.1f}x as fast ({ratios[0]:.1f}-{ratios[-1]:.1f})"
        print(line)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


def load_pixels(options: argparse.Namespace, preprocess: Preprocess) -> Any:
    """The first pictures of the folder at the network's size, ``[N, S, S, 3]`` uint8."""
    from budwood.data.decode import decode_file
    from budwood.data.scan import scan
    from budwood.files import unescape_name

    catalog = scan(options.photos).usable()
    records = catalog.records[:: max(1, len(catalog.records) // options.pictures)][: options.pictures]
    return np.stack([preprocess.pixels(decode_file(catalog.root / unescape_name(one.path)).image) for one in records])


def make_sides(preprocess: Preprocess) -> dict[str, Callable[[Any, range, int], Any]]:
    """Each way, as a function of (pixels, record keys, epoch)."""
    tensors, pictures = torchvision_steps(preprocess), torchvision_steps(preprocess)

    def by_tensors(pixels: Any, records: range, epoch: int) -> Any:
        channels_first = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return torch.stack([tensors(picture) for picture in channels_first])

    def by_pillow(pixels: Any, records: range, epoch: int) -> Any:
        return torch.stack([pictures(Image.fromarray(picture)) for picture in pixels])

    return {
        "Budwood": Augment(SPEC, preprocess, seed=0),
        "affine grid, whole batches": lambda *batch: affine_grid(preprocess, *batch),
        "torchvision v2, tensors": by_tensors,
        "torchvision v2, Pillow": by_pillow,
    }


def torchvision_steps(preprocess: Preprocess) -> Any:
    """The same kinds of changes as v2 transforms."""
    spec = SPEC
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomAffine(
                180, translate=(spec.shift, spec.shift), scale=spec.scale, interpolation=InterpolationMode.BILINEAR
            ),
            v2.ColorJitter(spec.brightness, spec.contrast, spec.saturation),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(preprocess.mean, preprocess.std),
        ]
    )


def affine_grid(preprocess: Preprocess, pixels: Any, records: range, epoch: int) -> Any:
    """One matrix per picture, then the whole batch at once in torch."""
    drawn = np.stack([picture_generator(0, epoch, record).random(9) for record in records])
    angle = np.pi * (2 * drawn[:, 0] - 1)
    low, high = SPEC.scale
    window = np.exp(-math.log(low) - drawn[:, 1] * math.log(high / low))
    mirror, upside = np.sign(drawn[:, 2:4] - 0.5).T
    cos, sin = np.cos(angle) * window, np.sin(angle) * window
    shift = 2 * SPEC.shift * (2 * drawn[:, 4:6] - 1)
    matrices = np.stack(
        [
            np.stack([cos * mirror, -sin * upside, shift[:, 0]], 1),
            np.stack([sin * mirror, cos * upside, shift[:, 1]], 1),
        ],
        axis=1,
    )
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)
    grid = functional.affine_grid(torch.from_numpy(matrices).float(), list(images.shape), align_corners=False)
    images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    limits = np.array([SPEC.brightness, SPEC.contrast, SPEC.saturation])
    brightness, contrast, saturation = (
        torch.from_numpy(1 + limits * (2 * drawn[:, 6:] - 1)).float().T.view(3, -1, 1, 1, 1)
    )
    images = images * brightness
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    images = grey + (images - grey) * saturation
    middle = grey.mean((2, 3), keepdim=True)
    return preprocess.standardise(((images - middle) * contrast + middle).clamp_(0, 1))


if __name__ == "__main__":
    main()
