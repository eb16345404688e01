"""Frozen features of fixed views, computed once and kept.

A view is one of the eight flips and turns. What is kept is keyed by pixel digest, backbone, preprocess and view, so a
second run on the same pictures, or on some of them, computes nothing twice. Features are computed in bfloat16 where
the CPU has it (`frozen_network.py`) and stored as float16; the head that a bundle ships is judged by the bundle's own
float32 predictor, never by these.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from torch import nn

from budwood.data.preprocess import Preprocess
from budwood.errors import BackboneError
from budwood.evaluation.views import turned as turned
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, Warned, silent
from budwood.files import sha256_bytes, to_json, write_bytes
from budwood.train.frozen_network import Backend, FrozenNetwork, NotEqualError, default_backend, open_network

BATCH_SIZE = 32
# All that a cut or mutated shard makes numpy and zipfile raise.
_DAMAGE = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error)


@dataclass(frozen=True, kw_only=True)
class FeatureSource:
    """What features depend on besides the pictures: the frozen network, its input, its arithmetic.

    identity: a text that differs whenever the backbone's weights differ (name and digest). backend: what carries the
    network out; None takes OpenVINO where it is installed and the CPU computes.
    """

    module: nn.Module
    num_features: int
    preprocess: Preprocess
    identity: str
    bf16: bool
    backend: Backend | None = None

    @property
    def carried_out_by(self) -> Backend:
        """What carries the network out."""
        return self.backend or default_backend()

    @property
    def key(self) -> str:
        """The name of this source's folder in the cache."""
        facts = {"backbone": self.identity, "preprocess": self.preprocess.to_dict(), "bf16": self.bf16}
        if self.carried_out_by != "torch":
            facts["backend"] = self.carried_out_by
        return sha256_bytes(to_json(facts).encode())[:24]


class FeatureCache:
    """Feature rows by pixel digest, one folder a source and view, as immutable shards written atomically.

    A shard that cannot be read is dropped and its rows are computed again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, source: FeatureSource, view: int) -> dict[str, NDArray[np.float16]]:
        """All kept rows of a view: pixel digest -> ``[D]`` float16."""
        rows: dict[str, NDArray[np.float16]] = {}
        with contextlib.suppress(OSError):
            os.utime(self.folder / source.key)  # the cache drops the least recently used
        for shard in sorted(self._place(source, view).glob("*.npz")):
            try:
                with shard.open("rb") as file, np.load(file, allow_pickle=False) as data:
                    features, digests = data["features"], data["digests"]
            except _DAMAGE:
                shard.unlink(missing_ok=True)
                continue
            if features.shape == (len(digests), source.num_features):
                rows.update(zip(digests.tolist(), features, strict=True))
        return rows

    def save(self, source: FeatureSource, view: int, digests: Sequence[str], features: NDArray[np.float16]) -> None:
        """Keep new rows as one more shard."""
        place = self._place(source, view)
        place.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, features=features, digests=np.array(digests))
        name = sha256_bytes("".join(digests).encode())[:24]
        with FileLock(place / ".lock"):
            write_bytes(place / f"{name}.npz", buffer.getvalue())

    def _place(self, source: FeatureSource, view: int) -> Path:
        return self.folder / source.key / f"view{view}"


def frozen_features(
    source: FeatureSource,
    pixels: NDArray[np.uint8],
    digests: Sequence[str],
    *,
    views: Sequence[int],
    cache: FeatureCache | None = None,
    listen: Listener = silent,
    step: str = "features",
) -> NDArray[np.float32]:
    """Pooled features of every picture and view.

    Args:
        source: the frozen network and its input.
        pixels: ``[N, S, S, 3]`` uint8 at the source's input size.
        digests: the N pixel digests of the pictures.
        views: which of the eight flips and turns.
        cache: where rows are kept; None keeps nothing.
        step: the name under which progress is told.

    Returns:
        ``[V, N, D]`` float32.
    """
    start = time.perf_counter()
    out = np.empty((len(views), len(digests), source.num_features), dtype=np.float32)
    missing: list[NDArray[np.int64]] = []
    for row, view in enumerate(views):
        kept = cache.load(source, view) if cache else {}
        absent = [i for i, digest in enumerate(digests) if digest not in kept]
        for i, digest in enumerate(digests):
            if digest in kept:
                out[row, i] = kept[digest]
        missing.append(np.array(absent, dtype=np.int64))
    total = sum(len(m) for m in missing)
    network: FrozenNetwork | None = None
    if total:
        try:
            network = _opened(source, pixels)
        except NotEqualError as reason:
            listen(Warned(text=f"frozen features are computed by torch instead of OpenVINO: {reason}"))
            plain = replace(source, backend="torch")
            return frozen_features(plain, pixels, digests, views=views, cache=cache, listen=listen, step=step)
    listen(StepStarted(step=step, total=total))
    if network:
        for row, view in enumerate(views):
            rows = missing[row]
            if not len(rows):
                continue
            fresh = _run(network, source, pixels, rows, view=view, listen=listen, step=step)
            if not np.isfinite(fresh).all():
                raise BackboneError(
                    f"the features of {source.identity.split()[0]} are infinite or not a number on these pictures; "
                    "try --set train.precision=float32, or another backbone"
                )
            out[row, rows] = fresh
            if cache:
                cache.save(source, view, [digests[i] for i in rows], fresh)
    seconds = time.perf_counter() - start
    note = f"{total / seconds:.0f} images/s" if total else "from the cache"
    listen(StepFinished(step=step, seconds=seconds, note=note))
    return out


def _opened(source: FeatureSource, pixels: NDArray[np.uint8]) -> FrozenNetwork:
    return open_network(
        source.module,
        preprocess=source.preprocess,
        bf16=source.bf16,
        backend=source.carried_out_by,
        pictures=pixels,
    )


def _run(
    network: FrozenNetwork,
    source: FeatureSource,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    *,
    view: int,
    listen: Listener,
    step: str,
) -> NDArray[np.float16]:
    out = np.empty((len(rows), source.num_features), dtype=np.float16)
    for at in range(0, len(rows), BATCH_SIZE):
        chosen = rows[at : at + BATCH_SIZE]
        out[at : at + len(chosen)] = network(np.ascontiguousarray(turned(pixels[chosen], view)))
        listen(StepAdvanced(step=step, count=len(chosen)))
    return out
