"""HEIC and AVIF through the one decoder: with the extra they are pictures, without it they say how to get it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from budwood.data import heif
from budwood.data.decode import decode
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.errors import UnreadableImage

ORIENTATION = 0x0112
CORNERS = [(220, 30, 30), (30, 220, 30), (30, 30, 220), (220, 220, 30)]


def quarters() -> NDArray[np.uint8]:
    """Four colours, 64 wide and 48 high."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32], pixels[:24, 32:], pixels[24:, :32], pixels[24:, 32:] = CORNERS
    return pixels


def saved(form: str, orientation: int = 1) -> bytes:
    heif.heif_formats(b"\0\0\0\x18ftypheic")  # makes the writer known too
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    out = io.BytesIO()
    Image.fromarray(quarters()).save(out, form, exif=exif.tobytes(), quality=95)
    return out.getvalue()


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    heif._formats.cache_clear()
    yield
    heif._formats.cache_clear()


NEEDS = {
    "HEIF": lambda: pytest.importorskip("pillow_heif"),
    "AVIF": lambda: features.check("avif") or pytest.skip("Pillow was built without AVIF"),
}


@pytest.mark.parametrize("form", NEEDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_turn_is_applied_once(form: str, orientation: int) -> None:
    NEEDS[form]()
    found = decode(saved(form, orientation))
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(quarters()).save(turned, "PNG", exif=exif)
    expected = decode(turned.getvalue()).image
    assert found.format == form
    assert found.image.shape == expected.shape
    assert np.abs(found.image.astype(int) - expected).mean() < 12


@pytest.mark.parametrize("form", NEEDS)
def test_large_and_damaged_ones_are_refused(form: str) -> None:
    NEEDS[form]()
    data = saved(form)
    with pytest.raises(UnreadableImage, match=r"more than the 0\.001 allowed"):
        decode(data, max_pixels=1000)
    with pytest.raises(UnreadableImage, match=r"damaged|truncated"):
        decode(data[: len(data) // 2])


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_the_way_to_it_is_said() -> None:
    with pytest.raises(UnreadableImage, match=r"a HEIC picture: pip install 'budwood\[heif\]' to read it"):
        decode(b"\0\0\0\x18ftypheic" + bytes(30))


def test_other_pictures_do_not_load_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "_formats", lambda: pytest.fail("loaded"))
    out = io.BytesIO()
    Image.fromarray(quarters()).save(out, "PNG")
    assert (decode(out.getvalue()).image == quarters()).all()


def test_a_picture_is_read_again_once_the_extra_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pillow_heif")
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "one.heic").write_bytes(saved("HEIF"))
        Image.fromarray(quarters()).save(tmp_path / "photos" / label / "two.png")
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "pillow_heif.py").write_text("raise ImportError('not installed')")
    store = PictureStore(tmp_path / "store", side=320)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(missing))
        before = scan(tmp_path / "photos", store=store)
    assert [r.state for r in before.records] == ["unreadable", "ok"] * 2
    assert heif.INSTALL in before.records[0].reason
    after = scan(tmp_path / "photos", store=store)
    assert [r.state for r in after.records] == ["ok"] * 4
