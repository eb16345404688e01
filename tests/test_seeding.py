"""Keyed randomness: pinned, and never the same stream for two uses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.seeding import batch_generator, named_generator, order_generator, picture_generator, record_key


def test_keys_of_records_are_pinned() -> None:
    # Changing them would change every run's augmentation.
    assert record_key("oak/leaf_001.jpg") == 2560506042668593989
    assert record_key("") == 8203414616412130826


def test_draws_are_pinned() -> None:
    drawn = [
        picture_generator(1, 2, record_key("oak/leaf_001.jpg")).random(),
        batch_generator(1, 2, 3).random(),
        order_generator(1, 2).random(),
        named_generator(1, "split").random(),
    ]
    np.testing.assert_allclose(
        drawn, [0.2882124896633128, 0.29697001799775846, 0.43696838798137627, 0.7994068952091486]
    )


def test_key_is_the_same_in_another_process() -> None:
    code = "from budwood.seeding import record_key; print(record_key('a/ü.png'))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == record_key("a/ü.png")


@settings(deadline=None)
@given(st.text())
def test_key_fits_into_63_bits(path: str) -> None:
    assert 0 <= record_key(path) < 2**63


def test_name_that_is_not_utf8_has_a_key() -> None:
    assert record_key("a\udcff.png") != record_key("a\udcfe.png")


def test_streams_differ_by_kind_seed_epoch_and_record() -> None:
    generators = [
        *(picture_generator(s, e, r) for s in range(3) for e in range(3) for r in range(3)),
        *(batch_generator(s, e, r) for s in range(3) for e in range(3) for r in range(3)),
        *(order_generator(s, e) for s in range(3) for e in range(3)),
        *(named_generator(s, name) for s in range(3) for name in ("split", "bootstrap", "")),
    ]
    first = [tuple(generator.integers(0, 2**62, 2).tolist()) for generator in generators]
    assert len(set(first)) == len(generators)


def test_equal_keys_give_equal_streams() -> None:
    np.testing.assert_array_equal(batch_generator(5, 6, 7).random(9), batch_generator(5, 6, 7).random(9))
