"""The bare side of `serve.py`: the runtime by itself, without anything of the server's, in a process of its own.

    python benchmarks/serve_bare.py BUNDLE_OR_ONNX PHOTOS SECONDS THREADS PICTURES

It measures what it is asked for on standard input, "network" or "steps", and answers with a line of JSON: pictures a
second, and the CPU milliseconds for one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

BATCH = 32


def main() -> None:
    """Measure what is asked for on standard input, "network" or "steps", and answer with a line of JSON."""
    from budwood.data.decode import decode

    model, photos, seconds, threads, most = sys.argv[1:]

    datas = pictures(Path(photos), int(most))
    raw = [some for some in batches(datas, BATCH) if len(some) == BATCH]
    found: list[tuple[float, Callable[[Any], Any], Callable[[Sequence[Any]], Any]]] = []
    for prepare, answer in engines(model, int(threads)):
        ready = [prepare(decode(data).image) for data in raw[0]]
        answer(ready)
        found.append((timed(lambda turn, a=answer, r=ready: a(r), seconds=float(seconds))[0], prepare, answer))
    _, prepare, answer = max(found, key=lambda one: one[0])

    def prepared(data: bytes) -> Any:
        return prepare(decode(data).image)

    squares = [[prepared(data) for data in some] for some in raw]
    with ThreadPoolExecutor(2) as pool:
        work = steps(raw, prepared, answer, pool)
        kinds = {"network": lambda turn: answer(squares[turn % len(squares)]), "steps": lambda turn: next(work)}
        print("ready", flush=True)
        for asked in sys.stdin:
            name = asked.strip()
            rate, cpu = timed(kinds[name], seconds=float(seconds))
            print(json.dumps({name: rate, f"{name}_cpu_ms": cpu}), flush=True)


def pictures(photos: Path, most: int) -> list[bytes]:
    """The bytes of picture files, taken evenly from the whole folder."""
    kinds = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
    files = sorted(file for file in photos.rglob("*") if file.suffix.lower() in kinds)
    if len(files) < BATCH:
        sys.exit(f"{photos} holds {len(files)} pictures; {BATCH} or more are needed")
    step = max(1, len(files) // most)
    return [file.read_bytes() for file in files[::step][:most]]


def engines(model: str, cores: int) -> Iterator[tuple[Callable[[Any], Any], Callable[[Sequence[Any]], Any]]]:
    """(prepare, answer) of the runtime itself, without anything of the server's."""
    if model.endswith(".onnx"):
        from budwood.export.onnx_runtime import OnnxBundle
        from budwood.serve.onnx_engine import OnnxEngine

        for threads in sorted({1, cores}):
            yield (
                OnnxEngine(model, threads=1).prepare,
                OnnxBundle(model, threads=threads).predict_images,
            )
        return
    from budwood import machine

    machine.tune_allocator()
    import torch

    from budwood.export.bundle import load as load_bundle

    bundle = load_bundle(model)

    def answered(prepared: Sequence[Any], threads: int) -> Any:
        torch.set_num_threads(threads)
        return bundle.answer(prepared)

    for threads in sorted({1, cores}):
        yield bundle.prepare, partial(answered, threads=threads)


def steps(
    raw: Sequence[Sequence[bytes]], prepared: Callable[[bytes], Any], answer: Callable[..., Any], pool: Any
) -> Iterator[None]:
    """Answer one batch at each turn, while the next one is decoded."""
    turn, coming = 0, [pool.submit(prepared, data) for data in raw[0]]
    while True:
        turn += 1
        ready, coming = coming, [pool.submit(prepared, data) for data in raw[turn % len(raw)]]
        answer([one.result() for one in ready])
        yield


def timed(work: Callable[[int], Any], *, seconds: float) -> tuple[float, float]:
    """Pictures a second, and CPU milliseconds for one; ``work`` answers one batch, and is warmed up with one."""
    work(0)
    begun, cpu, turns = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begun < seconds:
        turns += 1
        work(turns)
    wall, used = time.perf_counter() - begun, time.process_time() - cpu
    return BATCH * turns / wall, 1e3 * used / (BATCH * turns)


def batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """The items, so many at a time."""
    return [items[at : at + size] for at in range(0, len(items), size)]


if __name__ == "__main__":
    main()
