"""Answers to new pictures with maps of where they come from, the most doubtful pictures first. Values for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from budwood.describing import Described, describe_files, named_files, network_of
from budwood.doubting import doubts_of_pictures, own_run
from budwood.errors import UsageError
from budwood.evaluation.doubts import Doubt
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.explaining import cam_of
from budwood.export.bundle import Bundle, Unreadable, load
from budwood.models.gradcam import GradCam, overlay
from budwood.report.thumbnails import thumbnail
from budwood.report.why_view import Map, MappedPicture

_STEP = "explain"
_MAPS = 2  # of the likeliest classes


@dataclass(frozen=True, kw_only=True)
class ExplainedPictures:
    """``shown`` with maps, the most doubtful first; ``doubts`` of all ``names``, by row; ``places``: 0 without maps."""

    shown: tuple[MappedPicture, ...]
    names: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    unreadable: tuple[Unreadable, ...]
    places: int


def explain_pictures(
    bundle: str | Path, pictures: str | Path | Sequence[str | Path], *, limit: int = 48, listen: Listener = silent
) -> ExplainedPictures:
    """Ask a bundle about pictures, rank its doubts, and draw maps of the first ``limit``.

    Args:
        bundle: a bundle, or a run's folder, whose validation pictures then tell what is unusual.
        pictures: files, or folders, archives, tables and arrays; labels are not needed.

    Raises:
        UsageError, DataError, IntegrityError: see `load`, `describe_files`.
    """
    folder = Path(bundle)
    run = own_run(folder)
    # What the run is asked about must be the model whose validation pictures it kept.
    opened = load(run.judged_bundle() if run else folder)
    named = named_files(pictures, listen=listen)
    listen(StepStarted(step=_STEP, total=len(named)))
    described = describe_files(opened, named, advance=lambda n: listen(StepAdvanced(step=_STEP, count=n)))
    doubts = doubts_of_pictures(described, run)
    doubted = {doubt.row: doubt for doubt in doubts}
    rest = [row for row in range(len(described.files)) if row not in doubted]
    rows = [*(doubt.row for doubt in doubts), *rest][:limit]
    explainer = _explainer(network_of(opened))
    shown = tuple(_mapped(explainer, opened, described, row, doubt=doubted.get(row)) for row in rows)
    listen(StepFinished(step=_STEP, seconds=0.0, note=f"{len(doubts)} of {len(described.files)} deserve a look"))
    return ExplainedPictures(
        shown=shown,
        names=described.pictures.paths,
        doubts=doubts,
        unreadable=described.unreadable,
        places=explainer.layer.side if explainer else 0,
    )


def _explainer(network: Bundle) -> GradCam | None:
    try:
        return GradCam(network.model, size=network.preprocess.size)
    except UsageError:
        return None  # a network of dense layers alone keeps no places: the page says so


def _mapped(
    explainer: GradCam | None, bundle: Bundle, described: Described, row: int, *, doubt: Doubt | None
) -> MappedPicture:
    pictures, picture = described.pictures, described.pixels[row]
    probs, network = pictures.probs[row], network_of(bundle)
    best = [int(k) for k in np.argsort(-probs, kind="stable")[:3]]
    maps: tuple[Map, ...] = ()
    if explainer:
        # A member of an ensemble may have its classes in another order.
        classes = [
            network.classes.index(bundle.classes[k]) for k in best[:_MAPS] if bundle.classes[k] in network.classes
        ]
        heats = cam_of(explainer, network, picture, classes=classes)
        maps = tuple(
            Map(label=network.classes[k], image=thumbnail(overlay(picture, heat)))
            for k, heat in zip(classes, heats, strict=True)
        )
    target = int(pictures.targets[row])
    return MappedPicture(
        path=pictures.paths[row],
        picture=thumbnail(picture),
        maps=maps,
        top=tuple((bundle.classes[k], float(probs[k])) for k in best),
        true=bundle.classes[target] if target >= 0 else "",
        note=f"{doubt.sentence}." if doubt else "",
    )
