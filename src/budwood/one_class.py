"""The anomaly route of report A1: a detector that has seen one class only, beside rivals that cost less or know more.

The autoencoder ships (`Detector`). The rivals are judged on the same test pictures: two distances in the features of
the frozen network to the normal training pictures, which know no other class either, and a classifier that was trained
with the abnormal pictures' labels: what those labels are worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save

from budwood.data.preprocess import Preprocess
from budwood.errors import DataError, IntegrityError, SettingsError
from budwood.evaluation.baselines import majority_class
from budwood.evaluation.detection import Detection, judge_detectors, normal_threshold
from budwood.evaluation.detection import Detector as Judged
from budwood.evaluation.metrics import summarise
from budwood.evaluation.predictions import Predictions
from budwood.experiment import Experiment, looked, relabelled
from budwood.export.bundle import load, write_bundle
from budwood.files import check_manifest, read_json, write_bytes, write_json, write_manifest
from budwood.models.autoencoder import Autoencoder
from budwood.report.picture_sheet import SheetRow, error_map, picture_sheet
from budwood.test_lock import Looks
from budwood.train.autoencode import (
    AutoencoderFit,
    OneClassSpec,
    repaint_errors,
    repainted,
    train_autoencoder,
)

DETECTOR_NAME, SHEET_NAME = "detector", "repainted.png"
_FACTS, _WEIGHTS = "detector.json", "autoencoder.safetensors"
_NEAREST = 5
_LEAST = {"train": 2, "val": 1}  # normal pictures of a part
_SHOWN = 4  # pictures of each kind on the sheet, from the best repainted to the worst
Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Says which pictures are not of the class ``normal``: those that it repaints worse than ``threshold``."""

    model: Autoencoder
    preprocess: Preprocess
    normal: str
    threshold: float

    def scores(self, images: Sequence[NDArray[np.uint8]]) -> Scores:
        """The mean squared error ``[N]`` of pictures ``[H, W, 3]`` uint8 of any size; above `threshold`: abnormal."""
        if not images:
            return np.zeros(0)
        return repaint_errors(self.model, np.stack([self.preprocess.pixels(image) for image in images]))


def write_detector(folder: Path, detector: Detector, spec: OneClassSpec) -> None:
    """Write a detector's folder; the manifest comes last."""
    write_bytes(folder / _WEIGHTS, save({n: v.contiguous() for n, v in detector.model.state_dict().items()}))
    facts = {"normal": detector.normal, "threshold": detector.threshold, "spec": spec.model_dump(mode="json")}
    write_json(folder / _FACTS, {**facts, "preprocess": detector.preprocess.to_dict()})
    write_manifest(folder)


def load_detector(folder: str | Path) -> Detector:
    """Load what `write_detector` wrote, after verifying every file.

    Args:
        folder: ``RUN/system/detector``, or the run.

    Raises:
        IntegrityError: a file is missing or was changed.
    """
    place = Path(folder)
    inside = place / "system" / DETECTOR_NAME
    place = inside if inside.is_dir() else place
    problems = check_manifest(place)
    if problems:
        raise IntegrityError(f"{place} is no detector as it was written: {'; '.join(problems[:3])}")
    try:
        facts = read_json(place / _FACTS)
        spec = OneClassSpec.model_validate(facts["spec"])
        model = Autoencoder(size=spec.size, width=spec.width, code=spec.code)
        model.load_state_dict(load_tensors((place / _WEIGHTS).read_bytes()))
        return Detector(
            model=model.eval(),
            preprocess=Preprocess.from_dict(facts["preprocess"]),
            normal=str(facts["normal"]),
            threshold=float(facts["threshold"]),
        )
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise IntegrityError(f"{place} does not describe a detector ({error})") from error


