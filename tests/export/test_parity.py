"""One picture, every form of file, every way out: the same probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from budwood.data.decode import decode_file
from budwood.export.bundle import Bundle, load
from budwood.export.onnx import export_onnx
from budwood.export.onnx_runtime import OnnxBundle

MODES = {
    "L": ("jpg", "png", "webp", "tiff", "gif", "bmp"),
    "RGB": ("jpg", "png", "webp", "tiff", "bmp"),
    "RGBA": ("png", "webp", "tiff"),
    "LA": ("png",),
    "P": ("png", "gif", "tiff", "bmp"),
    "CMYK": ("jpg", "tiff"),
    "I;16": ("png", "tiff"),
    "1": ("png", "tiff", "bmp"),
}


def drawn(mode: str) -> Image.Image:
    """A picture of 90 x 70 pixels in a mode of Pillow's."""
    generator = np.random.default_rng(4)
    coarse = Image.fromarray(generator.integers(0, 256, (5, 6, 4), dtype=np.uint8), "RGBA")
    whole = coarse.resize((90, 70), Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(whole.convert("L")).astype(np.uint16) * 251)
    return whole if mode == "RGBA" else whole.convert("RGB").convert(mode) if mode != "LA" else whole.convert("LA")


def written_files(folder: Path) -> list[Path]:
    """Every mode in every format that holds it, and all eight EXIF orientations."""
    files = []
    for mode, formats in MODES.items():
        for suffix in formats:
            files.append(folder / f"{mode.replace(';', '')}.{suffix}")
            drawn(mode).save(files[-1])
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for suffix in ("jpg", "png", "webp", "tiff"):
            files.append(folder / f"turned{orientation}.{suffix}")
            drawn("RGB").save(files[-1], exif=exif)
    return files


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_every_form_of_file_gets_the_same_probabilities_everywhere(
    folder: Path, tmp_path: Path, written_once: Callable[[Bundle], object]
) -> None:
    bundle = load(folder)
    files = written_files(tmp_path)
    assert len(files) == 26 + 32
    images = [decode_file(file).image for file in files]
    wanted = bundle.predict(files).probs
    assert len({tuple(np.round(row, 3)) for row in wanted}) > 8, "the pictures must differ for this to mean anything"
    export_onnx(bundle, tmp_path / "out" / "m.onnx", network=written_once, num_pictures=2)
    np.testing.assert_allclose(bundle.predict_images(images), wanted, atol=1e-6)
    np.testing.assert_allclose(OnnxBundle(tmp_path / "out" / "m.onnx").predict_images(images), wanted, atol=1e-5)
