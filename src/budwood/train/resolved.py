"""`ResolvedStage`: what a plan's stage came to on a network, and what became of it, for the report.

Nothing is decided here: which blocks train is worked out in `freezing.py`, the settings are in `stages.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from budwood.models.blocks import blocks_of
from budwood.models.build import Classifier
from budwood.train.freezing import first_trained_block
from budwood.train.stage_input import FitResult
from budwood.train.stages import TrainSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedStage:
    """One stage on one network.

    solved: the head was solved on frozen features, without epochs.
    first_block, last_block: names of the first and the last block of the backbone that train; empty: the head alone.
    trained_parameters: of ``num_parameters``, the head's among them.
    epochs_run: counted in this stage; best_epoch: counted through all stages, 0 where the head was solved.
    """

    title: str
    solved: bool
    first_block: str
    last_block: str
    trained_blocks: int
    num_blocks: int
    trained_parameters: int
    num_parameters: int
    epochs_run: int = 0
    best_epoch: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ResolvedStage:
        """The inverse of `to_dict`."""
        return cls(**values)


def resolve_stages(spec: TrainSpec, *, model: Classifier, fits: Sequence[FitResult]) -> tuple[ResolvedStage, ...]:
    """Each stage of ``spec`` on ``model``, in order.

    Args:
        fits: what the gradient stages gave; one fewer than stages where the first solved the head.

    Raises:
        ValueError: there are more or fewer.
    """
    num_solved = len(spec.stages) - len(fits)
    if num_solved not in (0, 1):
        raise ValueError(f"a plan of {len(spec.stages)} stages gave {len(fits)} results of gradient steps")
    blocks = blocks_of(model.backbone)
    above = sum(p.numel() for part in (model.top, model.head) for p in part.parameters())
    found = []
    for stage, fit in zip(spec.stages, [*[None] * num_solved, *fits], strict=True):
        trained = blocks[first_trained_block(model, stage) :]
        found.append(
            ResolvedStage(
                title=stage.title,
                solved=fit is None,
                first_block=trained[0].name if trained else "",
                last_block=trained[-1].name if trained else "",
                trained_blocks=len(trained),
                num_blocks=len(blocks),
                trained_parameters=above + sum(block.num_parameters for block in trained),
                num_parameters=sum(p.numel() for p in model.parameters()),
                epochs_run=len(fit.history) if fit else 0,
                best_epoch=fit.best_epoch if fit else 0,
                seconds=sum(fit.history["seconds"]) if fit else 0.0,
            )
        )
    return tuple(found)
