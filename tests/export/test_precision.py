"""Fewer bits: the file is smaller, its cost is what is measured, and nothing is guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from budwood.data.decode import decode_file  # noqa: E402
from budwood.errors import DataError, IntegrityError, UsageError  # noqa: E402
from budwood.export.bundle import Bundle, BundleFacts, load, write_bundle  # noqa: E402
from budwood.export.cost import LabelledFiles, measure_cost  # noqa: E402
from budwood.export.onnx import bundle_graph  # noqa: E402
from budwood.export.onnx_runtime import OnnxBundle  # noqa: E402
from budwood.export.reduced import cost_file, export_reduced  # noqa: E402
from budwood.exporting import export  # noqa: E402
from budwood.measuring import given_pictures  # noqa: E402
from budwood.models.build import Classifier  # noqa: E402


@pytest.fixture
def labelled(folder: Path, pictures: list[Path]) -> LabelledFiles:
    """Twenty pictures as the float32 bundle answers them, but for five labels: its accuracy is 15 of 20."""
    some = pictures[::2]
    targets = load(folder).predict(some).predicted.copy()
    targets[:5] = (targets[:5] + 1) % 3
    return LabelledFiles(files=tuple(some), targets=targets, training=tuple(pictures[1:16:2]), what="drawn pictures")


@pytest.mark.parametrize(("precision", "worst", "kind"), [("fp16", 0.05, 10), ("int8", 0.9, 3)])
def test_a_smaller_file_says_what_it_costs(
    precision: str,
    worst: float,
    kind: int,
    folder: Path,
    tmp_path: Path,
    labelled: LabelledFiles,
    written_once: Callable[[Bundle], onnx.ModelProto],
) -> None:
    bundle = load(folder)
    out = tmp_path / "out" / "m.onnx"
    made = export_reduced(bundle, out, precision=precision, pictures=labelled, network=written_once, num_pictures=2)
    found = OnnxBundle(out).predict_images([decode_file(file).image for file in labelled.files])
    whole = bundle.predict(labelled.files).probs
    cost = made.cost
    assert cost.accuracy.a == pytest.approx(15 / 20)
    assert cost.accuracy.b == pytest.approx((found.argmax(1) == labelled.targets).mean())
    assert cost.accuracy.interval.low < cost.accuracy.value < cost.accuracy.interval.high
    assert cost.worst == pytest.approx(np.abs(found - whole).max(), abs=1e-5)
    assert 1e-5 < cost.worst < worst
    assert cost.changed == (found.argmax(1) != whole.argmax(1)).sum()
    assert cost.size < 0.8
    model = onnx.load(out)
    stored = {each.key: each.value for each in model.metadata_props}
    assert json.loads(stored["budwood.precision"]) == precision
    assert json.loads(stored["budwood.cost"]) == json.loads(cost_file(out).read_text()) == as_json(cost.to_dict())
    in_fewer_bits = [each.name for each in model.graph.initializer if each.data_type == kind]
    assert in_fewer_bits
    assert all(name.startswith("network1_") for name in in_fewer_bits), "only the network is changed"
    assert "drawn pictures" in cost.words


@pytest.mark.slow
def test_the_cost_is_reduced_minus_whole(
    folder: Path,
    tmp_path: Path,
    labelled: LabelledFiles,
    other_model: Classifier,
    facts: BundleFacts,
    written_once: Callable[[Bundle], onnx.ModelProto],
) -> None:
    write_bundle(tmp_path / "other", other_model, facts)
    for place in (folder, tmp_path / "other"):
        (tmp_path / f"{place.name}.onnx").write_bytes(bundle_graph(load(place), network=written_once))
    right = float((load(tmp_path / "other").predict(labelled.files).predicted == labelled.targets).mean())
    assert right < 0.7, "this other network has to be worse for this to mean anything"
    cost = measure_cost(
        tmp_path / "bundle.onnx",
        tmp_path / "other.onnx",
        pictures=labelled,
        precision="int8",
        side=32,
        store_side=64,
    )
    assert (cost.accuracy.a, cost.accuracy.b) == pytest.approx((15 / 20, right))
    assert cost.accuracy.value == pytest.approx(right - 15 / 20)
    assert cost.accuracy.verdict == ("worse" if cost.accuracy.interval.high < 0 else "cannot tell")


def as_json(values: dict[str, object]) -> object:
    return json.loads(json.dumps(values))


def test_numbers_that_overflow_are_refused(
    folder: Path,
    tmp_path: Path,
    labelled: LabelledFiles,
    written_once: Callable[[Bundle], onnx.ModelProto],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def overflowing(bundle: Bundle) -> onnx.ModelProto:
        """The same network with a logit that is no number."""
        model = onnx.ModelProto()
        model.CopyFrom(written_once(bundle))
        last = model.graph.output[0].name
        for node in model.graph.node:
            node.output[:] = ["before" if name == last else name for name in node.output]
        nothing = onnx.numpy_helper.from_array(np.array([np.nan], np.float32), "nothing")
        model.graph.initializer.append(nothing)
        model.graph.node.append(onnx.helper.make_node("Add", ["before", "nothing"], [last]))
        return model

    monkeypatch.setattr("budwood.export.reduced.reduced_network", lambda *_, **__: overflowing)
    with pytest.raises(IntegrityError, match="overflow"):
        export_reduced(
            load(folder), tmp_path / "m.onnx", precision="fp16", pictures=labelled, network=written_once, num_pictures=2
        )
    assert not (tmp_path / "m.onnx").exists()


def test_the_cost_is_never_guessed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is in no run: give a run's folder, or pictures .* --measure"):
        export(folder, "onnx", tmp_path / "m.onnx", precision="int8")
    with pytest.raises(UsageError, match="is written in fp32"):
        export(folder, "hub", tmp_path / "hub", precision="fp16")
    with pytest.raises(UsageError, match="fp32 answers as the bundle does"):
        export(folder, "onnx", tmp_path / "m.onnx", measure=tmp_path)


def test_given_pictures_are_measured_or_set_ranges_but_never_both(folder: Path, tmp_path: Path) -> None:
    for label in ("ant", "zebra"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(5):
            place = tmp_path / "photos" / label / f"{number}.png"
            Image.new("RGB", (40, 30), (number * 9, 20, len(label))).save(place)
    bundle = load(folder)
    found = given_pictures(tmp_path / "photos", bundle)
    assert (len(found.files), len(found.training)) == (8, 2)
    assert not set(found.files) & set(found.training)
    assert [bundle.classes[k] for k in found.targets] == [file.parent.name for file in found.files]
    (tmp_path / "photos" / "ant").rename(tmp_path / "photos" / "bee")
    with pytest.raises(DataError, match="classes that the bundle does not know: bee"):
        given_pictures(tmp_path / "photos", bundle)
