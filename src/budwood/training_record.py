"""What a run's training.json holds: all about the making that the report shows and no other file has."""

from __future__ import annotations

from typing import Any

from budwood.evaluation.views import view_to_json
from budwood.models.build import num_parameters
from budwood.train.resolved import resolve_stages
from budwood.training import Trained, Trainer


def training_record(trainer: Trainer, trained: Trained, environment: dict[str, Any]) -> dict[str, Any]:
    """JSON-ready values; ``environment`` is taken over as it is."""
    head = trained.head
    preprocess = trainer.source.preprocess
    sides = sorted(min(r.width, r.height) for r in trainer.dataset.catalog.records)
    return {
        "orientation": trainer.views.evidence,
        "augment": trainer.views.augment.model_dump(mode="json"),
        "views": {
            "train": list(trainer.views.train),
            "predict": [view_to_json(view) for view in trainer.views.predict],
        },
        "preprocess": preprocess.to_dict(),
        "median_side": sides[len(sides) // 2],
        "native_size": trainer.backbone.preprocess.size,
        "backbone": {
            "name": trainer.backbone.name,
            "source": trainer.backbone.source,
            "sha256": trainer.backbone.digest,
            "parameters": num_parameters(trained.model),
        },
        "head": None
        if head is None
        else {
            "penalties": list(head.penalties),
            "accuracies": head.accuracies.mean(axis=1).tolist(),
            "deviations": head.accuracies.std(axis=1, ddof=1).tolist(),
            "log_losses": head.log_losses.mean(axis=1).tolist(),
            "chosen": head.chosen,
            "num_folds": head.accuracies.shape[1],
            "num_views": len(trainer.views.train),
            "iterations": head.iterations,
            "converged": head.converged,
        },
        "balance": trainer.balance.model_dump(mode="json"),
        "plan": [
            stage.to_dict() for stage in resolve_stages(trainer.recipe.train, model=trained.model, fits=trained.fits)
        ],
        "caches": [use.to_dict() for use in trained.caches],
        "best_epochs": [fit.best_epoch for fit in trained.fits],
        "notes": [note for fit in trained.fits for note in fit.notes],
        **environment,
    }
