"""Damaged and hostile bundles: refused in words, or what they were; never a crash, never another answer, no pickle."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from budwood.errors import BudwoodError
from budwood.evaluation.calibrate import fit_calibration
from budwood.evaluation.ensemble import Combine
from budwood.evaluation.predictions import Predictions
from budwood.export.bundle import Bundle, BundleFacts, load, write_bundle
from budwood.export.golden import golden_form, write_golden
from budwood.export.members import write_ensemble
from budwood.export.sealing import seal
from budwood.files import write_manifest
from budwood.models.build import Classifier

ODD = [
    None,
    True,
    0,
    -1,
    2,
    0.5,
    1e308,
    -1e308,
    10**30,
    "",
    "x",
    "../..",
    "\x00",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    "é" * 99,
]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    model: Classifier,
    other_model: Classifier,
    facts: BundleFacts,
    pictures: list[Path],
) -> Path:
    """An ensemble of two calibrated bundles with golden pictures: every kind of file that a bundle has.

    Its first member also lies beside it: most mutations go there, which takes half the time.
    """
    root = tmp_path_factory.mktemp("whole")
    images = [golden_form(np.asarray(Image.open(path))) for path in pictures[:2]]
    for name, net in (("a", model), ("b", other_model)):
        plain = Bundle(root / name, facts, net).predict(pictures)
        labelled: Predictions = replace(plain, targets=np.arange(len(plain)) % 3)
        known = replace(facts, views=(4,), calibration=fit_calibration(labelled, fitted_on="drawn pictures"))
        write_bundle(root / name, net, known)
        write_golden(root / name, images, Bundle(root / name, known, net).predict_images(images))
        seal(root / name, known)
    about = {"training": {}, "versions": {}}
    return write_ensemble(root / "whole", [root / "a", root / "b"], Combine(), names=["a", "b"], **about).folder


def flip(folder: Path, file: Path, rng: np.random.Generator) -> None:
    data = bytearray(file.read_bytes())
    for at in rng.integers(0, len(data), size=int(rng.integers(1, 5))):
        data[at] ^= 1 << int(rng.integers(8))
    file.write_bytes(data)


def cut(folder: Path, file: Path, rng: np.random.Generator) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(rng.integers(len(data)))])


def lengthen(folder: Path, file: Path, rng: np.random.Generator) -> None:
    file.write_bytes(file.read_bytes() + rng.bytes(int(rng.integers(1, 9))))


def remove(folder: Path, file: Path, rng: np.random.Generator) -> None:
    file.unlink()


def add(folder: Path, file: Path, rng: np.random.Generator) -> None:
    name = ["more.json", "model.pt", ".hidden", "golden/9.png", "weights.safetensors"][int(rng.integers(5))]
    (file.parent / name).parent.mkdir(exist_ok=True)
    (file.parent / name).write_bytes(rng.bytes(20))


def swap(folder: Path, file: Path, rng: np.random.Generator) -> None:
    others = sorted(p for p in folder.rglob("*") if p.is_file())
    other = others[int(rng.integers(len(others)))]
    mine, its = file.read_bytes(), other.read_bytes()
    file.write_bytes(its)
    other.write_bytes(mine)


CHANGES: list[Callable[[Path, Path, np.random.Generator], None]] = [flip, flip, cut, lengthen, remove, add, swap]


def odd_value(values: Any, rng: np.random.Generator) -> Any:
    """JSON values with one of them, at a random place, replaced, removed or added."""
    if isinstance(values, dict | list) and values and rng.random() < 0.85:
        keys = list(values) if isinstance(values, dict) else range(len(values))
        key = list(keys)[int(rng.integers(len(keys)))]
        if rng.random() < 0.1:
            del values[key]
        else:
            values[key] = odd_value(values[key], rng)
        return values
    return copy.deepcopy(ODD[int(rng.integers(len(ODD)))])


def resealed(folder: Path, file: Path, rng: np.random.Generator) -> None:
    """Damage as a person with bad intentions does it: the manifests are made anew."""
    if file.suffix == ".json" and file.name != "manifest.json":
        file.write_text(json.dumps(odd_value(json.loads(file.read_text()), rng)))
    else:
        CHANGES[int(rng.integers(len(CHANGES)))](folder, file, rng)
    for inner in (*sorted(folder.glob("members/*/")), folder):
        write_manifest(inner)


def outcome(folder: Path, images: list[np.ndarray]) -> np.ndarray | None:
    """The answers, or None where the bundle is refused in words; anything else fails the test."""
    try:
        return load(folder).predict_images(images)
    except BudwoodError:
        return None


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("count", [30, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_bundles_are_refused_or_answer_the_same(
    count: int, whole: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    images = [np.asarray(Image.open(path)) for path in pictures[2:4]]
    alone = whole.parent / "a"
    expected = {place: outcome(place, images) for place in (whole, alone)}
    assert all(answers is not None for answers in expected.values())
    refused = 0
    for number in range(count):
        rng = np.random.default_rng(number)
        place = whole if number % 10 < 2 else alone
        folder = Path(shutil.copytree(place, tmp_path / "mutated"))
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        file = files[int(rng.integers(len(files)))]
        with_manifest = number % 2 == 1
        change = resealed if with_manifest else CHANGES[int(rng.integers(len(CHANGES)))]
        change(folder, file, rng)
        found = outcome(folder, images)
        refused += found is None
        if found is not None and not with_manifest:
            np.testing.assert_array_equal(found, expected[place])
        if found is not None:  # a new seal over plausible values cannot be told, but answers are probabilities
            assert np.isfinite(found).all()
            np.testing.assert_allclose(found.sum(1), 1, atol=1e-3)
        shutil.rmtree(folder)
    assert refused > 0.5 * count


class Exploit:
    """What unpickling would call."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def exploits(mark: Path) -> dict[str, bytes]:
    """Pickles in the forms in which weights are passed around."""
    plain = [pickle.dumps(Exploit(mark), protocol=p) for p in range(6)]
    saved, arrays, listed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save(Exploit(mark), saved)
    np.savez(arrays, np.array([Exploit(mark)], dtype=object))
    np.save(listed, np.array([Exploit(mark)], dtype=object))
    forms = {f"protocol {p}": data for p, data in enumerate(plain)}
    return {**forms, "torch": saved.getvalue(), "npz": arrays.getvalue(), "npy": listed.getvalue()}


