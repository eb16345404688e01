"""Random generators keyed by what they are for, so that the stream does not depend on who asks first.

A picture's draws are keyed by (seed, epoch, record), a batch's by (seed, epoch, step): the same for any number of
loader workers, and the same when a run goes on after a stop.
"""

from __future__ import annotations

import hashlib

import numpy as np

_PICTURE, _BATCH, _ORDER, _NAMED = 1, 2, 3, 4


def record_key(path: str) -> int:
    """A stable 63-bit number for a record, made from its path: it survives adding and removing other pictures."""
    return int.from_bytes(hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()[:8], "big") >> 1


def picture_generator(seed: int, epoch: int, record: int) -> np.random.Generator:
    """The generator for one picture's augmentation in one epoch; ``record`` comes from `record_key`."""
    return np.random.Generator(np.random.PCG64([_PICTURE, seed, epoch, record]))


def batch_generator(seed: int, epoch: int, step: int) -> np.random.Generator:
    """The generator for what concerns a whole batch (mix partners, dropout)."""
    return np.random.Generator(np.random.PCG64([_BATCH, seed, epoch, step]))


def order_generator(seed: int, epoch: int) -> np.random.Generator:
    """The generator for the order of the pictures in one epoch."""
    return np.random.Generator(np.random.PCG64([_ORDER, seed, epoch]))


def named_generator(seed: int, name: str) -> np.random.Generator:
    """The generator for a named, one-time use such as ``"split"`` or ``"bootstrap"``."""
    return np.random.Generator(np.random.PCG64([_NAMED, seed, record_key(name)]))
