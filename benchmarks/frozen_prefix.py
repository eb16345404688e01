"""Fine-tuning with the first blocks frozen in three ways: as notebooks do it, without gradients, kept activations.

All ways in one process and in turn, same network, pixels, flips, batches, rates; float32; one AdamW step a batch:

- ``requires_grad``: parameters of the frozen blocks need no gradient, nothing else is done (BatchNorm in train mode);
- ``no_grad``: the frozen blocks run without gradients and with BatchNorm in eval;
- ``kept``: their activations are made once for every view and kept on disk as float16; the making is on the clock.

    python benchmarks/frozen_prefix.py PHOTOS [--backbone lite0] [--border backbone.blocks.4] [--size 128]
        [--epochs 8] [--views 2] [--pictures 256] [--repeats 3] [--threads 1] [--bf16]

Prints CPU seconds of each way (wall clocks mislead where other work runs), the ratios round by round with their
spread, the forecast, and how far the losses of equal batches lie apart: the second and third way with float32 and with
float16 activations.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from budwood import machine

WAYS = ("requires_grad", "no_grad", "kept")
BATCH = 32


def main() -> None:
    """Run the ways in turn and print what they took."""
    options = read_options()
    machine.tune_allocator()
    import torch

    torch.set_num_threads(options.threads)
    setting = prepare(options)
    print(setting["forecast"])
    rounds = []
    for number in range(options.repeats):
        found = {way: timed(way, setting, options) for way in WAYS}
        rounds.append(found)
        print(f"{number + 1}: " + ", ".join(f"{way} {found[way]:.1f} s" for way in WAYS), flush=True)
    for slow, fast in (("requires_grad", "no_grad"), ("no_grad", "kept"), ("requires_grad", "kept")):
        ratios = sorted(found[slow] / found[fast] for found in rounds)
        print(f"{fast} against {slow}: {statistics.median(ratios):.2f}x ({ratios[0]:.2f}-{ratios[-1]:.2f})")
    for dtype in ("float32", "float16"):
        print(f"losses of {dtype} activations against fresh ones: {loss_gap(setting, options, dtype):.1e} apart")


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", default="lite0")
    parser.add_argument("--border", default="backbone.blocks.4")
    parser.add_argument("--random", action="store_true", help="random weights, for networks that are not packaged")
    parser.add_argument("--bf16", action="store_true", help="make the kept activations in bfloat16")
    for name, number in (("size", 128), ("epochs", 8), ("views", 2), ("pictures", 256), ("repeats", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=number)
    return parser.parse_args()


def prepare(options: argparse.Namespace) -> dict[str, Any]:
    """Decoded pictures, the network with a linear head, its cut, and the forecast."""
    import numpy as np
    import torch
    from torch import nn

    from budwood.data.decode import decode_file
    from budwood.data.scan import scan
    from budwood.files import unescape_name
    from budwood.models.build import ModelSpec, choose_preprocess, open_backbone
    from budwood.models.cut import checked_cut
    from budwood.train.worth import count_work, predict_saving

    catalog = scan(options.photos).usable()
    chosen = np.random.default_rng(0).permutation(len(catalog))[: options.pictures]
    spec = ModelSpec(backbone=options.backbone, size=options.size, pretrained=not options.random)
    backbone = open_backbone(spec)
    preprocess = choose_preprocess(spec, backbone.preprocess, shorter_side=options.size)
    paths = [catalog.root / unescape_name(catalog.records[i].path) for i in chosen]
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("backbone", backbone.module)
    model.add_module("head", nn.Linear(backbone.num_features, len(catalog.classes)))
    model = model.to(memory_format=torch.channels_last)
    example = torch.zeros(1, 3, preprocess.size, preprocess.size)
    parts = checked_cut(model, options.border, example)
    forecast = predict_saving(
        count_work(parts, example),
        shape=parts.shape,
        pictures=len(chosen),
        epochs=options.epochs,
        views=options.views,
        budget=10**10,
    )
    return {
        "parts": parts,
        "start": {name: value.clone() for name, value in model.state_dict().items()},
        "preprocess": preprocess,
        "pixels": np.stack([preprocess.pixels(decode_file(path).image) for path in paths]),
        "targets": torch.from_numpy(np.array(catalog.targets)[chosen]),
        "digests": [catalog.records[i].pixel_digest for i in chosen],
        "forecast": forecast.reason,
    }


def timed(way: str, setting: dict[str, Any], options: argparse.Namespace) -> float:
    """CPU seconds of one stage from the same weights."""
    reset(setting)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        train(setting, options, forward_of(way, setting, options, Path(folder)), epochs=options.epochs)
        return time.process_time() - start


def reset(setting: dict[str, Any]) -> None:
    """The first weights again; only the tail needs gradients and trains."""
    parts = setting["parts"]
    parts.model.load_state_dict(setting["start"])
    parts.model.requires_grad_(False)
    parts.model.train()
    for parameter in parts.tail.parameters():
        parameter.requires_grad_(True)


def forward_of(
    way: str, setting: dict[str, Any], options: argparse.Namespace, folder: Path, dtype: str = "float16"
) -> Callable[[Any, Any], Any]:
    """(rows, views) -> logits in this way."""
    parts, make = setting["parts"], view_maker(setting)
    if way != "kept":
        start = parts.prefix if way == "no_grad" else None
        return lambda rows, view: parts.tail(start(make(view, rows))) if start else parts.model(make(view, rows))
    from budwood.train.boundary import Keeping, Pictures, cache_activations

    kept = cache_activations(
        parts,
        Pictures(digests=setting["digests"], make_view=make, num_views=options.views, views_key="turns"),
        Keeping(
            folder=folder,
            budget=10**10,
            preprocess=setting["preprocess"],
            bf16=options.bf16,
            dtype="float32" if dtype == "float32" else "float16",
        ),
    )
    import numpy as np

    return lambda rows, view: parts.tail(kept.batch(rows, np.full(len(rows), view)))


def view_maker(setting: dict[str, Any]) -> Callable[[int, Any], Any]:
    """Flips and turns of the pictures by number."""
    import numpy as np

    from budwood.train.border_views import PixelViews

    pixels = setting["pixels"]
    return PixelViews(
        pixels=pixels, rows=np.arange(len(pixels)), records=(), preprocess=setting["preprocess"], turns=(4, 2, 6)
    )


def train(
    setting: dict[str, Any], options: argparse.Namespace, forward: Callable[[Any, Any], Any], *, epochs: int
) -> list[float]:
    """Epochs of one AdamW step a batch, each epoch in the next view; returns the losses."""
    import numpy as np
    import torch

    optimizer = torch.optim.AdamW(setting["parts"].tail.parameters(), lr=1e-4, foreach=True)
    losses = []
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(setting["targets"]))
        for at in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[at : at + BATCH]
            torch.manual_seed(at)  # stochastic depth
            logits = forward(rows, epoch % options.views)
            loss = torch.nn.functional.cross_entropy(logits, setting["targets"][rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


def loss_gap(setting: dict[str, Any], options: argparse.Namespace, dtype: str) -> float:
    """The largest relative difference between the losses of one epoch, kept against fresh activations."""
    found = {}
    for way in ("no_grad", "kept"):
        reset(setting)
        with tempfile.TemporaryDirectory() as folder:
            forward = forward_of(way, setting, options, Path(folder), dtype)
            found[way] = train(setting, options, forward, epochs=1)
    pairs = zip(found["no_grad"], found["kept"], strict=True)
    return max(abs(fresh - kept) / fresh for fresh, kept in pairs)


if __name__ == "__main__":
    main()
