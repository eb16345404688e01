"""Fixtures for the review: a drawn folder with findings made up, its state, a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from budwood.data.cleaning.decisions import DecisionJournal
from budwood.data.opinion import Opinion
from budwood.data.preprocess import Preprocess
from budwood.data.records import Catalog, Finding
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.evaluation.calibrate import Calibration, fit_calibration
from budwood.evaluation.predictions import Predictions
from budwood.export.bundle import Bundle, BundleFacts, load, write_bundle
from budwood.models.build import ModelSpec, attach_head, open_backbone
from budwood.serve.review_state import ReviewState
from budwood.serve.shelf import PictureShelf

CLASSES = ("acer", "betula", "fagus")
HOSTILE = ("<img src=x onerror=alert(1)>", "betula", "ü")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@dataclass(frozen=True)
class Photos:
    """A scanned folder: three classes of ten pictures of 24 px, and one file that is no picture."""

    catalog: Catalog
    store: PictureStore

    def paths(self, label: str) -> tuple[str, ...]:
        return tuple(r.path for r in self.catalog.records if r.label == label and r.state == "ok")


def draw(folder: Path, *, per_class: int = 10, classes: tuple[str, ...] = CLASSES) -> Path:
    """Pictures of noise on a ground of each class's own."""
    random = np.random.default_rng(5)
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = (random.normal(60 + 60 * k, 25, (24, 24, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}-{i:03d}.png")
    return folder


@pytest.fixture(scope="session")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    folder = draw(tmp_path_factory.mktemp("drawn") / "photos")
    (folder / "acer" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    store = PictureStore(tmp_path_factory.mktemp("store"), side=64)
    return Photos(scan(folder, store=store), store)


def some_findings(photos: Photos) -> tuple[Finding, ...]:
    """One finding of each kind: single pictures, a set, a conflict, a class without pictures to decide upon."""
    acer, betula, fagus = (photos.paths(name) for name in CLASSES)
    made = [
        Finding(
            check="conflicting_labels",
            severity="error",
            paths=(acer[0], betula[0], betula[1]),
            evidence="3 pictures are equal, but their labels differ",
            suggestion="betula",
        ),
        Finding(check="exact_duplicate", severity="warning", paths=fagus[:4], evidence="4 files hold the same pixels"),
        Finding(check="class_counts", severity="info", paths=(), evidence='"acer" has few pictures'),
        Finding(check="unreadable", severity="warning", paths=("acer/broken.jpg",), evidence="truncated"),
        Finding(check="blurred", severity="info", paths=(), evidence="so many are how these data look"),
    ]
    made += [
        Finding(
            check="label_error",
            severity="warning",
            paths=(path,),
            evidence=f"labelled acer, but looks like betula ({i})",
            score=1.0 - i / 10,
            suggestion="betula",
        )
        for i, path in enumerate(acer)
    ]
    return tuple(made)


@pytest.fixture
def make_state(scanned: Photos, tmp_path: Path) -> Callable[..., ReviewState]:
    """A review of the drawn folder; called again, it is the review after a restart."""

    def make(findings: tuple[Finding, ...] | None = None, **more: Any) -> ReviewState:
        return ReviewState(
            scanned.catalog,
            some_findings(scanned) if findings is None else findings,
            journal=DecisionJournal(tmp_path / "work" / "decisions.jsonl"),
            ledger=tmp_path / "work" / "catalog.csv",
            **more,
        )

    return make


@pytest.fixture
def shelf(scanned: Photos) -> PictureShelf:
    return PictureShelf(scanned.catalog, scanned.store)


@pytest.fixture
def opinion(scanned: Photos) -> Opinion:
    """A network that finds every picture to be of the second class, with 0.7."""
    paths = tuple(r.path for r in scanned.catalog.records if r.state == "ok")
    probs = np.tile(np.array([0.2, 0.7, 0.1], np.float32), (len(paths), 1))
    features = np.zeros((len(paths), 2), np.float32)
    return Opinion(paths=paths, classes=CLASSES, features=features, probs=probs, folds=np.zeros(len(paths), np.int64))


@pytest.fixture(scope="module")  # playwright allows one at a time, and other folders have theirs
def browser() -> Iterator[Any]:
    """Chromium; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    options = ["--no-sandbox", "--headless", "--disable-background-networking"]
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield started
        started.close()


def made_up_calibration() -> Calibration | None:
    """Of a network that is right wherever it is sure."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 3, 600)
    probs = np.full((600, 3), 0.01, np.float32)
    probs[np.arange(600), targets] = 0.98
    table = Predictions(probs=probs, targets=targets, paths=tuple(map(str, range(600))), classes=HOSTILE)
    return fit_calibration(table, fitted_on="made-up pictures")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small network of three classes, one of them called what a page must not obey."""
    spec = ModelSpec(backbone="test_efficientnet", pretrained=False)
    folder = tmp_path_factory.mktemp("served") / "bundle"
    return made_up_bundle(folder, spec, Preprocess(size=32, store_side=64), spread=3.0)


def made_up_bundle(folder: Path, spec: ModelSpec, preprocess: Preprocess, *, spread: float) -> Bundle:
    """Random weights, those of the head of that deviation, two views, a calibration."""
    facts = BundleFacts(
        spec=spec,
        classes=HOSTILE,
        preprocess=preprocess,
        views=(0, 4),
        training={},
        versions={},
        calibration=made_up_calibration(),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = attach_head(open_backbone(spec), num_classes=3, dropout=0.0)
        torch.nn.init.normal_(model.head.weight, std=spread)
    write_bundle(folder, model.eval(), facts)
    return load(folder)


def linear_graph(bundle: Bundle) -> Any:
    """The network of `linear_bundle` as ONNX, written by hand: torch's exporter takes seconds to be imported."""
    onnx = pytest.importorskip("onnx")
    head, side = bundle.model.head, bundle.preprocess.size
    float32 = onnx.TensorProto.FLOAT
    return onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node("Flatten", ["images"], ["flat"]),
                onnx.helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
            ],
            "linear",
            [onnx.helper.make_tensor_value_info("images", float32, ["N", 3, side, side])],
            [onnx.helper.make_tensor_value_info("logits", float32, ["N", len(bundle.classes)])],
            [
                onnx.numpy_helper.from_array(head.weight.detach().numpy(), "weight"),
                onnx.numpy_helper.from_array(head.bias.detach().numpy(), "bias"),
            ],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 20)],
        ir_version=10,
    )


