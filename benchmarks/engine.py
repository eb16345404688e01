"""Budwood's training against the plain PyTorch loop, side by side: frozen phase, fine-tuning, a sweep of depths.

Both sides get the same pictures, backbone, input and rates, run in turn in processes of their own, pinned to the same
cores. `plain_loop.py` is the loop as notebooks write it; Budwood's side is what a run does, caches empty. Phases:

- ``frozen``: 25 epochs of a linear head on a frozen network, random flips. Budwood reads the pictures, computes the
  features of the four flips and solves the head with its penalty chosen by cross-validation, all of it on the clock.
- ``finetune``: one epoch of all weights, with the validation of a quarter as many pictures. Budwood's has
  averaged weights, clipping and a measurement on training pictures besides; its pictures are decoded already.
- ``sweep``: the head, then the last 1 to 4 blocks, ``--epochs`` each; activations kept where that pays.

    python benchmarks/engine.py PHOTOS [--backbone lite0] [--size 224] [--phase all] [--pictures 256] [--repeats 3]
        [--timed 1] [--epochs 25] [--tested 0] [--views 4] [--threads 1] [--workers 0] [--backend torch]

Where a side goes by epochs, ``--timed`` of them are run and the rest is reckoned from their mean; nothing else is
scaled. With ``--timed`` equal to ``--epochs`` and ``--tested`` pictures both sides' answers are compared, too.
Prints wall and CPU seconds, both ratios with their spread over the repeats, the load, and what share of the machine's
measured peak each side reached (of bfloat16's where it computes in that, of float32's for the plain loop).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SIDES = ("plain", "budwood")
PHASES = ("frozen", "finetune", "sweep")
SWEEP_DEPTHS = (0, 1, 2, 3, 4)


def main() -> None:
    """Measure the peak, then run all phases and repeats."""
    options = read_options()
    if options.side:
        run_side(options)
        return
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    peaks = child(options, side="peak", phase="finetune")
    machine = ", ".join(f"{name} {peaks[name] / 1e9:.0f} GFLOP/s" for name in ("float32", "bfloat16"))
    print(
        f"{options.backbone}, {options.size} px, {options.pictures} pictures, {options.threads} threads; peak {machine}"
    )
    for phase in PHASES if options.phase == "all" else (options.phase,):
        rows = []
        for number in range(options.repeats):
            rows.append({side: run_phase(options, phase, side) for side in SIDES})
            print(f"{phase} {number + 1}: {line(rows[-1])}", flush=True)
        print(summary(phase, rows, peaks, options), flush=True)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--phase", choices=(*PHASES, "all"), default="all")
    parser.add_argument("--backbone", default="lite0", help="random weights, where it is not a packaged one")
    parser.add_argument("--backend", default="", choices=("", "torch", "openvino"), help="of frozen features")
    numbers = {"size": 224, "pictures": 256, "repeats": 3, "timed": 1, "epochs": 25, "tested": 0, "views": 4}
    for name, number in {**numbers, "threads": 1, "workers": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--side", choices=(*SIDES, "peak"), help=argparse.SUPPRESS)
    parser.add_argument("--depth", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def child(options: argparse.Namespace, *, side: str, phase: str, depth: int | None = None) -> dict[str, Any]:
    """This script again, for one side, with empty caches."""
    named = ("backbone", "size", "pictures", "timed", "epochs", "tested", "views", "threads", "workers")
    flags = [text for name in named for text in (f"--{name}", str(getattr(options, name)))]
    flags += ["--phase", phase, "--side", side, *(["--backend", options.backend] if options.backend else [])]
    flags += [] if depth is None else ["--depth", str(depth)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        surroundings = {**os.environ, "BUDWOOD_CACHE": folder, "OMP_NUM_THREADS": str(options.threads)}
        command = [sys.executable, __file__, str(options.photos), *flags, "--out", str(out)]
        subprocess.run(command, check=True, env=surroundings)
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def run_phase(options: argparse.Namespace, phase: str, side: str) -> dict[str, Any]:
    """One side of one phase; a sweep is the sum of its depths."""
    depths: tuple[int | None, ...] = {"frozen": (0,), "finetune": (None,), "sweep": SWEEP_DEPTHS}[phase]
    found = [child(options, side=side, phase=phase, depth=depth) for depth in depths]
    return {
        "wall": sum(each["wall"] for each in found),
        "cpu": sum(each["cpu"] for each in found),
        "right": [right for each in found for right in each["right"]],
        "depths": [each["cpu"] for each in found],
        "note": "; ".join(dict.fromkeys(each["note"] for each in found)),
    }


def run_side(options: argparse.Namespace) -> None:
    """One side in this process; the allocator is tuned before torch comes in, on Budwood's only."""
    if options.side == "budwood":
        from budwood import machine

        machine.tune_allocator()
    import engine_sides
    import torch

    torch.set_num_threads(options.threads)
    if options.side == "peak":
        found = peaks_and_work(engine_sides.pictures(options), options)
    elif options.side == "plain":
        found = engine_sides.plain_side(options, options.depth)
    elif options.phase == "frozen":
        found = engine_sides.our_frozen(options)
    else:
        found = engine_sides.our_stage(options, options.depth)
    options.out.write_text(json.dumps(found))


