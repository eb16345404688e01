"""One picture, every form of file, every way out: the same probabilities."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from fastapi.testclient import TestClient

from budwood.data.decode import decode_file
from budwood.data.scan import scan
from budwood.data.store import PictureStore
from budwood.describing import stored_pixels
from budwood.export.bundle import Bundle, load
from budwood.export.onnx import bundle_graph, export_onnx
from budwood.export.onnx_runtime import OnnxBundle
from budwood.export.submission import export_submission
from budwood.serve.answer_app import answer_app
from budwood.serve.answering import Answerer
from budwood.serve.limits import Limits
from budwood.serve.torch_engine import TorchEngine

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
TURNED = ("jpg", "png", "webp", "tiff")  # formats that keep an EXIF orientation
Way = Callable[[Sequence[Path]], NDArray[np.floating]]


def drawn(mode: str) -> Image.Image:
    """A picture of 90 x 70 pixels in a mode of Pillow's."""
    generator = np.random.default_rng(4)
    coarse = Image.fromarray(generator.integers(0, 256, (5, 6, 4), dtype=np.uint8), "RGBA")
    whole = coarse.resize((90, 70), Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(whole.convert("L")).astype(np.uint16) * 251)
    return whole if mode == "RGBA" else whole.convert("RGB").convert(mode) if mode != "LA" else whole.convert("LA")


def written_files(folder: Path, *, all_of_them: bool) -> list[Path]:
    """Every mode in every format that holds it, in each of the eight EXIF orientations; or in one of them, in turn."""
    folder.mkdir(parents=True)
    files = []
    forms = [(mode, suffix) for mode, suffixes in MODES.items() for suffix in suffixes]
    for number, (mode, suffix) in enumerate(forms):
        every = suffix in TURNED and (all_of_them or mode == "RGB")
        for orientation in range(1, 9) if every else [number % 8 + 1]:
            exif = Image.Exif()
            exif[0x0112] = orientation
            files.append(folder / f"{mode.replace(';', '')}-{orientation}.{suffix}")
            drawn(mode).save(files[-1], **({"exif": exif} if suffix in TURNED else {}))
    return files


def as_trained(bundle: Bundle, photos: Path, work: Path) -> Way:
    """The way of a run's own scores: the scan's one decode, the store of pictures, the working size."""

    def answer(files: Sequence[Path]) -> NDArray[np.floating]:
        store = PictureStore(work / "store", side=bundle.preprocess.store_side)
        catalog = scan(photos, store=store, min_classes=1)
        paths = [file.relative_to(photos).as_posix() for file in files]
        names, pixels = stored_pixels(bundle, catalog, paths, store)
        assert list(names) == paths
        return bundle.predict_pixels(pixels)

    return answer


def submitted(folder: Path) -> Way:
    """The folder's model.py, asked for one array a picture."""
    spec = importlib.util.spec_from_file_location("submitted", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.Model(str(folder))
    return lambda files: np.concatenate([model.predict_proba(decode_file(file).image[None]) for file in files])


def served(client: TestClient, classes: Sequence[str]) -> Way:
    """The server, a few files a request."""

    def answer(files: Sequence[Path]) -> NDArray[np.floating]:
        rows = []
        for at in range(0, len(files), 16):
            sent = [("files", (file.name, file.read_bytes())) for file in files[at : at + 16]]
            rows += client.post("/predict", files=sent).json()["answers"]
        return np.array([[row["probabilities"][name] for name in classes] for row in rows])

    return answer


@pytest.fixture
def ways(
    folder: Path, tmp_path: Path, written_once: Callable[[Bundle], object]
) -> Iterator[dict[str, tuple[Way, float]]]:
    """Every way in which a picture of ``tmp_path / "photos"`` is answered, and how far it may be from `predict`."""
    bundle = load(folder)
    export_onnx(bundle, tmp_path / "m.onnx", network=written_once, num_pictures=2)
    export_submission(bundle, tmp_path / "submission", network=written_once, num_pictures=2)
    whole = OnnxBundle(tmp_path / "m.onnx")
    with ExitStack() as stack:
        app = answer_app(Answerer(TorchEngine(bundle), limits=Limits()), title="t")
        client = stack.enter_context(TestClient(app, base_url="http://127.0.0.1:8000"))
        found = {
            "as trained": (as_trained(bundle, tmp_path / "photos", tmp_path), 1e-6),
            "arrays": (lambda files: bundle.predict_images([decode_file(file).image for file in files]), 1e-6),
            "onnx": (lambda files: whole.predict_images([decode_file(file).image for file in files]), 1e-5),
            "submission": (submitted(tmp_path / "submission"), 1e-5),
            "server": (served(client, bundle.classes), 1e-5),
        }
        if importlib.util.find_spec("openvino"):
            from budwood.export.openvino import export_openvino
            from budwood.export.openvino_runtime import OpenvinoBundle

            export_openvino(bundle, tmp_path / "ov", network=written_once, num_pictures=2)
            opened = OpenvinoBundle(tmp_path / "ov")
            found["openvino"] = (lambda files: opened.predict_images([decode_file(f).image for f in files]), 1e-2)
        yield found


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize(
    ("all_of_them", "number"), [(False, 54), pytest.param(True, 166, marks=pytest.mark.slow)], ids=["in turn", "all"]
)
def test_every_form_of_file_gets_the_same_probabilities_everywhere(
    all_of_them: bool, number: int, folder: Path, tmp_path: Path, ways: dict[str, tuple[Way, float]]
) -> None:
    files = written_files(tmp_path / "photos" / "drawn", all_of_them=all_of_them)
    assert len(files) == number
    wanted = load(folder).predict(files).probs
    assert len({tuple(np.round(row, 3)) for row in wanted}) > 8, "the pictures must differ for this to mean anything"
    for name, (answer, allowed) in ways.items():
        np.testing.assert_allclose(answer(files), wanted, atol=allowed, rtol=0, err_msg=name)


def test_orientations_are_told_apart(folder: Path, tmp_path: Path) -> None:
    files = [file for file in written_files(tmp_path / "photos", all_of_them=False) if file.name.startswith("RGB-")]
    rows = load(folder).predict([file for file in files if file.suffix == ".png"]).probs
    assert len({tuple(np.round(row, 4)) for row in rows}) == 4, "views 0 and 4 are mirrored: eight turns, four answers"


def test_the_graph_holds_no_branch(folder: Path, written_once: Callable[[Bundle], object]) -> None:
    import onnx

    model = onnx.load_from_string(bundle_graph(load(folder), network=written_once))
    kinds = {node.op_type for node in model.graph.node}
    assert "Resize" not in kinds
    assert "If" not in kinds, "OpenVINO 2026.4 overwrites what the branches of an If hand on"
    said = {each.key: each.value for each in model.metadata_props}
    assert json.loads(said["budwood.precision"]) == "fp32"