@pytest.mark.parametrize("name", ["model.safetensors", "weights.safetensors", "model.pt", "weights.npz", "bundle.json"])
def test_no_pickle_is_ever_opened(name: str, folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    forms = exploits(mark)
    pickle.loads(forms["protocol 4"])  # it does what it says
    assert mark.exists()
    mark.unlink()
    ignored = name in ("model.pt", "weights.npz")  # under a seal of its own such a file is there, and never opened
    if name == "weights.safetensors":  # what format 1 called them; read where there are no newer ones
        (folder / "model.safetensors").unlink()
    for data in forms.values():
        (folder / name).write_bytes(data)
        for seal_again in (False, True):
            if seal_again:
                write_manifest(folder)
            with contextlib.nullcontext() if ignored and seal_again else pytest.raises(BudwoodError):
                load(folder)
        assert not mark.exists()


def test_weights_that_are_no_numbers_are_refused(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    for value in (float("nan"), float("inf")):
        save_file({**state, "head.bias": torch.full((3,), value)}, folder / "model.safetensors")
        write_manifest(folder)
        with pytest.raises(BudwoodError, match=r"head\.bias are infinite or not a number"):
            load(folder)


def test_a_description_of_a_vast_network_costs_nothing(folder: Path) -> None:
    values = json.loads((folder / "bundle.json").read_text())
    for change in ({"backbone": "vit_giant_patch14_224"}, {"top": ["dense 16384", "dense 16384", "dense 16384"]}):
        hostile = {**values, "model": {**values["model"], **change}}
        (folder / "bundle.json").write_text(json.dumps(hostile))
        write_manifest(folder)
        with pytest.raises(BudwoodError, match=r"do not fit|does not describe"):
            load(folder)