def run_one_class(experiment: Experiment) -> None:
    """Train the autoencoder on the normal training pictures, judge it and its rivals, write detector and sheet.

    Raises:
        SettingsError: ``one_class.normal`` is no class. DataError: too few normal pictures.
    """
    recipe, run, spec = experiment.recipe, experiment.run, experiment.recipe.one_class
    normal = _normal_class(experiment)
    small = experiment.small(spec.size)
    rows = {part: _rows(experiment, part, normal) for part in ("train", "val")}
    fit = train_autoencoder(
        experiment.shown(small, rows["train"]),
        small.pixels[np.array(rows["val"])],
        spec=spec,
        seed=recipe.seed,
        keeper=experiment.keeper("autoencoder", rows["train"]),
        listen=experiment.listen,
    )
    scored = {"autoencoder": _both(experiment, repaint_errors(fit.model, small.pixels))}
    scored |= _distances(experiment, normal)
    looks = experiment.count_look()
    scored["classifier with labels"] = _supervised(experiment, normal)
    test = experiment.part("test")
    abnormal = test.labels != normal
    known = experiment.part("val").labels == normal
    judged = tuple(
        Judged(name=name, scores=on_test, threshold=normal_threshold(on_val[known], false_alarms=spec.false_alarms))
        for name, (on_val, on_test) in scored.items()
    )
    detection = judge_detectors(judged, abnormal, seed=recipe.seed)
    detector = Detector(
        model=fit.model,
        preprocess=Preprocess(size=spec.size, store_side=experiment.dataset.store.side),
        normal=spec.normal,
        threshold=judged[0].threshold,
    )
    write_detector(experiment.folder / DETECTOR_NAME, detector, spec)
    pixels = small.pixels[test.rows]
    write_bytes(experiment.folder / SHEET_NAME, _sheet(fit.model, pixels, judged[0].scores, abnormal, spec.normal))
    answers = _predictions(experiment, judged[0], scored["autoencoder"][0][known], abnormal)
    answers.save(run.predictions("test"))
    write_json(run.metrics, _metrics(experiment, answers, detection, fit, looks=looks))
    write_json(run.training, {"preprocess": experiment.trainer.source.preprocess.to_dict(), **experiment.environment})


def _normal_class(experiment: Experiment) -> int:
    classes, name = experiment.catalog.classes, experiment.recipe.one_class.normal
    if name not in classes:
        found = f'"{name}" is none of' if name else "no class is named, of"
        raise SettingsError(
            f"one_class.normal says which class is normal: {found} {', '.join(classes)}; give --set"
            " one_class.normal=CLASS"
        )
    return classes.index(name)


def _rows(experiment: Experiment, part: str, normal: int) -> tuple[int, ...]:
    """The normal pictures of a part."""
    found = tuple(i for i in experiment.split.parts[part] if experiment.pixels.targets[i] == normal)
    least = _LEAST[part]
    if len(found) < least:
        raise DataError(
            f'{len(found)} pictures of "{experiment.recipe.one_class.normal}" in the {part} part; a detector needs'
            f" {least} or more there: add pictures, or name another class as normal"
        )
    return found


def _both(experiment: Experiment, scores: Scores) -> tuple[Scores, Scores]:
    """Scores of all pictures -> those of the validation part, and of the test part."""
    return scores[experiment.part("val").rows], scores[experiment.part("test").rows]


def _distances(experiment: Experiment, normal: int) -> dict[str, tuple[Scores, Scores]]:
    """How far pictures lie from the normal training pictures in the frozen network's features, two ways.

    References: K. Lee et al., A simple unified framework for detecting out-of-distribution samples, NeurIPS 2018
    (Mahalanobis distance; here with Ledoit and Wolf's covariance); Y. Sun et al., Out-of-distribution detection with
    deep nearest neighbors, ICML 2022.
    """
    from sklearn.covariance import LedoitWolf

    train, val, test = (
        experiment.trainer.frozen.features(experiment.part(part), views=(0,))[0] for part in ("train", "val", "test")
    )
    kind = train[experiment.part("train").labels == normal]
    cloud = LedoitWolf().fit(kind.astype(np.float64))
    return {
        "nearest normal pictures": (_from_nearest(val, kind), _from_nearest(test, kind)),
        "Mahalanobis distance": (cloud.mahalanobis(val.astype(np.float64)), cloud.mahalanobis(test.astype(np.float64))),
    }


