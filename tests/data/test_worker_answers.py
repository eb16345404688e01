"""The way of a picture's facts and bytes from a worker into the store: nothing is lost or mixed up between them."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.data import scan as scan_module
from budwood.data.decode import decode_file
from budwood.data.facts import FACTS
from budwood.data.measures import Measures, measure
from budwood.data.picture_index import Files
from budwood.data.planes import LOOK_SIDE, luma_plane, plane_bytes
from budwood.data.preprocess import reduce_to
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.data.store_files import StoreFiles

SIZES = [(24, 20), (30, 41), (24, 20), (24, 20), (330, 340), (1, 1), (24, 20), (24, 20), (350, 330), (330, 340)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Sizes that come in rows and mixed, larger ones than are looked at, and files that are no pictures."""
    root = tmp_path / "photos"
    for number, (width, height) in enumerate(SIZES * 2):
        file = root / "ab"[number % 2] / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number).integers(0, 255, (height // 9 + 1, width // 9 + 1, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(file)
    (root / "a" / "03 none.png").write_bytes(b"none")
    (root / "b" / "04 none.png").write_bytes(b"")
    return root


@pytest.mark.parametrize("side", [None, 16, LOOK_SIDE, 400])
def test_every_picture_has_its_own_measures_and_bytes_whatever_its_neighbours_are(
    photos: Path, tmp_path: Path, side: int | None
) -> None:
    store = PictureStore(tmp_path / "store", side=side) if side is not None else None
    catalog = scan(photos, store=store)
    assert len(catalog.usable()) == len(catalog) - 2 == 20
    for record in catalog.usable().records:
        image = decode_file(photos / record.path).image
        expected = measure(np.ascontiguousarray(reduce_to(image, LOOK_SIDE)))
        assert Measures(*(getattr(record, name) for name in Measures._fields)) == expected
        if store is not None:
            kept = np.ascontiguousarray(reduce_to(image, store.side))
            assert np.array_equal(store.read(record.pixel_digest), kept)
            assert np.array_equal(store.plane(catalog, record), luma_plane(kept))


def test_planes_that_are_made_four_at_a_time_are_those_made_alone() -> None:
    rng = np.random.default_rng(0)
    sizes = [(40, 50)] * 6 + [(20, 30)] * 4 + [(1040, 1030)] * 4 + [(40, 50)]
    lumas = [Image.fromarray(rng.integers(0, 256, size, np.uint8)) for size in sizes]
    alone = [luma_plane(np.asarray(luma.convert("RGB"))).tobytes() for luma in lumas]
    assert plane_bytes(lumas) == alone


@pytest.mark.parametrize("limit", [1, 5, 7, 100])
def test_pieces_are_written_whole_though_the_system_takes_few_bytes(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(handle: int, pieces: Sequence[memoryview]) -> int:
        return os.write(handle, b"".join(pieces)[:limit])

    monkeypatch.setattr(os, "writev", few, raising=False)
    files = StoreFiles(tmp_path, guard=threading.RLock())
    files.fit_to({"data": 0})
    files.write("data", 3, [memoryview(piece) for piece in (b"abc", b"", b"defgh", b"i", b"", b"jklmn", b"")])
    assert (tmp_path / "data").read_bytes() == b"\0\0\0abcdefghijklmn"


def test_files_that_are_put_together_are_those_put_one_by_one() -> None:
    rows = np.zeros(9, FACTS)
    rows["size"] = np.arange(9)
    names = ["a", "b", "c", "d", "e", "d", "b", "f", "f"]
    reasons = {1: {"b": "no picture"}, 5: {"d": "truncated"}}
    together, single = Files(), Files()
    for some in (range(3), range(3, 6), range(6, 9)):
        told = {name: why for number in some for name, why in reasons.get(number, {}).items()}
        together.put([names[number] for number in some], rows[list(some)], told)
    for number, name in enumerate(names):
        single.put([name], rows[number : number + 1], reasons.get(number, {}))
    assert (together.paths, together.packed, together.reasons) == (single.paths, single.packed, single.reasons)
    assert together.rows()["size"].tolist() == [0, 6, 2, 5, 4, 8]
    assert together.reasons == {"d": "truncated"}


def test_what_waits_for_the_store_is_bounded(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "_TOGETHER", 2)
    added: list[int] = []
    store = PictureStore(tmp_path / "store", side=16)
    real = store.remember
    monkeypatch.setattr(store, "remember", lambda root, found: (added.append(len(found.pictures)), real(root, found)))
    scan(photos, store=store)
    assert max(added) == 2
    assert len(store) == 20