def linear_bundle(folder: Path, preprocess: Preprocess) -> Bundle:
    """Pixels and one linear layer."""
    spec = ModelSpec(backbone="softmax", pretrained=False, size=preprocess.size)
    return made_up_bundle(folder, spec, preprocess, spread=0.05)


@dataclass(frozen=True)
class Pair:
    """A bundle, and the ONNX file that was made of it."""

    bundle: Bundle
    file: Path


@pytest.fixture(scope="session")
def make_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pair]:
    """A bundle and its ONNX file, of networks that take pictures as they are told, one a `Preprocess`."""

    def make(*preprocesses: Preprocess) -> Pair:
        pytest.importorskip("onnxruntime")
        from budwood.evaluation.ensemble import Combine
        from budwood.export.members import write_ensemble
        from budwood.export.onnx import export_onnx

        folder = tmp_path_factory.mktemp("onnx")
        whole, *others = [linear_bundle(folder / str(number), each) for number, each in enumerate(preprocesses)]
        if others:
            members = [member.folder for member in (whole, *others)]
            whole = write_ensemble(folder / "all", members, Combine(method="mean"), training={}, versions={})
        export_onnx(whole, folder / "model.onnx", network=linear_graph, num_pictures=3)
        return Pair(whole, folder / "model.onnx")

    return make