def peaks_and_work(data: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The machine's peaks, and what one picture costs forward and in training."""
    import engine_sides
    import roofline
    import torch

    from budwood.machine import probe

    return {
        "float32": roofline.peak(torch.float32),
        "bfloat16": roofline.peak(torch.bfloat16),
        "bf16": probe(threads=options.threads).bf16,
        "forward": roofline.operations(engine_sides.classifier(data), size=data["preprocess"].size),
    }


def line(row: dict[str, dict[str, Any]]) -> str:
    """One repeat in words."""
    sides = [f"{side} {row[side]['wall']:.1f} s, CPU {row[side]['cpu']:.1f} s ({row[side]['note']})" for side in SIDES]
    depths = ""
    if len(row["plain"]["depths"]) > 1:
        pairs = zip(row["plain"]["depths"], row["budwood"]["depths"], strict=True)
        depths = "; CPU ratio by depth " + ", ".join(f"{plain / ours:.1f}" for plain, ours in pairs)
    return "; ".join(sides) + depths


def summary(phase: str, rows: list[dict[str, Any]], peaks: dict[str, Any], options: argparse.Namespace) -> str:
    """The ratios over all repeats, the shares of the peak, and the answers side by side."""
    words = []
    for clock in ("wall", "cpu"):
        ratios = sorted(row["plain"][clock] / row["budwood"][clock] for row in rows)
        words.append(f"{clock} {statistics.median(ratios):.2f}x ({ratios[0]:.2f}-{ratios[-1]:.2f})")
    text = f"{phase}: {', '.join(words)}; load {os.getloadavg()[0]:.1f}"
    if phase != "sweep":
        precision = "bfloat16" if peaks["bf16"] else "float32"
        for side, of in (("plain", "float32"), ("budwood", precision)):
            seconds = statistics.median(row[side]["cpu"] for row in rows) / options.threads
            text += f"; {side} {operations(phase, side, peaks, options) / seconds / peaks[of]:.1%} of the {of} peak"
    return text + answers(rows[-1])


def operations(phase: str, side: str, peaks: dict[str, Any], options: argparse.Namespace) -> float:
    """What a side of a phase computes in the network."""
    if phase == "frozen":
        return float(peaks["forward"] * options.pictures * (options.epochs if side == "plain" else 4))
    judged = peaks["forward"] * (options.pictures // 4) * (1 if side == "plain" else 2)
    return float(options.epochs * (3 * peaks["forward"] * options.pictures + judged))


def answers(row: dict[str, dict[str, Any]]) -> str:
    """Both accuracies with their 95 % intervals, and McNemar's p of the same pictures."""
    plain, ours = (row[side]["right"] for side in SIDES)
    if not plain or not ours:
        return ""
    from budwood.evaluation.compare import mcnemar
    from budwood.evaluation.intervals import wilson

    texts = []
    for name, right in (("plain", plain), ("budwood", ours)):
        found = wilson(sum(right), len(right))
        texts.append(f"{name} {sum(right) / len(right):.4f} ({found.low:.3f}-{found.high:.3f})")
    pairs = list(zip(plain, ours, strict=True))
    p = mcnemar(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs))
    return f"; accuracy {', '.join(texts)}, McNemar p {p:.2f}, last repeat"


if __name__ == "__main__":
    main()
