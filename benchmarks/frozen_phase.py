"""Training a head on a frozen network: cached features against the usual loop that runs the network every epoch.

Both sides in one run, same backbone, same pixels, same size, same split; each side in a process of its own, in turn, as
often as asked. The usual loop is what notebooks do: augment each batch (random flips), run the frozen network under
``no_grad``, train the linear head with AdamW, every epoch anew, default allocator, float32. Budwood's side computes the
features of four flips once (nothing cached from before) and solves the head. Decoding is on neither clock.

    python benchmarks/frozen_phase.py PHOTOS [--size 128] [--epochs 25] [--repeats 3] [--threads 1]

Prints seconds of each side, the ratio pair by pair, and both accuracies on the held-out fifth with their intervals.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIDES = ("usual", "budwood")
VIEWS = (0, 4, 2, 6)  # the four flips: none, left-right, both, upside-down


def main() -> None:
    """Run both sides in turn and print what they took."""
    options = read_options()
    if options.side:
        run_side(options)
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.repeats):
            pair = {}
            for side in SIDES:
                out = Path(folder) / f"{side}{number}.json"
                subprocess.run([*child_command(options), "--side", side, "--out", str(out)], check=True)
                pair[side] = json.loads(out.read_text())
            rows.append(pair)
            print(line(number + 1, pair), flush=True)
    ratios = sorted(row["usual"]["seconds"] / row["budwood"]["seconds"] for row in rows)
    print(f"\nload {os.getloadavg()[0]:.1f}, {options.threads} threads, {rows[0]['budwood']['pictures']} pictures")
    print(f"speed-up {statistics.median(ratios):.1f}x (smallest {ratios[0]:.1f}, largest {ratios[-1]:.1f})")
    gaps = [100 * (row["budwood"]["accuracy"] - row["usual"]["accuracy"]) for row in rows]
    print(f"accuracy, Budwood minus usual loop: {statistics.median(gaps):+.2f} points")


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", default="lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="the same for both sides")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def child_command(options: argparse.Namespace) -> list[str]:
    """This script again, for one side."""
    named = ("backbone", "size", "epochs", "threads")
    flags = [text for name in named for text in (f"--{name}", str(getattr(options, name)))]
    return [sys.executable, __file__, str(options.photos), *flags]


def line(number: int, pair: dict[str, Any]) -> str:
    """One pair in words."""
    usual, ours = pair["usual"], pair["budwood"]
    return (
        f"{number}: usual loop {usual['seconds']:.1f} s, {usual['accuracy']:.4f} {interval(usual)}; "
        f"Budwood {ours['seconds']:.1f} s, {ours['accuracy']:.4f} {interval(ours)}; "
        f"{usual['seconds'] / ours['seconds']:.1f}x"
    )


def interval(side: dict[str, Any]) -> str:
    """Wilson's 95 % interval of a side's accuracy."""
    from budwood.evaluation.intervals import wilson

    found = wilson(round(side["accuracy"] * side["tested"]), side["tested"])
    return f"({found.low:.3f}-{found.high:.3f})"


def run_side(options: argparse.Namespace) -> None:
    """Load pixels, then time one side and write what it did."""
    if options.side == "budwood":
        from budwood import machine

        machine.tune_allocator()
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    data = load_pixels(options)
    start = time.perf_counter()
    correct = (usual_loop if options.side == "usual" else cached_features)(options, data)
    result = {
        "seconds": time.perf_counter() - start,
        "accuracy": correct / len(data["test"]),
        "tested": len(data["test"]),
        "pictures": len(data["targets"]),
    }
    options.out.write_text(json.dumps(result))


def load_pixels(options: argparse.Namespace) -> dict[str, Any]:
    """Decoded, resized pictures, labels, a stratified fifth held out, the backbone."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    from budwood.data.decode import decode_file
    from budwood.data.scan import scan
    from budwood.files import unescape_name
    from budwood.models.build import ModelSpec, choose_preprocess, open_backbone

    catalog = scan(options.photos).usable()
    spec = ModelSpec(backbone=options.backbone, size=options.size)
    backbone = open_backbone(spec)
    preprocess = choose_preprocess(spec, backbone.preprocess, shorter_side=options.size)
    paths = [catalog.root / unescape_name(r.path) for r in catalog.records]
    targets = np.array(catalog.targets)
    train, test = train_test_split(np.arange(len(targets)), test_size=0.2, stratify=targets, random_state=0)
    return {
        "pixels": np.stack([preprocess.pixels(decode_file(path).image) for path in paths]),
        "targets": targets,
        "digests": [r.pixel_digest for r in catalog.records],
        "classes": len(catalog.classes),
        "train": train,
        "test": test,
        "backbone": backbone,
        "preprocess": preprocess,
    }


def usual_loop(options: argparse.Namespace, data: dict[str, Any]) -> int:
    """A frozen network in a training loop, as notebooks write it; returns the number of right answers."""
    import torch
    from torch import nn

    network = data["backbone"].module.eval().requires_grad_(False)
    head = nn.Linear(data["backbone"].num_features, data["classes"])
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=1e-2)
    pixels, targets = torch.from_numpy(data["pixels"]), torch.from_numpy(data["targets"])
    train = torch.from_numpy(data["train"])

    def features(rows: Any, *, flip: bool) -> Any:
        batch = pixels[rows]
        if flip:
            batch = torch.stack([random_flip(picture) for picture in batch])
        with torch.no_grad():
            return network(data["preprocess"].normalise(batch).contiguous())

    for _ in range(options.epochs):
        for rows in train[torch.randperm(len(train))].split(32):
            loss = nn.functional.cross_entropy(head(features(rows, flip=True)), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    test = torch.from_numpy(data["test"])
    with torch.no_grad():
        answers = torch.cat([head(features(rows, flip=False)).argmax(1) for rows in test.split(32)])
    return int((answers == targets[test]).sum())


def random_flip(picture: Any) -> Any:
    """Left-right and upside-down, each at random; ``[S, S, 3]``."""
    import torch

    dims = [dim for dim in (0, 1) if torch.rand(()) < 0.5]
    return picture.flip(dims) if dims else picture


def cached_features(options: argparse.Namespace, data: dict[str, Any]) -> int:
    """Features of four flips once, penalty by cross-validation, head solved; mean over the flips, as it ships.

    The three more views of the test pictures are on this side's clock.
    """
    import numpy as np

    from budwood.machine import probe
    from budwood.train.features import FeatureSource, frozen_features
    from budwood.train.heads import HeadSpec, choose_head

    backbone = data["backbone"]
    source = FeatureSource(
        module=backbone.module,
        num_features=backbone.num_features,
        preprocess=data["preprocess"],
        identity=backbone.name,
        bf16=probe(threads=options.threads).bf16,
    )

    def features(rows: Any, views: tuple[int, ...]) -> Any:
        return frozen_features(source, data["pixels"][rows], [data["digests"][i] for i in rows], views=views)

    train, test = data["train"], data["test"]
    labels = data["targets"][train]
    folds = np.random.default_rng(0).permutation(len(train)) % 5
    head = choose_head(features(train, VIEWS), labels, folds, num_classes=data["classes"], spec=HeadSpec())
    logits = features(test, VIEWS) @ head.weight.T + head.bias
    probs = np.exp(logits - logits.max(-1, keepdims=True))
    probs = (probs / probs.sum(-1, keepdims=True)).mean(0)
    return int((probs.argmax(1) == data["targets"][test]).sum())


if __name__ == "__main__":
    main()
