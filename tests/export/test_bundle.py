"""The bundle: what is loaded is what was written, and answers do not depend on how they are asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from budwood.data.copies.duplicates import dihedral
from budwood.errors import IntegrityError, UnreadableImage, UsageError
from budwood.export import sealing
from budwood.export.bundle import FORMAT, Bundle, BundleFacts, load, read_facts, write_bundle
from budwood.files import write_json, write_manifest
from budwood.models.build import Classifier, ModelSpec, attach_head, classifier_state, open_backbone

SPEC = ModelSpec(backbone="test_efficientnet", pretrained=False)
FILES = {"README.md", "bundle.json", "manifest.json", "model.safetensors"}


def test_weights_and_facts_come_back_to_the_bit(folder: Path, model: Classifier, facts: BundleFacts) -> None:
    loaded = load(folder)
    expected, own = model.state_dict(), loaded.model.state_dict()
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], expected[name]) for name in own)
    assert loaded.facts == facts
    assert loaded.classes == ("zebra", "ant", "ü mouse")
    assert not loaded.model.training


def test_bundle_is_safetensors_and_json_only(folder: Path, model: Classifier) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    assert load_file(folder / "model.safetensors").keys() == classifier_state(model).keys()
    assert json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["format"] == FORMAT


def test_answer_does_not_depend_on_how_many_are_asked_for(folder: Path, pictures: list[Path]) -> None:
    bundle = load(folder)
    together = bundle.predict(pictures)
    assert np.ptp(together.probs, axis=0).max() > 0.1
    for i in (0, 13, 39):
        alone = bundle.predict([pictures[i]])
        np.testing.assert_allclose(alone.probs[0], together.probs[i], atol=1e-6)
    backwards = bundle.predict(pictures[::-1])
    np.testing.assert_allclose(backwards.probs[::-1], together.probs, atol=1e-6)
    again = load(folder).predict(pictures)
    np.testing.assert_array_equal(again.probs, together.probs)


def test_answer_is_the_mean_over_the_views_of_the_plain_network(
    folder: Path, model: Classifier, pictures: list[Path], facts: BundleFacts
) -> None:
    answers = load(folder).predict(pictures[:5])
    pixels = [facts.preprocess.pixels(np.asarray(Image.open(path))) for path in pictures[:5]]
    probs = []
    with torch.no_grad():
        for view in facts.views:
            turned = torch.from_numpy(np.stack([dihedral(picture, view) for picture in pixels]).copy())
            probs.append(model(facts.preprocess.normalise(turned)).double().softmax(1).numpy())
    assert np.abs(probs[0] - probs[1]).max() > 1e-3
    np.testing.assert_allclose(answers.probs, np.mean(probs, axis=0), atol=1e-5)
    np.testing.assert_allclose(answers.probs.sum(1), 1, atol=1e-6)
    assert answers.classes == facts.classes
    assert answers.paths == tuple(str(path) for path in pictures[:5])


def test_no_pictures_give_no_answers(folder: Path) -> None:
    answers = load(folder).predict([])
    assert answers.probs.shape == (0, 3)


def test_unreadable_files_are_named_and_the_others_answered(folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(pictures[0].read_bytes()[:100])
    bad = [tmp_path / "text.png", tmp_path / "cut.png", tmp_path / "none.png"]
    asked = [pictures[0], bad[0], *pictures[1:36], bad[1], bad[2], pictures[36]]
    bundle = load(folder)
    counts: list[int] = []
    answers, unreadable = bundle.predict_files(asked, advance=counts.append)
    assert [entry.path for entry in unreadable] == [str(path) for path in bad]
    assert all(entry.reason for entry in unreadable)
    assert answers.paths == tuple(str(path) for path in pictures[:37])
    assert sum(counts) == len(asked)
    np.testing.assert_allclose(answers.probs, bundle.predict(pictures[:37]).probs, atol=1e-6)
    with pytest.raises(UnreadableImage, match=r"3 of 40 files cannot be read, first .*text\.png"):
        bundle.predict(asked)


def test_only_unreadable_files_give_an_empty_table(folder: Path, tmp_path: Path) -> None:
    answers, unreadable = load(folder).predict_files([tmp_path / "none.png"])
    assert answers.probs.shape == (0, 3)
    assert len(unreadable) == 1


def test_folder_of_a_run_is_taken_for_its_bundle(folder: Path) -> None:
    assert load(folder.parent).folder == folder
    assert load(str(folder)).folder == folder


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_changed_byte_is_refused(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    for at in (0, len(data) // 2, len(data) - 1):
        (folder / name).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(IntegrityError):
            load(folder)
    (folder / name).write_bytes(data[:-1])
    with pytest.raises(IntegrityError):
        load(folder)
    (folder / name).write_bytes(data)
    load(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises((IntegrityError, UsageError), match="bundle"):
        load(folder)


@pytest.mark.parametrize("name", ["extra.txt", "deep/extra.json", ".hidden"])
def test_every_added_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    with pytest.raises(IntegrityError, match="not listed"):
        load(folder)


def test_weights_of_another_bundle_are_refused(
    folder: Path, tmp_path: Path, model: Classifier, facts: BundleFacts
) -> None:
    other = attach_head(open_backbone(SPEC), num_classes=3, dropout=0)
    write_bundle(tmp_path / "other", other, facts)
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(IntegrityError, match=r"model\.safetensors was changed"):
        load(folder)


def sealed(folder: Path, change: Callable[[dict[str, object]], object]) -> Path:
    """Change the facts and seal the folder again, as a newer or a wrong program would write it."""
    values = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    change(values)
    write_json(folder / "bundle.json", values)
    write_manifest(folder)
    return folder


def test_newer_format_says_update(folder: Path) -> None:
    sealed(folder, lambda values: values.update(format=FORMAT + 1, novelty=1, model={}))
    with pytest.raises(IntegrityError, match="format 3, this Budwood reads 2: update it"):
        load(folder)


@pytest.mark.parametrize(
    "key",
    ["format", "kind", "model", "classes", "preprocess", "views", "average", "calibration", "metrics", "versions"],
)
def test_missing_fact_is_refused(folder: Path, key: str) -> None:
    sealed(folder, lambda values: values.pop(key))
    with pytest.raises(IntegrityError, match="does not describe a bundle"):
        read_facts(folder)


@pytest.mark.parametrize(
    "change",
    [{"model": {"backbone": 3}}, {"model": {"surprise": 1}}, {"preprocess": {"size": 32}}, {"views": None}],
    ids=str,
)
def test_wrong_fact_is_refused(folder: Path, change: dict[str, object]) -> None:
    sealed(folder, lambda values: values.update(change))
    with pytest.raises(IntegrityError, match="does not describe a bundle"):
        read_facts(folder)


def test_weights_that_do_not_fit_the_description_are_refused(folder: Path, facts: BundleFacts) -> None:
    sealed(folder, lambda values: values.update(classes=["a", "b"]))
    with pytest.raises(IntegrityError, match="do not fit their own description"):
        load(folder)
    state = load_file(folder / "model.safetensors")
    sealed(folder, lambda values: values.update(classes=list(facts.classes)))
    save_file({name: value for name, value in state.items() if name != "head.bias"}, folder / "model.safetensors")
    write_manifest(folder)
    with pytest.raises(IntegrityError, match="do not fit their own description"):
        load(folder)


def test_place_without_a_bundle_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no bundle"):
        load(tmp_path)
    with pytest.raises(UsageError, match="is no bundle"):
        load(tmp_path / "nowhere")


def test_half_written_bundle_is_refused(
    tmp_path: Path, model: Classifier, monkeypatch: pytest.MonkeyPatch, facts: BundleFacts
) -> None:
    def stop(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sealing, "write_manifest", stop)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "bundle", model, facts)
    with pytest.raises(IntegrityError, match=r"manifest\.json is missing"):
        load(tmp_path / "bundle")


def test_writing_does_not_change_the_model(tmp_path: Path, model: Classifier, facts: BundleFacts) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    write_bundle(tmp_path / "bundle", model, facts)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_bfloat16_weights_are_written_as_float32(tmp_path: Path, facts: BundleFacts) -> None:
    half = attach_head(open_backbone(SPEC), num_classes=3, dropout=0).to(torch.bfloat16)
    write_bundle(tmp_path / "bundle", half, facts)
    state = load(tmp_path / "bundle").model.state_dict()
    assert all(torch.equal(state[name], value.to(state[name].dtype)) for name, value in half.state_dict().items())


def test_loading_asks_no_network_and_no_weights_file(tmp_path: Path, model: Classifier, facts: BundleFacts) -> None:
    other = replace(facts, spec=SPEC.model_copy(update={"pretrained": True, "weights": "/gone/weights.pth"}))
    write_bundle(tmp_path / "bundle", model, other)
    assert isinstance(load(tmp_path / "bundle"), Bundle)
