"""Fixtures for bundles: a small network with answers of its own, a written bundle, pictures of many sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from budwood.data.preprocess import Preprocess
from budwood.export.bundle import Bundle, BundleFacts, write_bundle
from budwood.files import sha256_file
from budwood.models.build import Classifier, ModelSpec, attach_head, open_backbone

SPEC = ModelSpec(backbone="test_efficientnet", pretrained=False)
FACTS = BundleFacts(
    spec=SPEC,
    classes=("zebra", "ant", "ü mouse"),
    preprocess=Preprocess(size=32, crop_fraction=0.9, store_side=64),
    views=(0, 4),
    training={"seed": 3},
    versions={"torch": "x"},
)


def lively(seed: int, num_classes: int) -> Classifier:
    """A network whose answers differ from picture to picture and from view to view."""
    torch.manual_seed(seed)
    made = attach_head(open_backbone(SPEC), num_classes=num_classes, dropout=0.2)
    nn.init.normal_(made.head.weight, std=0.5)
    made.train()
    with torch.no_grad():
        for _ in range(20):
            made(torch.randn(16, 3, 32, 32))  # BatchNorm statistics of its own
    return made.eval()


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    """What `model` is."""
    return SPEC


@pytest.fixture(scope="session")
def facts() -> BundleFacts:
    """What the bundle in `folder` says of itself."""
    return FACTS


@pytest.fixture(scope="session")
def model() -> Classifier:
    """Three classes."""
    return lively(0, 3)


@pytest.fixture(scope="session")
def other_model() -> Classifier:
    """Three classes, other answers."""
    return lively(1, 3)


@pytest.fixture(scope="session")
def two_classes() -> Classifier:
    """Two classes."""
    return lively(2, 2)


@pytest.fixture
def folder(tmp_path: Path, model: Classifier) -> Path:
    """A bundle as it was written."""
    write_bundle(tmp_path / "bundle", model, FACTS)
    return tmp_path / "bundle"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Forty pictures of many sizes."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    paths = [root / f"{i:02}.png" for i in range(40)]
    for i, path in enumerate(paths):
        coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((30 + 3 * i, 90 - i)).save(path)
    return paths


@pytest.fixture(scope="session")
def written_once() -> Callable[[Bundle], Any]:
    """A network's ONNX model; torch takes seconds to write one, so equal networks are written once."""
    made: dict[tuple[str, int], Any] = {}

    def written(bundle: Bundle) -> Any:
        from budwood.export.torch_graph import network_graph

        key = (sha256_file(bundle.folder / "model.safetensors"), bundle.preprocess.size)
        if key not in made:
            made[key] = network_graph(bundle)
        return made[key]

    return written
