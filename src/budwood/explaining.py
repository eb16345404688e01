"""Why a run's model answers as it does: controls, maps, and the reference for later, into the run's ``explain/``.

The validation part is asked, never the test part, and what comes out chooses nothing. It is done after everything else
of a run, and where it would take long it is cut down or left out, which is told.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from budwood.data.store import PictureStore
from budwood.describing import Beholder, stored_pixels
from budwood.errors import UsageError
from budwood.evaluation.controls import CONTROLS, Controls, ExplainSpec, judge_controls
from budwood.evaluation.predictions import Predictions
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, Warned, silent
from budwood.export.bundle import Bundle, load
from budwood.files import write_bytes, write_json
from budwood.models.gradcam import GradCam, overlay
from budwood.reference import MOST_KEPT, Reference, catalog_of, save_reference
from budwood.report.thumbnails import thumbnail
from budwood.report.why_view import CAMS_NAME, CONTROLS_NAME, EXPLAIN_NAME
from budwood.runs import RunDir
from budwood.seeding import named_generator

__all__ = ["cam_of", "chosen_rows", "explain_run", "explain_saved_run"]

_QUICK = 20.0  # seconds that controls may take in any case
_SHARE = 0.1  # of the run's time that they may take
_LEAST = 40  # pictures: with fewer, the intervals are wider than any difference
_STEP = "explain"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Validation pictures at the working size, and what the bundle answered when it was scored."""

    pixels: NDArray[np.uint8]
    answers: Predictions


def explain_run(
    run: RunDir,
    bundle: Bundle,
    pixels: NDArray[np.uint8],
    answers: Predictions,
    *,
    spec: ExplainSpec,
    seed: int = 0,
    seconds: float = 0.0,
    listen: Listener = silent,
) -> Controls | None:
    """Write the reference, the controls and the maps of a run.

    Args:
        bundle: what answered; of an ensemble the first network is looked into.
        pixels: ``[N, S, S, 3]`` uint8, the validation pictures at its working size.
        answers: the bundle's answers to them, labelled.
        seconds: what the run has taken so far; controls that would take more than a tenth of it are cut down.

    Returns:
        The controls, where they were made.
    """
    if not len(answers):
        return None
    begun = time.perf_counter()
    asked = _Asked(pixels=pixels, answers=answers)
    beholder = Beholder(bundle)
    rows = _spread(len(answers), MOST_KEPT, seed=seed)
    listen(StepStarted(step=_STEP, total=len(rows)))
    features, upright = beholder(pixels[rows], advance=lambda n: listen(StepAdvanced(step=_STEP, count=n)))
    save_reference(run, Reference(paths=tuple(answers.paths[i] for i in rows), features=features, upright=upright))
    rate = len(rows) / max(time.perf_counter() - begun, 1e-6)
    made = None
    number = _affordable(len(answers), spec=spec, rate=rate, seconds=seconds, listen=listen)
    if number:
        made = _controls(beholder, asked, number, seed=seed)
        write_json(run.path / EXPLAIN_NAME / CONTROLS_NAME, made.to_dict())
    if spec.cams:
        _write_cams(run, beholder.bundle, asked, count=spec.cams, seed=seed)
    note = made.lead if made else "controls left out"
    listen(StepFinished(step=_STEP, seconds=time.perf_counter() - begun, note=note))
    return made


def explain_saved_run(
    run: RunDir, store: PictureStore, *, spec: ExplainSpec, listen: Listener = silent
) -> Controls | None:
    """`explain_run` for a run that is done; its validation pictures must still be where they were.

    Raises:
        UsageError: the run kept no answers to its validation part. DataError: the pictures are gone.
    """
    if not run.predictions("val").is_file():
        raise UsageError(f"{run.path} kept no answers to its validation part; fit it again with this Budwood")
    bundle = load(run.judged_bundle())
    answers = Predictions.load(run.predictions("val"))
    network = Beholder(bundle).bundle
    names, pixels = stored_pixels(network, catalog_of(run), answers.paths, store)
    if len(names) < len(answers):
        listen(Warned(text=f"{len(answers) - len(names)} validation pictures are not there any more: left out"))
    kept = _rows(answers, [answers.paths.index(name) for name in names])
    return explain_run(run, bundle, pixels, kept, spec=replace_auto(spec), listen=listen)


def replace_auto(spec: ExplainSpec) -> ExplainSpec:
    """Controls that are asked for are made, however long they take."""
    return spec.model_copy(update={"controls": True}) if spec.controls == "auto" else spec


