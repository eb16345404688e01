"""`CleanSpec`: which checks may leave pictures out, thin out copies or give new labels; `clean.py` carries it out."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from budwood.data import checks

# Checks whose findings are groups of copies, the most certain first.
COPIES = ("conflicting_labels", "exact_duplicate", "repeated_picture", "near_duplicate")
CERTAIN = (*COPIES, "unreadable")  # what they say is a fact of the files: it holds for every part
OPINIONS = ("label_error", "outlier")  # these come from a network
FATES = ("exclude", "keep_one", "relabel")
LOOKS = ("blurred", "colour_cast", "low_contrast", "odd_aspect", "odd_dimensions", "odd_mode", "shadow")


class CleanSpec(BaseModel):
    """The policy: what happens to the pictures that a check finds. Checks that are not named change nothing.

    exclude: leave out every picture that these checks name.
    keep_one: of each group of copies keep the largest picture, else the first by path.
    relabel: take the class that the check suggests (``label_error``), from ``certainty`` on.
    certainty: 0.5-1; the least score of a finding that relabels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exclude: tuple[str, ...] = ()
    keep_one: tuple[str, ...] = ()
    relabel: tuple[str, ...] = ()
    certainty: float = Field(default=0.98, ge=0.5, le=1.0)

    @field_validator("exclude", "keep_one", "relabel")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return refuse_unknown(names)

    @model_validator(mode="after")
    def _one_fate_each(self) -> CleanSpec:
        for name, times in Counter([*self.exclude, *self.keep_one, *self.relabel]).items():
            if times > 1:
                raise ValueError(f"{name} stands in two of exclude, keep_one and relabel: choose one")
        for name in self.keep_one:
            if name not in COPIES:
                raise ValueError(f"keep_one is for copies ({', '.join(COPIES)}), and {name} finds single pictures")
        for name in self.relabel:
            if name != "label_error":
                raise ValueError(f"relabel is for label_error, and {name} suggests no class")
        return self

    def fate(self, check: str) -> str:
        """``exclude``, ``keep_one``, ``relabel`` or ``keep``."""
        return next((fate for fate in FATES if check in getattr(self, fate)), "keep")

    def changed(self, **names: Iterable[str]) -> dict[str, list[str] | float]:
        """These settings with some checks moved to another fate, as values for a new `CleanSpec`.

        Args:
            names: checks for ``exclude``, ``keep_one``, ``relabel`` or ``keep``, which is no list of its own.
        """
        moved = {name for some in names.values() for name in some}
        values: dict[str, list[str] | float] = {"certainty": self.certainty}
        for fate in FATES:
            stay = [name for name in getattr(self, fate) if name not in moved]
            values[fate] = [*stay, *names.get(fate, ())]
        return values

    @property
    def is_off(self) -> bool:
        """Whether nothing but a person's decisions is applied."""
        return not (self.exclude or self.keep_one or self.relabel)


def known_checks() -> tuple[str, ...]:
    """The names that a policy may use: all registered checks."""
    registered: set[str] = {*CERTAIN, *OPINIONS, *LOOKS}
    for name, value in vars(checks).items():
        if name.isupper() and name.endswith("CHECKS") and isinstance(value, dict):
            registered |= set(value)
    return tuple(sorted(registered))


def refuse_unknown(names: Iterable[str]) -> tuple[str, ...]:
    """``names``, each once.

    Raises:
        ValueError: one is the name of no check; names the nearest.
    """
    known = known_checks()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ValueError(f'there is no check "{name}"; did you mean "{near}"?')
    return tuple(dict.fromkeys(names))


# What `budwood clean` does unless told otherwise; for `fit` nothing is the default.
TIDY = CleanSpec(exclude=("conflicting_labels",), keep_one=("exact_duplicate", "repeated_picture"))
