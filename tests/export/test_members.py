"""Bundles of bundles: what an ensemble or a cascade answers is what its members' answers make together."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.data.preprocess import Preprocess
from budwood.errors import IntegrityError, OutputError, UsageError
from budwood.evaluation.calibrate import Calibration, apply_temperature
from budwood.evaluation.class_tree import ClassTree
from budwood.evaluation.ensemble import Combine
from budwood.export.bundle import Bundle, BundleFacts, load, write_bundle
from budwood.export.members import write_ensemble, write_joined
from budwood.export.zipped import zip_bundle
from budwood.files import write_json, write_manifest
from budwood.models.build import Classifier

ABOUT = {"training": {"recipe": "both"}, "versions": {"torch": "x"}}


@pytest.fixture
def pair(tmp_path: Path, model: Classifier, other_model: Classifier, facts: BundleFacts) -> tuple[Path, Path]:
    """Two bundles of the same classes: the second in another order, with another input and one view."""
    write_bundle(tmp_path / "a", model, facts)
    second = replace(
        facts,
        classes=("ant", "ü mouse", "zebra"),
        preprocess=Preprocess(size=48, store_side=64),
        views=(0,),
        calibration=Calibration(temperature=2.0, fitted_on="x", num_pictures=9),
    )
    write_bundle(tmp_path / "b", other_model, second)
    return tmp_path / "a", tmp_path / "b"


def arrays(paths: list[Path]) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in paths]


def test_an_ensemble_joins_by_class_name(pair: tuple[Path, Path], tmp_path: Path, pictures: list[Path]) -> None:
    whole = write_ensemble(tmp_path / "both", pair, Combine(method="weighted", weights=(0.3, 0.7)), **ABOUT)
    assert whole.facts.kind == "ensemble"
    assert whole.classes == ("zebra", "ant", "ü mouse")
    first, second = (load(path).predict(pictures).probs for path in pair)
    expected = 0.3 * first + 0.7 * second[:, [2, 0, 1]]
    np.testing.assert_allclose(whole.predict(pictures).probs, expected, atol=1e-6)
    np.testing.assert_allclose(whole.predict_images(arrays(pictures)), expected, atol=1e-6)
    with pytest.raises(ValueError, match="ensemble"):
        whole.predict_pixels(np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="ensemble"):
        _ = whole.model


def test_an_ensemble_carries_a_calibration_of_its_own(
    pair: tuple[Path, Path], tmp_path: Path, pictures: list[Path]
) -> None:
    known = Calibration(temperature=3.0, fitted_on="the validation part", num_pictures=9)
    plain = write_ensemble(tmp_path / "plain", pair, Combine(), **ABOUT).predict(pictures[:5]).probs
    whole = write_ensemble(tmp_path / "both", pair, Combine(), calibration=known, **ABOUT)
    assert whole.facts.calibration == known
    np.testing.assert_array_equal(whole.predict(pictures[:5]).probs, apply_temperature(plain, 3.0))


def test_members_are_whole_bundles_and_ensembles_can_be_members(
    pair: tuple[Path, Path], tmp_path: Path, pictures: list[Path]
) -> None:
    inner = write_ensemble(tmp_path / "inner", pair, Combine(), names=["one", "two/.."], **ABOUT)
    assert inner.facts.members == ("1-one", "2-two_..")
    member = load(inner.folder / "members" / "1-one")
    np.testing.assert_array_equal(member.predict(pictures[:3]).probs, load(pair[0]).predict(pictures[:3]).probs)
    outer = write_ensemble(tmp_path / "outer", [inner.folder, pair[0]], Combine(), **ABOUT)
    expected = (inner.predict(pictures[:3]).probs + member.predict(pictures[:3]).probs) / 2
    np.testing.assert_allclose(outer.predict(pictures[:3]).probs, expected, atol=1e-6)
    packed = load(zip_bundle(outer.folder, tmp_path / "outer.zip"))
    np.testing.assert_array_equal(packed.predict(pictures[:3]).probs, outer.predict(pictures[:3]).probs)


def test_a_cascade_multiplies_along_its_tree(
    pair: tuple[Path, Path], tmp_path: Path, two_classes: Classifier, facts: BundleFacts, pictures: list[Path]
) -> None:
    tree = ["ant", ["zebra", "ü mouse"]]
    labels = [decision.labels for decision in ClassTree(tree, classes=facts.classes).decisions]
    members = []
    for number, (names, net) in enumerate(zip(labels, (two_classes, two_classes), strict=True)):
        write_bundle(tmp_path / f"d{number}", net, replace(facts, classes=names[::-1]))
        members.append(load(tmp_path / f"d{number}"))
    whole_facts = BundleFacts(kind="cascade", classes=facts.classes, combine={"tree": tree}, **ABOUT)
    whole = write_joined(tmp_path / "tree", members, whole_facts)
    top, below = (member.predict(pictures[:6]).probs for member in members)
    found = whole.predict(pictures[:6]).probs
    np.testing.assert_allclose(found[:, 1], top[:, members[0].classes.index("ant")], atol=1e-6)
    rest = 1 - found[:, 1]
    np.testing.assert_allclose(found[:, 0], rest * below[:, members[1].classes.index("zebra")], atol=1e-5)


def test_members_that_do_not_fit_are_refused(
    pair: tuple[Path, Path], tmp_path: Path, two_classes: Classifier, facts: BundleFacts
) -> None:
    write_bundle(tmp_path / "two", two_classes, replace(facts, classes=("ant", "zebra")))
    with pytest.raises(UsageError, match='"ü mouse" is in one only'):
        write_ensemble(tmp_path / "odd", [pair[0], tmp_path / "two"], Combine(), **ABOUT)
    with pytest.raises(UsageError, match="3 weights for 2 members"):
        write_ensemble(tmp_path / "odd", pair, Combine(method="weighted", weights=(0.2, 0.2, 0.6)), **ABOUT)
    with pytest.raises(UsageError, match="at least one member"):
        write_ensemble(tmp_path / "odd", [], Combine(), **ABOUT)
    with pytest.raises(OutputError, match="already holds"):
        write_ensemble(pair[0], pair, Combine(), **ABOUT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": ["1-both", "../../a"]}, "does not hold"),
        ({"members": ["1-both"]}, "2 weights for 1 members"),
        ({"combine": {"method": "weighted", "weights": [2, -1]}}, "cannot be joined"),
        ({"combine": {"method": "magic"}}, "cannot be joined"),
        ({"kind": "cascade"}, "no class tree"),
        ({"kind": "forest"}, "kind is 'forest'"),
        ({"classes": ["ant", "zebra", "wolf"]}, '"wolf" is in one only|is in one only'),
    ],
    ids=str,
)
def test_an_ensemble_that_contradicts_itself_is_refused(
    pair: tuple[Path, Path], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    how = Combine(method="weighted", weights=(0.5, 0.5))
    folder = write_ensemble(tmp_path / "both", pair, how, names=["both", "b"], **ABOUT).folder
    values = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    write_json(folder / "bundle.json", {**values, **change})
    write_manifest(folder)
    with pytest.raises(IntegrityError, match=message):
        load(folder)


def test_a_change_inside_a_member_is_found(pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder = write_ensemble(tmp_path / "both", pair, Combine(), names=["a", "b"], **ABOUT).folder
    shutil.copy(pair[0] / "model.safetensors", folder / "members" / "2-b")
    with pytest.raises(IntegrityError, match=r"members/2-b/model\.safetensors was changed"):
        load(folder)
    write_manifest(folder)  # the outer seal renewed, the member's own is not
    with pytest.raises(IntegrityError, match=r"model\.safetensors was changed"):
        load(folder)


def test_a_bundle_asks_for_what_its_kind_needs(facts: BundleFacts) -> None:
    with pytest.raises(ValueError, match="needs a model"):
        Bundle(Path(), facts)