def _affordable(total: int, *, spec: ExplainSpec, rate: float, seconds: float, listen: Listener) -> int:
    """How many pictures the controls may ask for; 0: none."""
    number = min(total, spec.pictures)
    if spec.controls is True:
        return number
    if spec.controls is False:
        return 0
    possible = int(max(_QUICK, _SHARE * seconds) * rate / len(CONTROLS))
    if min(number, possible) < min(_LEAST, total):
        listen(Warned(text="controls were left out: they would take long here; make them with budwood explain RUN"))
        return 0
    return min(number, possible)


def _controls(beholder: Beholder, asked: _Asked, number: int, *, seed: int) -> Controls:
    rows = _spread(len(asked.answers), number, seed=seed)
    pixels, chosen = asked.pixels[rows], _rows(asked.answers, rows)
    whole = replace(chosen, probs=beholder(pixels)[1])
    changed = []
    for control in CONTROLS:
        shown = control.change(pixels, chosen.paths, seed)
        changed.append((control, replace(chosen, probs=beholder(shown)[1])))
    return judge_controls(whole, changed, part="validation", seed=seed)


def _write_cams(run: RunDir, bundle: Bundle, asked: _Asked, *, count: int, seed: int) -> None:
    """Maps of the surest wrong answers and of right ones of every class, as small JPEGs and a list."""
    try:
        explainer = GradCam(bundle.model, size=bundle.preprocess.size)
    except UsageError:
        return  # a network without places, such as an MLP: there is nothing to draw
    wrong, right = chosen_rows(asked.answers, count=count, seed=seed)
    listed: dict[str, Any] = {"part": "validation", "layer": explainer.layer.name, "side": explainer.layer.side}
    number = 0
    for name, rows in (("wrong", wrong), ("right", right)):
        entries = []
        for row in rows:
            number += 1
            entries.append(_write_cam(run.path / EXPLAIN_NAME, number, explainer, bundle, asked, row))
        listed[name] = entries
    write_json(run.path / EXPLAIN_NAME / CAMS_NAME, listed)


def _write_cam(
    folder: Path, number: int, explainer: GradCam, bundle: Bundle, asked: _Asked, row: int
) -> dict[str, Any]:
    answers, picture = asked.answers, asked.pixels[row]
    assert answers.targets is not None
    said, true = int(answers.predicted[row]), int(answers.targets[row])
    views = [said] if said == true else [said, true]
    heats = cam_of(explainer, bundle, picture, classes=views)
    files = [f"{number:04d}.jpg", *(f"{number:04d}-{'ab'[i]}.jpg" for i in range(len(views)))]
    images = [picture, *(overlay(picture, heat) for heat in heats)]
    for name, image in zip(files, images, strict=True):
        write_bytes(folder / name, thumbnail(image))
    best = np.argsort(-answers.probs[row], kind="stable")[:3]
    return {
        "path": answers.paths[row],
        "true": answers.classes[true],
        "top": [[answers.classes[int(k)], round(float(answers.probs[row, k]), 4)] for k in best],
        "picture": files[0],
        "maps": [[answers.classes[k], name] for k, name in zip(views, files[1:], strict=True)],
    }


def cam_of(
    explainer: GradCam, bundle: Bundle, picture: NDArray[np.uint8], *, classes: Sequence[int]
) -> NDArray[np.float32]:
    """Maps ``[len(classes), S, S]`` of one picture ``[S, S, 3]`` at the working size, one for each class."""
    batch = bundle.preprocess.normalise(torch.from_numpy(np.repeat(picture[None], len(classes), axis=0)))
    return explainer(batch, classes=list(classes))


def chosen_rows(answers: Predictions, *, count: int, seed: int) -> tuple[list[int], list[int]]:
    """The rows of the surest wrong answers, and of as many right ones, class by class in turn."""
    assert answers.targets is not None
    wrong = np.flatnonzero(answers.predicted != answers.targets)
    wrong = wrong[np.argsort(-answers.probs[wrong].max(axis=1), kind="stable")]
    mixed = named_generator(seed, "cams").permutation(np.flatnonzero(answers.predicted == answers.targets))
    turn = np.zeros(len(mixed), dtype=np.int64)
    for k in range(len(answers.classes)):
        own = np.flatnonzero(answers.targets[mixed] == k)
        turn[own] = np.arange(len(own))
    return wrong[:count].tolist(), mixed[np.argsort(turn, kind="stable")][:count].tolist()


def _spread(total: int, most: int, *, seed: int) -> NDArray[np.int64]:
    """At most ``most`` of ``total`` rows, drawn by the seed, in order."""
    return np.sort(named_generator(seed, "explain").permutation(total)[:most])


def _rows(answers: Predictions, rows: Sequence[int] | NDArray[np.int64]) -> Predictions:
    assert answers.targets is not None
    order = np.asarray(rows, dtype=np.int64)
    return Predictions(
        probs=answers.probs[order],
        targets=answers.targets[order],
        paths=tuple(answers.paths[i] for i in order.tolist()),
        classes=answers.classes,
    )
