"""A stage of training handed to several processes of this host, and what comes back from them.

The training itself is `loop.py`'s, which hands in the function that each process carries out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import load_file, save_file

from budwood.events import Event, Listener, Warned
from budwood.files import scratch_folder
from budwood.models.build import Classifier
from budwood.train.history import EpochRow
from budwood.train.keeper import Keeper, Outcome
from budwood.train.parcel import Parcel
from budwood.train.spread import Tell, spread
from budwood.train.stage_input import StageInput
from budwood.train.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A stage as each process gets it.

    keeping: folder, identity and seconds of the keeper; None keeps nothing. result: where the weights are awaited.
    """

    parcel: Parcel
    step: str
    keeping: tuple[Path, str, float] | None
    result: Path

    def keeper(self, *, listen: Listener) -> Keeper | None:
        """The keeper of the process that leads."""
        if self.keeping is None:
            return None
        folder, identity, seconds = self.keeping
        return Keeper(folder, identity=identity, seconds=seconds, listen=listen)

    def save(self, model: Classifier) -> None:
        """Leave the weights for the caller."""
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, self.result)


def train_in_team(
    share: Callable[[Task, Team, Tell], Outcome],
    model: Classifier,
    *,
    data: StageInput,
    listen: Listener,
    step: str,
    on_epoch: Callable[[EpochRow], None],
    keeper: Keeper | None,
) -> tuple[Outcome, Classifier]:
    """What the processes made of ``model``, each taking its ``share`` of every batch; ``model`` itself is copied."""
    notes: tuple[str, ...] = ()
    if data.shorten and data.spec.cache != "off":
        notes = ("several processes train: the frozen start runs in every epoch, its activations are not kept",)
        listen(Warned(text=notes[0]))

    def hear(value: object) -> None:
        if isinstance(value, EpochRow):
            on_epoch(value)
        elif isinstance(value, Event):
            listen(value)

    with scratch_folder() as folder:
        task = Task(
            parcel=Parcel.packed(model, data, folder=folder),
            step=step,
            keeping=(keeper.folder, keeper.identity, keeper.seconds) if keeper else None,
            result=folder / "result.safetensors",
        )
        outcome: Outcome = spread(share, task, device=data.device, folder=folder, hear=hear)
        trained = copy.deepcopy(model)
        trained.load_state_dict(load_file(task.result))
    return replace(outcome, notes=(*notes, *outcome.notes)), trained.eval()