def _from_nearest(features: NDArray[np.float32], kind: NDArray[np.float32]) -> Scores:
    """Mean of 1 - cosine to the five nearest normal training pictures, ``[N]``."""
    unit = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (features, kind)]
    away = 1 - unit[0] @ unit[1].T
    nearest = min(_NEAREST, away.shape[1])
    return np.asarray(np.partition(away, nearest - 1, axis=1)[:, :nearest].mean(axis=1), dtype=np.float64)


def _supervised(experiment: Experiment, normal: int) -> tuple[Scores, Scores]:
    """The probability of "not normal" by a classifier that was trained with the labels of both kinds."""
    labels = _labels(experiment.recipe.one_class.normal)
    targets = (experiment.pixels.targets != normal).astype(np.int64)
    trainer = relabelled(experiment, labels, targets, name="with-labels")
    train, val, test = (replace(experiment.part(part), targets=targets) for part in ("train", "val", "test"))
    trained = trainer.train(train, val, name="with-labels")
    folder = experiment.folder / "with-labels"
    write_bundle(folder, trained.model, experiment.facts(trainer))
    bundle = load(folder)
    with experiment.evaluating(len(val) + len(test)) as advance:
        tables = [bundle.predict_pixels(part.pixels[part.rows], advance=advance) for part in (val, test)]
    return tables[0][:, 1].astype(np.float64), tables[1][:, 1].astype(np.float64)


def _labels(normal: str) -> tuple[str, str]:
    return normal, f"not {normal}"


def _predictions(
    experiment: Experiment, judged: Judged, normal_val: Scores, abnormal: NDArray[np.bool_]
) -> Predictions:
    """The autoencoder's answers as a table; .5 is the threshold, and how sure it is otherwise means little."""
    spread = max(float(np.std(normal_val)), 1e-9)
    away = np.clip((judged.scores - judged.threshold) / spread, -30, 30)
    sure = (1 / (1 + np.exp(-away))).astype(np.float32)
    test = experiment.part("test")
    return Predictions(
        probs=np.stack([1 - sure, sure], axis=1),
        targets=abnormal.astype(np.int64),
        paths=tuple(test.paths[i] for i in test.rows),
        classes=_labels(experiment.recipe.one_class.normal),
    )


def _metrics(
    experiment: Experiment, answers: Predictions, detection: Detection, fit: AutoencoderFit, *, looks: Looks | None
) -> dict[str, Any]:
    """What goes into metrics.json."""
    metrics = summarise(answers, seed=experiment.recipe.seed)
    train = experiment.part("train").labels != experiment.catalog.classes.index(experiment.recipe.one_class.normal)
    return {
        "test": metrics.to_dict(),
        "selection": [],
        "baselines": [majority_class(train.astype(np.int64), answers).to_dict()],
        "refit": False,
        "scored": f"system/{DETECTOR_NAME}",
        **looked(looks, metrics),
        "one_class": {
            "normal": experiment.recipe.one_class.normal,
            "num_train": len(_rows(experiment, "train", experiment.catalog.classes.index(answers.classes[0]))),
            "false_alarms": experiment.recipe.one_class.false_alarms,
            "detection": detection.to_dict(),
            "epochs": [asdict(row) for row in fit.rows],
        },
    }


def _sheet(
    model: Autoencoder, pixels: NDArray[np.uint8], scores: Scores, abnormal: NDArray[np.bool_], normal: str
) -> bytes:
    """Test pictures, what became of them, and where that is wrong; from the best to the worst of each kind."""
    rows = []
    for kind, name in ((~abnormal, normal), (abnormal, f"not {normal}")):
        of_kind = np.flatnonzero(kind)[np.argsort(scores[kind], kind="stable")]
        chosen = of_kind[np.linspace(0, len(of_kind) - 1, min(_SHOWN, len(of_kind))).round().astype(int)]
        painted = repainted(model, pixels[chosen])
        for i, made in zip(chosen.tolist(), painted, strict=True):
            far = error_map(pixels[i], made, full=80)
            rows.append(SheetRow(name=f"{name}: {scores[i]:.4f}", pictures=[pixels[i], made, far]))
    return picture_sheet(rows, heads=("picture", "repainted", "error"), tile=96, names=170)
