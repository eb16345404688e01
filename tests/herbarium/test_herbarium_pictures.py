"""Single pictures: deterministic, different between species, in range at every size."""

import numpy as np
import pytest

from budwood.errors import UsageError
from budwood.herbarium import SPECIES, draw_picture
from budwood.herbarium.leaf import grow_leaf, place
from budwood.herbarium.paint import Light, Look, paint_leaf
from budwood.herbarium.scene import HABITS
from budwood.herbarium.species import TRAITS


@pytest.mark.parametrize("species", SPECIES)
def test_equal_seeds_give_equal_pictures_and_others_differ(species):
    first = draw_picture(species, seed=3, size=48)
    assert first.shape == (48, 48, 3)
    assert first.dtype == np.uint8
    assert first.std() > 5
    assert np.array_equal(first, draw_picture(species, seed=3, size=48))
    assert not np.array_equal(first, draw_picture(species, seed=4, size=48))


def test_pictures_of_all_species_differ_for_one_seed():
    assert len({draw_picture(name, seed=1, size=32).tobytes() for name in SPECIES}) == len(SPECIES)


def test_eight_species_of_which_two_are_rare():
    assert len(SPECIES) == 8
    assert sum(TRAITS[name].weight < 1 for name in SPECIES) == 2
    assert {habit for traits in TRAITS.values() for habit in traits.habits} == set(HABITS)


@pytest.mark.parametrize(("species", "size", "said"), [("rosa", 32, "rosa"), (SPECIES[0], 8, "8 px")])
def test_unknown_species_and_tiny_sizes_are_refused(species, size, said):
    with pytest.raises(UsageError, match=said):
        draw_picture(species, seed=0, size=size)


@pytest.mark.parametrize("species", SPECIES)
def test_leaves_have_finite_outlines_of_about_unit_length(species):
    leaf = grow_leaf(TRAITS[species], np.random.default_rng(0))
    points = np.concatenate([blade.outline for blade in leaf.blades])
    assert np.isfinite(points).all()
    assert 0.8 < np.ptp(points[:, 0]) < 1.5


def test_placing_turns_scales_and_shifts():
    leaf = grow_leaf(TRAITS[SPECIES[1]], np.random.default_rng(0))
    placed = place(leaf, at=np.array([50.0, 20.0]), angle=np.pi / 2, length=10, bend=0, tilt=0)
    assert placed.blades[0].midrib[0] == pytest.approx([50, 20])
    assert placed.blades[0].midrib[-1] == pytest.approx([50, 20 + 10 * leaf.blades[0].midrib[-1, 0]])


def test_painting_changes_nothing_far_from_the_leaf():
    generator = np.random.default_rng(0)
    canvas = np.full((200, 200, 3), 0.5, np.float32)
    leaf = grow_leaf(TRAITS[SPECIES[1]], generator)
    leaf = place(leaf, at=np.array([15.0, 40.0]), angle=0, length=60, bend=0, tilt=0)
    green = np.array([0.3, 0.5, 0.2], np.float32)
    look = Look(colour=green, length=60, vein=0.4, relief=0.5, gloss=0.2)
    paint_leaf(canvas, leaf, look, Light(x=1, y=0, hardness=0.5), generator)
    assert (canvas[:, 100:] == 0.5).all()
    assert (canvas[100:] == 0.5).all()
    assert canvas[40, 40, 1] > canvas[40, 40, 2]
