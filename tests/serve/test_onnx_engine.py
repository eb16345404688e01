"""An ONNX file behind the server answers as its bundle does, whatever the sizes; what waits for its turn is small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from budwood.data.preprocess import Preprocess
from budwood.errors import IntegrityError, UsageError
from budwood.export.onnx_runtime import OnnxBundle
from budwood.export.parity import random_images
from budwood.serve.onnx_engine import OnnxEngine, square_of

PLAIN = Preprocess(size=32, store_side=64)
WAYS = {
    "plain": (PLAIN,),
    "cropped": (Preprocess(size=32, crop_fraction=0.8, store_side=64),),
    "odd margin": (Preprocess(size=32, crop_fraction=0.86, store_side=64),),
    "enlarged": (Preprocess(size=48, interpolation="bilinear", store_side=40),),
    "two sizes": (PLAIN, Preprocess(size=48, store_side=64)),
}
SQUARES = {"plain": 32, "cropped": 40}


@pytest.mark.parametrize("way", WAYS)
def test_prepared_pictures_of_any_size_are_answered_as_by_the_bundle(way: str, make_pair: Callable[..., Any]) -> None:
    pair = make_pair(*WAYS[way])
    engine = OnnxEngine(pair.file, threads=2)
    images = [*random_images(9), np.full((700, 1400, 3), 9, np.uint8), np.full((1, 90, 3), 200, np.uint8)]
    found = engine.answer([engine.prepare(image) for image in images])
    np.testing.assert_allclose(found, pair.bundle.predict_images(images), atol=1e-4)
    assert (engine.classes, engine.calibration) == (pair.bundle.classes, pair.bundle.facts.calibration)
    large = engine.prepare(images[-2])
    assert large.shape == ((SQUARES[way],) * 2 + (3,) if way in SQUARES else (3,))
    assert engine.answer([]).shape == (0, 3)


def test_squares_are_made_only_where_the_graph_changes_nothing_of_them() -> None:
    image = random_images(3)[1]
    for size, fraction in ((32, 1.0), (32, 0.8), (30, 0.5), (31, 31 / 33)):
        preprocess = Preprocess(size=size, crop_fraction=fraction, store_side=64)
        square = square_of([preprocess, preprocess])
        assert square is not None
        np.testing.assert_array_equal(preprocess.pixels(square.pixels(image)), preprocess.pixels(image))


def test_a_file_that_takes_pictures_otherwise_than_it_says_is_refused(
    make_pair: Callable[..., Any], tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(make_pair(PLAIN).file)
    for entry in model.metadata_props:
        entry.value = (
            entry.value.replace('"size": 32', '"size": 24') if entry.key == "budwood.preprocess" else entry.value
        )
    onnx.save(model, tmp_path / "changed.onnx")
    assert OnnxBundle(tmp_path / "changed.onnx").classes
    with pytest.raises(IntegrityError, match="in another way than it says"):
        OnnxEngine(tmp_path / "changed.onnx", threads=1)


def test_where_it_looks_is_told_to_be_unknown(make_pair: Callable[..., Any]) -> None:
    engine = OnnxEngine(make_pair(PLAIN).file, threads=1)
    with pytest.raises(UsageError, match="--runtime torch"):
        engine.explain(np.zeros((9, 9, 3), np.uint8), "betula")
