"""The opinion: out-of-fold, in the catalog's order, the same each time, and blind where it should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from budwood.data.audit import AuditResult
from budwood.data.opinion import Opinion
from budwood.errors import DataError
from budwood.events import Event, StepFinished, silent
from budwood.look import BlankMiddle, LookSpec, border_colours, form_opinion, ring_width
from budwood.models.backbones import Backbone
from budwood.models.build import ModelSpec, open_backbone
from budwood.prepare import Dataset, read_photos
from budwood.recipe import Recipe, load_recipe


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("probe", overrides=["head.penalties=[0.1]"])


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return open_backbone(ModelSpec())


@pytest.fixture(scope="module")
def dataset(photos: Path, recipe: Recipe) -> Dataset:
    return read_photos(photos, recipe, side=320, listen=silent)


@pytest.fixture(scope="module")
def opinion(dataset: Dataset, recipe: Recipe, backbone: Backbone) -> Opinion:
    return form_opinion(dataset, recipe, backbone=backbone)


def test_rows_are_in_the_order_of_the_usable_records(dataset: Dataset, opinion: Opinion) -> None:
    assert opinion.paths == tuple(r.path for r in dataset.catalog.records)
    assert opinion.classes == dataset.catalog.classes
    assert opinion.backbone == "lite0"
    assert opinion.border_probs is not None
    for probs in (opinion.probs, opinion.border_probs):
        np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    assert opinion.features.shape == (24, 1280)


def test_a_second_call_computes_no_feature_and_gives_the_same(
    dataset: Dataset, recipe: Recipe, backbone: Backbone, opinion: Opinion
) -> None:
    notes: dict[str, str] = {}

    def listen(event: Event) -> None:
        if isinstance(event, StepFinished):
            notes[event.step] = event.note

    again = form_opinion(dataset, recipe, backbone=backbone, listen=listen)
    assert notes["look"] == notes["look at borders"] == "from the cache"
    np.testing.assert_array_equal(again.probs, opinion.probs)
    np.testing.assert_array_equal(again.border_probs, opinion.border_probs)
    np.testing.assert_array_equal(again.folds, opinion.folds)


def test_pictures_that_belong_together_share_a_fold(dataset: Dataset, recipe: Recipe, backbone: Backbone) -> None:
    paths = [r.path for r in dataset.catalog.records]
    tied = tuple(tuple(paths[i::8]) for i in range(8))
    grouped = replace(dataset, audit=AuditResult(findings=(), groups=tied))
    folds = form_opinion(grouped, recipe, backbone=backbone, spec=LookSpec(border=False)).folds
    assert len(set(folds.tolist())) > 1
    for group in tied:
        assert len({int(folds[paths.index(path)]) for path in group}) == 1


def test_no_answer_comes_from_a_head_that_saw_the_picture(dataset: Dataset, recipe: Recipe, backbone: Backbone) -> None:
    """With labels at random, a head that had seen the pictures would know them all: there are far more features."""
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(4):
        labels = rng.permutation([r.label for r in dataset.catalog.records]).tolist()
        records = tuple(replace(r, label=x) for r, x in zip(dataset.catalog.records, labels, strict=True))
        mixed = replace(dataset, catalog=replace(dataset.catalog, records=records))
        found = form_opinion(mixed, recipe, backbone=backbone, spec=LookSpec(border=False))
        hits.append((found.probs.argmax(1) == mixed.catalog.targets).mean())
    assert np.mean(hits) < 0.6  # chance is 1/3; seen pictures give 1


def test_without_the_border_nothing_is_said_of_it(dataset: Dataset, recipe: Recipe, backbone: Backbone) -> None:
    found = form_opinion(dataset, recipe, backbone=backbone, spec=LookSpec(border=False))
    assert found.border_probs is None
    assert found.border_colours is None


def test_one_class_is_refused(dataset: Dataset, recipe: Recipe, backbone: Backbone) -> None:
    first = dataset.catalog.records[0].label
    records = tuple(r for r in dataset.catalog.records if r.label == first)
    with pytest.raises(DataError, match="two classes"):
        form_opinion(replace(dataset, catalog=replace(dataset.catalog, records=records)), recipe, backbone=backbone)


class Seen(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


def test_the_middle_cannot_be_told_from_a_blanked_picture() -> None:
    size = 64
    ring = ring_width(size)
    pictures = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    pictures[1, :, :ring], pictures[1, :, -ring:] = pictures[0, :, :ring], pictures[0, :, -ring:]
    pictures[1, :, :, :ring], pictures[1, :, :, -ring:] = pictures[0, :, :, :ring], pictures[0, :, :, -ring:]
    before = pictures.clone()
    first, second = BlankMiddle(Seen(), size=size)(pictures)
    assert torch.equal(first, second)  # one border, two middles
    assert torch.equal(first[:, :ring], before[0, :, :ring])  # the border itself is untouched
    assert torch.equal(pictures, before)
    assert float(first[:, ring:-ring, ring:-ring].std(dim=(1, 2)).max()) == pytest.approx(0, abs=1e-6)
    assert 0.5 < (size - 2 * ring) ** 2 / size**2 < 0.6


def test_border_colours_do_not_see_the_middle() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 48, 48, 3)).astype(np.uint8)
    pixels[1] = pixels[0]
    ring = ring_width(48)
    pixels[1, ring:-ring, ring:-ring] = 0
    one, other = border_colours(pixels)
    np.testing.assert_array_equal(one, other)
    assert one.shape == (27,)
    np.testing.assert_allclose(one[:3], pixels[0, :ring, :ring].mean((0, 1)), rtol=1e-5)
