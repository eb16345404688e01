"""How long all metrics of many predictions take, with their intervals.

python benchmarks/metrics_speed.py [--pictures 10000] [--classes 50] [--resamples 2000]
"""

from __future__ import annotations

import argparse
from time import perf_counter, process_time

import numpy as np

from budwood.evaluation.metrics import summarise
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.rank_curves import class_curves
from budwood.evaluation.residuals import class_residuals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args()
    predictions = drawn(options.pictures, options.classes)
    print(f"{options.pictures} predictions, {options.classes} classes, {options.resamples} draws")
    for name, job in {
        "all metrics with intervals": lambda: summarise(predictions, resamples=options.resamples),
        "curves of all classes": lambda: class_curves(predictions),
        "residuals by class": lambda: class_residuals(predictions),
    }.items():
        wall, used = perf_counter(), process_time()
        job()
        print(f"{name:<28} {perf_counter() - wall:6.2f} s, {process_time() - used:6.2f} CPU-s")


def drawn(num_pictures: int, num_classes: int) -> Predictions:
    """Answers of which most are right."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, num_classes, num_pictures)
    logits = generator.normal(size=(num_pictures, num_classes))
    logits[np.arange(num_pictures), targets] += 4
    probs = np.exp(logits)
    probs /= probs.sum(axis=1, keepdims=True)
    return Predictions(
        probs=probs.astype(np.float32),
        targets=targets,
        paths=tuple(f"{i}.jpg" for i in range(num_pictures)),
        classes=tuple(f"class {k}" for k in range(num_classes)),
    )


if __name__ == "__main__":
    main()
