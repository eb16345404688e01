"""`EpochKeeper`: the state of a training that is put away once an epoch, and taken up from there.

For loops of short epochs; `keeper.py` also keeps places within an epoch, stages and the weights of the best one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from budwood.errors import UsageError
from budwood.events import Listener, Warned, silent
from budwood.files import sweep_leftovers
from budwood.train.checkpoint import Saved, Slots


class EpochKeeper:
    """Two slots in ``folder`` (created) for a training known by ``identity``, a digest of all its weights depend on."""

    def __init__(self, folder: Path, *, identity: str, listen: Listener = silent) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        sweep_leftovers(folder)
        self.folder, self.identity, self.listen = folder, identity, listen
        self._slots = Slots(folder, "epoch")

    def load(self) -> Saved | None:
        """What an earlier process left; None where there is nothing.

        Raises:
            UsageError: the folder holds another training.
        """
        saved = self._slots.load()
        if saved is not None and saved.facts["identity"] != self.identity:
            raise UsageError(
                f"{self.folder} holds checkpoints of another training: pictures, settings, threads or precision have"
                " changed since; start anew with --overwrite"
            )
        return saved

    def save(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Keep the end of an epoch; where it cannot be written (a full disk), warn and keep the one before."""
        try:
            self._slots.save({**facts, "identity": self.identity}, tensors)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            text = f"a checkpoint could not be written into {self.folder} ({reason}); the last good one is kept"
            self.listen(Warned(text=text))
