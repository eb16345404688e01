"""The eight invented species: what their leaves look like. Data only; `leaf.py` grows leaves from it.

Species come in pairs that a net can take for one another: round and heart-shaped, lance-shaped and linear,
palmate and oak-like, ovate and pinnate with ovate leaflets. Colours overlap on purpose: the outline decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Venation = Literal["pinnate", "palmate", "parallel"]
Habit = Literal["single", "scattered", "rosette", "twig"]
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """One species. Lengths are in blade lengths: the blade runs from (0, 0) to its tip at about (1, 0).

    ``half`` lists the corners of the outline's right half (y >= 0) from base to tip; ``roundness`` smooths
    them. ``colour`` is RGB in 0..1; ``vein`` (contrast), ``relief`` and ``gloss`` are strengths in 0..1.
    ``size`` is the blade's length in picture sides. ``leaflets`` counts pairs of leaflets (0: a simple leaf).
    ``weight`` is the species' share of the pictures, the common ones having 1.

    The numbers were set once by eye and by a frozen-net probe; changing one changes the demo's results.
    """

    half: Points
    roundness: float
    teeth: int
    tooth_depth: float
    venation: Venation
    num_veins: int
    vein_angle: float
    colour: tuple[float, float, float]
    vein: float
    relief: float
    gloss: float
    size: float
    habits: tuple[Habit, ...]
    leaflets: int = 0
    stem: float = 0.25
    weight: float = 1.0


RARE_WEIGHT = 0.26  # 480 pictures: about 67 of each common species, 17 of each rare one

# fmt: off
_PALMATE: Points = (
    (0, 0), (-0.07, 0.07), (-0.2, 0.36), (0.0, 0.33), (0.11, 0.2), (0.22, 0.44), (0.48, 0.66),
    (0.45, 0.38), (0.36, 0.16), (0.54, 0.24), (0.7, 0.19), (1, 0),
)
_OAK: Points = (
    (0, 0), (0.08, 0.05), (0.14, 0.15), (0.23, 0.19), (0.28, 0.1), (0.31, 0.09), (0.34, 0.2),
    (0.43, 0.3), (0.51, 0.24), (0.49, 0.12), (0.54, 0.11), (0.6, 0.25), (0.7, 0.32), (0.78, 0.24),
    (0.75, 0.13), (0.8, 0.13), (0.88, 0.2), (0.97, 0.13), (1, 0),
)
# fmt: on

TRAITS: dict[str, Traits] = {
    "acer_fictum": Traits(
        half=_PALMATE,
        roundness=0.012,
        teeth=13,
        tooth_depth=0.045,
        venation="palmate",
        num_veins=3,
        vein_angle=0.8,
        colour=(0.33, 0.47, 0.17),
        vein=0.45,
        relief=0.5,
        gloss=0.25,
        size=0.5,
        habits=("single", "single", "scattered", "scattered", "twig", "rosette"),
        stem=0.5,
    ),
    "betula_serrula": Traits(
        half=((0, 0), (0.04, 0.12), (0.15, 0.27), (0.32, 0.33), (0.55, 0.25), (0.78, 0.11), (1, 0)),
        roundness=0.05,
        teeth=17,
        tooth_depth=0.035,
        venation="pinnate",
        num_veins=7,
        vein_angle=0.75,
        colour=(0.35, 0.48, 0.18),
        vein=0.4,
        relief=0.6,
        gloss=0.2,
        size=0.46,
        habits=("single", "scattered", "twig", "twig"),
        stem=0.3,
    ),
    "festuca_vana": Traits(
        half=((0, 0), (0.05, 0.035), (0.3, 0.05), (0.6, 0.05), (0.85, 0.03), (1, 0)),
        roundness=0.04,
        teeth=0,
        tooth_depth=0.0,
        venation="parallel",
        num_veins=2,
        vein_angle=0.0,
        colour=(0.36, 0.5, 0.2),
        vein=0.3,
        relief=0.45,
        gloss=0.3,
        size=0.72,
        habits=("rosette", "rosette", "rosette", "twig", "scattered", "single"),
        stem=0.06,
    ),
    "quercus_undosa": Traits(
        half=_OAK,
        roundness=0.02,
        teeth=0,
        tooth_depth=0.0,
        venation="pinnate",
        num_veins=5,
        vein_angle=0.8,
        colour=(0.31, 0.44, 0.17),
        vein=0.5,
        relief=0.5,
        gloss=0.4,
        size=0.52,
        habits=("single", "scattered", "scattered", "twig", "rosette"),
        stem=0.12,
    ),
    "salix_umbratica": Traits(
        half=((0, 0), (0.06, 0.035), (0.2, 0.085), (0.4, 0.105), (0.65, 0.08), (0.85, 0.035), (1, 0)),
        roundness=0.05,
        teeth=26,
        tooth_depth=0.008,
        venation="pinnate",
        num_veins=9,
        vein_angle=0.6,
        colour=(0.35, 0.48, 0.22),
        vein=0.5,
        relief=0.45,
        gloss=0.35,
        size=0.56,
        habits=("twig", "twig", "scattered", "rosette", "rosette", "single"),
        stem=0.1,
    ),
    "tilia_cordella": Traits(
        half=(
            (0, 0),
            (-0.13, 0.08),
            (-0.19, 0.24),
            (-0.06, 0.42),
            (0.2, 0.47),
            (0.48, 0.35),
            (0.74, 0.12),
            (1, 0),
        ),
        roundness=0.04,
        teeth=20,
        tooth_depth=0.018,
        venation="pinnate",
        num_veins=5,
        vein_angle=0.85,
        colour=(0.32, 0.48, 0.18),
        vein=0.45,
        relief=0.55,
        gloss=0.2,
        size=0.46,
        habits=("single", "scattered", "twig", "rosette"),
        stem=0.5,
    ),
    "nummula_rotunda": Traits(
        half=(
            (0, 0),
            (-0.08, 0.1),
            (-0.07, 0.3),
            (0.14, 0.48),
            (0.43, 0.52),
            (0.7, 0.42),
            (0.87, 0.23),
            (0.93, 0),
        ),
        roundness=0.05,
        teeth=11,
        tooth_depth=0.016,
        venation="pinnate",
        num_veins=4,
        vein_angle=0.85,
        colour=(0.33, 0.5, 0.19),
        vein=0.35,
        relief=0.45,
        gloss=0.35,
        size=0.38,
        habits=("scattered", "twig", "rosette", "rosette", "single"),
        stem=0.55,
        weight=RARE_WEIGHT,
    ),
    "sorbus_pinnula": Traits(
        half=((0, 0), (0.05, 0.1), (0.2, 0.19), (0.45, 0.21), (0.75, 0.12), (1, 0)),
        roundness=0.05,
        teeth=13,
        tooth_depth=0.03,
        venation="pinnate",
        num_veins=6,
        vein_angle=0.7,
        colour=(0.33, 0.46, 0.18),
        vein=0.4,
        relief=0.5,
        gloss=0.25,
        size=0.66,
        habits=("single", "single", "scattered", "twig", "rosette"),
        leaflets=5,
        stem=0.2,
        weight=RARE_WEIGHT,
    ),
}

SPECIES: tuple[str, ...] = tuple(TRAITS)
