"""Nested parts of the training part, and the command: the test part is never asked."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budwood.cli import learning_curve as command
from budwood.data.loader import PixelSet
from budwood.data.records import Catalog, ImageRecord
from budwood.errors import SettingsError
from budwood.learning_curve import learning_curve, nested_parts
from budwood.recipe import load_recipe


def part_of_groups(sizes: list[int]) -> tuple[PixelSet, SimpleNamespace]:
    """Two classes; the pictures of each group (of these sizes, class by class in turn) show one thing."""
    label, group = [], []
    for number, size in enumerate(sizes):
        label += [number % 2] * size
        group += [number] * size
    records = tuple(ImageRecord(path=f"{i:03}.jpg", label="ab"[k], pixel_digest=str(i)) for i, k in enumerate(label))
    catalog = Catalog(root=Path(), records=records, classes=("a", "b"))
    groups = tuple(tuple(records[i].path for i in np.flatnonzero(np.array(group) == g)) for g in range(len(sizes)))
    pixels = PixelSet(
        pixels=np.zeros((len(label), 1, 1, 3), np.uint8),
        targets=np.array(label),
        paths=tuple(record.path for record in records),
        rows=np.arange(len(label)),
    )
    dataset = SimpleNamespace(catalog=catalog, audit=SimpleNamespace(groups=[g for g in groups if len(g) > 1]))
    return pixels, dataset


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=8, max_size=30), st.integers(0, 1000))
def test_each_part_holds_the_smaller_one_every_class_and_whole_groups(sizes: list[int], seed: int) -> None:
    train, dataset = part_of_groups(sizes)
    parts = nested_parts(train, dataset, (0.25, 0.5, 1.0), seed=seed)
    rows = [set(part.rows.tolist()) for part in parts]
    assert rows[0] <= rows[1] <= rows[2] == set(train.rows.tolist())
    for part, own in zip(parts, rows, strict=True):
        assert set(part.labels) == {0, 1}
        for group in dataset.audit.groups:
            members = {train.paths.index(path) for path in group}
            assert members <= own or not members & own
    again = nested_parts(train, dataset, (0.25, 0.5, 1.0), seed=seed)
    assert [part.rows.tolist() for part in again] == [part.rows.tolist() for part in parts]


def test_the_command_draws_a_curve_and_leaves_the_test_part_alone(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page, numbers = tmp_path / "curve.html", tmp_path / "curve.json"
    command.run(photos, sizes="0.3,0.6,1", repeats=2, html=page, json=numbers, tiny=True, threads=1)
    said = capsys.readouterr().out
    assert "pictures" in said
    assert "test part was not looked at" in said
    assert not (tmp_path / ".budwood").exists()
    values = json.loads(numbers.read_text())
    assert len(values["points"]) == 3
    assert [len(point["repeats"]) for point in values["points"]] == [2, 2, 2]
    assert "</svg>" in page.read_text()


@pytest.mark.parametrize("sizes", [(0.5, 1.0), (0.0, 0.5, 1.0), (0.5, 1.0, 1.5)])
def test_sizes_that_make_no_curve_are_refused_before_a_picture_is_read(sizes: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError, match="expected three or more shares"):
        learning_curve("no such folder", recipe=load_recipe("probe", tiny=True), sizes=sizes)
