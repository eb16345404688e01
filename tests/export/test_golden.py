"""What a bundle carries besides weights: calibration, golden pictures, card, earlier formats."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from budwood.errors import IntegrityError, UsageError
from budwood.evaluation.abstain import RiskThreshold
from budwood.evaluation.calibrate import Calibration, apply_temperature
from budwood.evaluation.conformal import Conformal, SetLevel
from budwood.evaluation.views import View
from budwood.export.bundle import Bundle, BundleFacts, load, write_bundle
from budwood.export.golden import golden_form, write_golden
from budwood.export.sealing import seal
from budwood.files import write_json, write_manifest
from budwood.models.build import Classifier, classifier_state

KNOWN = Calibration(
    temperature=1.8,
    fitted_on="the validation part",
    num_pictures=9,
    thresholds=(RiskThreshold(risk=0.05, threshold=0.6, coverage=0.5, num_answered=5, num_wrong=0, upper=0.05),),
    conformal=Conformal(num_pictures=9, levels=(SetLevel(coverage=0.9, lac=0.8, aps=1.0),)),
)


@pytest.fixture
def golden(tmp_path: Path, model: Classifier, facts: BundleFacts, pictures: list[Path]) -> Path:
    """A calibrated bundle with two golden pictures."""
    known = replace(facts, calibration=KNOWN, views=(0, View(scale=1.2), View(turn=3)))
    folder = tmp_path / "golden bundle"
    write_bundle(folder, model, known)
    images = [golden_form(np.asarray(Image.open(path))) for path in pictures[38:40]]
    write_golden(folder, images, Bundle(folder, known, model).predict_images(images))
    seal(folder, known)
    return folder


def test_a_calibrated_bundle_gives_out_calibrated_probabilities(
    golden: Path, model: Classifier, pictures: list[Path]
) -> None:
    bundle = load(golden)
    assert bundle.facts.calibration == KNOWN
    raw = Bundle(golden, replace(bundle.facts, calibration=None), model).predict(pictures).probs
    np.testing.assert_array_equal(bundle.predict(pictures).probs, apply_temperature(raw, 1.8))


def test_all_ways_to_ask_give_the_same_answer(golden: Path, pictures: list[Path]) -> None:
    bundle = load(golden)
    images = [np.asarray(Image.open(path)) for path in pictures]
    expected = bundle.predict(pictures).probs
    told: list[int] = []
    np.testing.assert_array_equal(bundle.predict_images(images, advance=told.append), expected)
    assert sum(told) == len(pictures)
    pixels = np.stack([bundle.preprocess.pixels(image) for image in images])
    np.testing.assert_array_equal(bundle.predict_pixels(pixels), expected)
    assert bundle.predict_images([]).shape == (0, 3)
    alone = bundle.with_views((0,)).predict(pictures).probs
    assert np.abs(alone - expected).max() > 1e-3


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
    ids=["grey", "four channels", "floats", "empty"],
)
def test_images_of_another_form_are_refused(golden: Path, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \[H, W, 3\] uint8"):
        load(golden).predict_images([image])
    with pytest.raises(ValueError, match="strip"):
        load(golden).predict_images([np.zeros((2, 300, 3), np.uint8)])


def test_decisions_follow_the_carried_thresholds(golden: Path, folder: Path, pictures: list[Path]) -> None:
    bundle = load(golden)
    probs = bundle.predict(pictures).probs
    decisions = bundle.decide(probs, risk=0.05)
    assert [d.certain for d in decisions] == (probs.max(1) >= 0.6).tolist()
    assert 0 < sum(d.certain for d in decisions) < len(decisions)
    said = [bundle.classes[row.argmax()] if row.max() >= 0.6 else None for row in probs]
    assert [d.label for d in decisions] == said
    with pytest.raises(UsageError, match="no calibration"):
        load(folder).decide(probs)


def test_other_answers_than_at_writing_are_refused_at_loading(golden: Path) -> None:
    load(golden)
    values = json.loads((golden / "golden.json").read_text())
    values["pictures"][0]["probabilities"][0] += 3e-4
    write_json(golden / "golden.json", values)
    write_manifest(golden)
    with pytest.raises(IntegrityError, match=r"a probability differs by 0\.0003, allowed is 0\.0001"):
        load(golden)


@pytest.mark.parametrize(
    "pictures_list",
    [[{"file": "../x.png", "probabilities": [1, 0, 0]}], [{"file": "golden/1.png", "probabilities": [1]}], [1], None],
    ids=["outside", "too few", "a number", "none"],
)
def test_a_damaged_list_of_golden_pictures_is_refused(golden: Path, pictures_list: object) -> None:
    write_json(golden / "golden.json", {"pictures": pictures_list})
    write_manifest(golden)
    with pytest.raises(IntegrityError, match="no list of golden pictures"):
        load(golden)


def test_golden_pictures_are_small(pictures: list[Path]) -> None:
    assert golden_form(np.zeros((600, 1200, 3), np.uint8)).shape == (128, 256, 3)
    assert golden_form(np.zeros((40, 30, 3), np.uint8)).shape == (40, 30, 3)


def test_the_card_is_plain_and_shows_class_names_as_text(tmp_path: Path, model: Classifier, facts: BundleFacts) -> None:
    hostile = ("<script>alert(1)</script>", "a|b `c` [x](http://y)", "line\nend \u202e")
    scores = {"value": 0.9, "interval": {"low": 0.8, "high": 0.95}}
    known = replace(
        facts,
        classes=hostile,
        calibration=KNOWN,
        training={"recipe": "probe", "pictures": {"train": {hostile[0]: 7}}},
        metrics={"test": {"num_pictures": 40, "accuracy": scores}, "note": "A note."},
    )
    write_bundle(tmp_path / "b", model, known)
    card = (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)<script|(?<!\\)\[x|\u202e", card)
    rows = [line for line in card.splitlines() if line.startswith("| ") and "script" in line]
    assert rows == [r"| \<script\>alert\(1\)\</script\> | 7 |"]
    for words in ("| accuracy | 0.900 | 0.800 - 0.950 |", "A note.", "Temperature 1.8", "7 in train"):
        assert words in card
    assert load(tmp_path / "b").classes == hostile


def test_bundles_of_format_1_keep_loading(tmp_path: Path, model: Classifier, facts: BundleFacts) -> None:
    old = tmp_path / "old"
    old.mkdir()
    save_file(classifier_state(model), old / "weights.safetensors")
    assert facts.spec is not None
    assert facts.preprocess is not None
    write_json(
        old / "bundle.json",
        {
            "format": 1,
            "model": facts.spec.model_dump(mode="json"),
            "classes": list(facts.classes),
            "preprocess": facts.preprocess.to_dict(),
            "views": list(facts.views),
            "training": facts.training,
            "versions": facts.versions,
        },
    )
    write_manifest(old)
    assert load(old).facts == facts
    write_bundle(tmp_path / "new", model, facts)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(load(old).predict_pixels(pixels), load(tmp_path / "new").predict_pixels(pixels))
