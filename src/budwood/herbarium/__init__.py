"""The herbarium: a drawn data set of eight invented plant species, for the demo and the tests.

Drawn by this package alone (no assets, no network, no torch), about as hard for a frozen ImageNet net as
field photos, with planted faults whose truth is written beside. No accuracy on it speaks of real pictures.
"""

from __future__ import annotations

from budwood.herbarium.draw import Herbarium, draw_herbarium
from budwood.herbarium.faults import Fault
from budwood.herbarium.scene import draw_picture
from budwood.herbarium.species import SPECIES

__all__ = ["SPECIES", "Fault", "Herbarium", "draw_herbarium", "draw_picture"]
