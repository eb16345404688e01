"""Why a model answers as it does, as values for a page: what it still knows with parts covered, and maps of where.

From the ``explain`` folder of a run, or made by `explaining` for new pictures. No model is run here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budwood.errors import IntegrityError
from budwood.evaluation.controls import Controls
from budwood.files import read_json
from budwood.report.drawing import NARROW, WIDE, dot, name_rows, named, percent_axis, percent_text, rows_figure
from budwood.report.svg import AMBER, INK, LEAF, MUTED, page_style, plain, to_svg

# The folder of a run that explaining writes, and what is shown of it.
EXPLAIN_NAME, CONTROLS_NAME, CAMS_NAME = "explain", "controls.json", "cams.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """Where the evidence for ``label`` lies, laid over the picture, as image bytes."""

    label: str
    image: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedPicture:
    """A picture as the network takes it, its maps, and the answer; ``true`` is empty where it is not known.

    note: why one might look at it.
    """

    path: str
    picture: bytes | None
    maps: tuple[Map, ...]
    top: tuple[tuple[str, float], ...]
    true: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyView:
    """The section: ``controls`` is None where none were made."""

    controls: Controls | None = None
    wrong: tuple[MappedPicture, ...] = ()
    right: tuple[MappedPicture, ...] = ()
    part: str = "validation"
    places: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.controls is None and not self.wrong and not self.right


def why_view(folder: Path) -> WhyView:
    """What a run's ``explain`` folder holds; an empty view where there is none.

    Raises:
        IntegrityError: it was changed.
    """
    controls = cams = None
    try:
        if (folder / CONTROLS_NAME).is_file():
            controls = Controls.from_dict(read_json(folder / CONTROLS_NAME))
        if (folder / CAMS_NAME).is_file():
            cams = read_json(folder / CAMS_NAME)
        return WhyView(
            controls=controls,
            wrong=tuple(_mapped(folder, each) for each in cams["wrong"]) if cams else (),
            right=tuple(_mapped(folder, each) for each in cams["right"]) if cams else (),
            part=str(cams["part"]) if cams else "validation",
            places=int(cams["side"]) if cams else 0,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{folder} is not what was written ({error}); make it again with: budwood explain"
        ) from error


def controls_plot(controls: Controls, *, narrow: bool = False) -> str:
    """What is named right with something taken away, against the whole pictures and chance."""
    rows = [("whole pictures", controls.whole, controls.whole_interval, LEAF)]
    rows += [(r.name, r.accuracy, r.interval, AMBER if r.kind == "background" else MUTED) for r in controls.results]
    with page_style():
        figure, axes = rows_figure(len(rows), width=NARROW if narrow else WIDE, extra=54, height=28)
        axes.axvline(controls.chance, color=INK, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
        for y, (name, value, interval, colour) in enumerate(rows):
            tip = f"{plain(name)}: {percent_text(value)}"
            dot(axes, y, value, span=(interval.low, interval.high), colour=colour, tip=tip)
            axes.annotate(
                percent_text(value), (1.0, y), xytext=(12, 0), textcoords="offset points", va="center", color=MUTED
            )
        name_rows(axes, [row[0] for row in rows], limit=24 if narrow else 40)
        axes.set_xlim(0, 1)
        axes.set_xlabel(f"named right (dashed: chance, {percent_text(controls.chance)})")
        percent_axis(axes, "x")
        return to_svg(figure, named("controls", narrow), alt="Accuracy with parts of the pictures taken away")


def _mapped(folder: Path, found: Mapping[str, Any]) -> MappedPicture:
    return MappedPicture(
        path=str(found["path"]),
        picture=_image(folder, found["picture"]),
        maps=tuple(Map(label=str(label), image=_image(folder, name)) for label, name in found["maps"]),
        top=tuple((str(name), float(share)) for name, share in found["top"]),
        true=str(found["true"]),
    )


def _image(folder: Path, name: str) -> bytes | None:
    """The bytes of one of the folder's own files; None where it is gone."""
    if Path(name).name != name:
        raise ValueError(f"{name!r} names a file elsewhere")
    place = folder / name
    return place.read_bytes() if place.is_file() else None
