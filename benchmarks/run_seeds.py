"""Runs recipes of the reports one after another, and prints their rows of the table in docs/seeds.md.

    python benchmarks/run_seeds.py PHOTOS --recipes a3-sixconv a3-softmax --out DIR [--threads 1] [--minutes 30]

Each is a process of its own, stopped at its time limit. Called again with the same --out, what is done is not run
again, and what was stopped goes on. --set applies to all recipes. A row holds what the report found and what was found
here: for a fit the accuracy on the test part, which chose nothing, and on the validation part, which chose the epoch;
for a sweep the accuracy of each arm on the validation part, which chose the winner.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from budwood.recipe import load_recipe
from budwood.recipes import reported_figure, seed_recipes

STOPPED = 4  # Budwood's exit code for what can be resumed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of class folders, or another input")
    parser.add_argument("--recipes", nargs="+", required=True, choices=sorted(seed_recipes()), metavar="RECIPE")
    parser.add_argument("--out", type=Path, required=True, help="one folder a recipe is made here")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30, help="limit for each recipe, by the clock")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.recipes:
        run(name, options)
    for name in options.recipes:
        print(row(name, options.out), flush=True)


def run(name: str, options: argparse.Namespace) -> None:
    """Run one recipe, or go on with it; its output goes to ``NAME.log``, its cost to ``NAME.cost.json``."""
    out = options.out / name
    if result_of(out) is not None:
        return
    verb = "sweep" if load_recipe(name).sweep.over else "fit"
    command = [sys.executable, "-m", "budwood", verb, str(options.photos), "--recipe", name, "--out", str(out)]
    command += ["--threads", str(options.threads), *(["--resume"] if out.is_dir() else [])]
    command += [word for text in options.overrides for word in ("--set", text)]
    started = time.perf_counter()
    with (options.out / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        timer = threading.Timer(options.minutes * 60, process.send_signal, [signal.SIGTERM])
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
    code = process.returncode = os.waitstatus_to_exitcode(status)
    add_cost(options.out / f"{name}.cost.json", time.perf_counter() - started, usage.ru_utime + usage.ru_stime)
    if code not in (0, STOPPED):
        print(f"{name} failed with exit code {code}; see {options.out / name}.log", file=sys.stderr)


def add_cost(file: Path, seconds: float, cpu_seconds: float) -> None:
    before = json.loads(file.read_text()) if file.is_file() else {"seconds": 0.0, "cpu_seconds": 0.0}
    cost = {"seconds": before["seconds"] + seconds, "cpu_seconds": before["cpu_seconds"] + cpu_seconds}
    file.write_text(json.dumps(cost))


def result_of(out: Path) -> dict[str, Any] | None:
    """What a run or a sweep left when it was done."""
    status = out / "status.json"
    if status.is_file() and json.loads(status.read_text())["state"] != "done":
        return None
    file = next((out / name for name in ("metrics.json", "results.json") if (out / name).is_file()), None)
    return json.loads(file.read_text()) if file else None


def row(name: str, folder: Path) -> str:
    """One row: recipe, what it is, what the report found, what was found here, its cost."""
    result, file = result_of(folder / name), folder / f"{name}.cost.json"
    cost = json.loads(file.read_text()) if file.is_file() else None
    ours = "" if result is None else fitted(result) if "test" in result else swept(result)
    spent = f"{cost['cpu_seconds']:.0f} s of a processor" if cost and result else ""
    text = seed_recipes()[name]
    words = load_recipe(name).description.partition(": ")[2]
    return f"| `{name}` | {words} | {reported_figure(text)} | {ours} | {spent} |"


def fitted(metrics: dict[str, Any]) -> str:
    test, val = metrics["test"], metrics["validation"]
    number = f"{share(test['accuracy']['value'])} ({between(test['accuracy']['interval'])}) of {test['num_pictures']}"
    return f"{number}; {share(val['accuracy']['value'])} (validation)"


def swept(results: dict[str, Any]) -> str:
    found = [(arm["name"], arm["accuracy"]) for arm in results["judgement"]["standings"]]
    words = (f"{name} {share(each['value'])} ({between(each['interval'])})" for name, each in found)
    return "; ".join(words) + " (validation)"


def share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def between(interval: dict[str, float]) -> str:
    return f"{share(interval['low'])}-{share(interval['high'])}"


if __name__ == "__main__":
    main()
