"""The ONNX file answers as the bundle does; what keeps weights elsewhere or answers otherwise is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from onnx import helper  # noqa: E402

from budwood.data.decode import decode_file  # noqa: E402
from budwood.data.preprocess import Preprocess  # noqa: E402
from budwood.errors import IntegrityError, OutputError  # noqa: E402
from budwood.evaluation.calibrate import Calibration  # noqa: E402
from budwood.evaluation.ensemble import Combine  # noqa: E402
from budwood.evaluation.views import View  # noqa: E402
from budwood.export.bundle import Bundle, BundleFacts, load, write_bundle  # noqa: E402
from budwood.export.graph import OPSET, Graph, Tensor  # noqa: E402
from budwood.export.members import write_ensemble, write_joined  # noqa: E402
from budwood.export.onnx import export_onnx  # noqa: E402
from budwood.export.onnx_runtime import OnnxBundle, refuse_outside_data  # noqa: E402
from budwood.export.parity import random_images  # noqa: E402
from budwood.export.resize_graph import pixels_graph  # noqa: E402
from budwood.models.build import Classifier  # noqa: E402

ABOUT = {"training": {"recipe": "both"}, "versions": {"torch": "x"}}
STACKED = Combine(
    method="stacking", coef=((1, 0, 0.5, 1, 0, 0), (0, 1, 0, 0, 1, 0), (0, 0, 1, 0, 0.2, 1)), intercept=(0.1, 0, 0)
)
JOINS = {
    "weighted": Combine(method="weighted", weights=(0.3, 0.7)),
    "vote": Combine(method="vote"),
    "logit-mean": Combine(method="logit-mean"),
    "stacking": STACKED,
}


def as_model(graph: Graph, out: Tensor) -> bytes:
    found = helper.make_tensor_value_info(out.name, onnx.TensorProto.FLOAT, [None] * 4)
    given = helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["N", "H", "W", 3])
    whole = helper.make_graph(graph.nodes, "pixels", [given], [found], graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(whole, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(size=32, crop_fraction=0.9, store_side=64),
        Preprocess(size=48, interpolation="bilinear", store_side=80),
        Preprocess(size=96, store_side=64),
    ],
    ids=["cropped", "bilinear", "enlarged"],
)
def test_the_graph_resizes_to_the_very_bytes_of_pillow(preprocess: Preprocess) -> None:
    import onnxruntime

    graph = Graph()
    model = as_model(graph, pixels_graph(Tensor(graph, "images", np.dtype(np.uint8)), preprocess))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    sizes = [(1, 1), (3, 290), (290, 3), (64, 64), (65, 200), (500, 333), (129, 64)]
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    for picture in [*pictures, *random_images(20)]:
        found = session.run(None, {"images": picture[None]})[0][0].transpose(1, 2, 0)
        np.testing.assert_array_equal(found, preprocess.pixels(picture), err_msg=str(picture.shape))


@pytest.fixture
def pair(tmp_path: Path, model: Classifier, other_model: Classifier, facts: BundleFacts) -> tuple[Path, Path]:
    """Two bundles of the same classes in another order, with views of all kinds, and with a calibration."""
    views = (0, 1, 2, 3, 4, 5, 6, 7, View(turn=3, scale=1.1), View(scale=0.9, right=0.05))
    write_bundle(tmp_path / "a", model, replace(facts, views=views, average="logits"))
    second = replace(
        facts,
        classes=("ant", "ü mouse", "zebra"),
        preprocess=Preprocess(size=48, store_side=64),
        views=(0,),
        calibration=Calibration(temperature=2.0, fitted_on="x", num_pictures=9),
    )
    write_bundle(tmp_path / "b", other_model, second)
    return tmp_path / "a", tmp_path / "b"


def test_files_of_ensembles_and_networks_answer_as_their_bundles(
    pair: tuple[Path, Path], tmp_path: Path, written_once: Callable[[Bundle], onnx.ModelProto], pictures: list[Path]
) -> None:
    whole = load(pair[0])
    for name, how in JOINS.items():
        known = Calibration(temperature=1.5, fitted_on="x", num_pictures=9)
        whole = write_ensemble(tmp_path / name, pair, how, calibration=known, **ABOUT)
        made = export_onnx(whole, tmp_path / f"{name}.onnx", network=written_once, num_pictures=12)
        assert made.parity.worst < 1e-5, name
        assert made.parity.changed == 0
    opened = OnnxBundle(tmp_path / "stacking.onnx")
    assert opened.classes == whole.classes
    assert opened.calibration == whole.facts.calibration
    images = [decode_file(path).image for path in pictures]
    images = [images[0], *images[:9], images[0]]
    np.testing.assert_allclose(opened.predict_images(images), whole.predict_images(images), atol=1e-5)
    assert opened.predict_images([]).shape == (0, 3)
    with pytest.raises(ValueError, match="expected"):
        opened.predict_images([np.zeros((5, 5), np.uint8)])


def test_a_file_of_a_cascade_answers_as_its_bundle(
    tmp_path: Path, two_classes: Classifier, facts: BundleFacts, written_once: Callable[[Bundle], onnx.ModelProto]
) -> None:
    write_bundle(tmp_path / "first", two_classes, replace(facts, classes=("zebra", "ant + ü mouse")))
    write_bundle(tmp_path / "then", two_classes, replace(facts, classes=("ü mouse", "ant"), views=(0,)))
    tree = {"tree": ["zebra", ["ant", "ü mouse"]]}
    about = BundleFacts(kind="cascade", classes=facts.classes, combine=tree, **ABOUT)
    whole = write_joined(tmp_path / "whole", [load(tmp_path / "first"), load(tmp_path / "then")], about)
    made = export_onnx(whole, tmp_path / "whole.onnx", network=written_once, num_pictures=12)
    assert made.parity.worst < 1e-5


def test_a_file_that_answers_otherwise_is_not_written(
    folder: Path, tmp_path: Path, written_once: Callable[[Bundle], onnx.ModelProto]
) -> None:
    def changed(bundle: Bundle) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(written_once(bundle))
        weight = next(each for each in model.graph.initializer if len(each.dims) == 2 and 3 in each.dims)  # the head's
        values = onnx.numpy_helper.to_array(weight) * np.float32(1.05)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        return model

    with pytest.raises(IntegrityError, match=r"differ by at most .* allowed is 0.0001"):
        export_onnx(load(folder), tmp_path / "x.onnx", network=changed, num_pictures=4)
    assert not (tmp_path / "x.onnx").exists()
    with pytest.raises(OutputError, match="is a folder"):
        export_onnx(load(folder), tmp_path, network=written_once)


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    tensor = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "w")
    outside = onnx.TensorProto()
    outside.CopyFrom(tensor)
    outside.ClearField("raw_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="/etc/passwd")
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3])
    inner = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "inner", [], [result], [outside])
    graphs = {
        "initializer": helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [result], [outside]),
        "attribute": helper.make_graph([helper.make_node("Constant", [], ["y"], value=outside)], "g", [], [result]),
        "branch": helper.make_graph(
            [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], "g", [], [result]
        ),
    }
    for name, graph in graphs.items():
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(helper.make_model(graph).SerializeToString())
        with pytest.raises(IntegrityError, match="other files"):
            OnnxBundle(file)
    sound = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [result], [tensor])
    refuse_outside_data(helper.make_model(sound).SerializeToString(), "sound")
    (tmp_path / "cut.onnx").write_bytes(helper.make_model(sound).SerializeToString()[:-3])
    with pytest.raises(IntegrityError, match="damaged"):
        OnnxBundle(tmp_path / "cut.onnx")


def test_the_runtime_imports_neither_torch_nor_onnx() -> None:
    code = "import sys, budwood.export.onnx_runtime; print({'torch', 'timm', 'onnx', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
