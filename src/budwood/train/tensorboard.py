"""A training's epochs as TensorBoard reads them: `epoch_writer` gives what the training loop calls after each epoch.

Needs the extra ``tensorboard``. History and report do not depend on it.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import TracebackType
from typing import Any

from budwood.errors import OutputError, UsageError
from budwood.train.history import EpochRow

# Tag -> column. What stands before the slash is one plot in TensorBoard's page.
_SCALARS = {
    "accuracy/while training": "accuracy",
    "accuracy/training part": "train_accuracy",
    "accuracy/validation part": "val_accuracy",
    "loss/while training": "loss",
    "loss/training part": "train_loss",
    "loss/validation part": "val_loss",
    "rate/learning rate": "lr",
    "speed/images per second": "images_per_second",
}


class EpochWriter:
    """Writes each epoch into an event file of ``folder``, at once. Made by `epoch_writer`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: Any = None
        self._stage = ""

    def __call__(self, row: EpochRow) -> None:
        """Add one epoch; what was not measured is left out."""
        if self._file is None:
            self._file = self._open(row.epoch)
        if row.stage != self._stage:
            self._stage = row.stage
            self._file.add_text("stage", f"from epoch {row.epoch}: {row.stage}", row.epoch)
        for tag, column in _SCALARS.items():
            value = float(getattr(row, column))
            if math.isfinite(value):
                self._file.add_scalar(tag, value, row.epoch)
        self._file.flush()

    def close(self) -> None:
        """End the file; the next epoch would begin another one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> EpochWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, epoch: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        # A training that goes on after a stop takes back the epochs that an earlier process wrote and lost again.
        return SummaryWriter(str(self.folder), purge_step=epoch)


def epoch_writer(folder: Path) -> EpochWriter:
    """What to call with each `EpochRow`; ``tensorboard --logdir FOLDER`` shows them while the training goes on.

    The file is begun with the first epoch; `EpochWriter.close` ends it.

    Raises:
        UsageError: TensorBoard is not installed. OutputError: the folder cannot be made.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs TensorBoard, which is not installed: pip install 'budwood[tensorboard]'")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} for TensorBoard's files cannot be made ({error.strerror}); give another"
        ) from error
    return EpochWriter(folder)
