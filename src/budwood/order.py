"""`Order`: what a training command was given, checked before its run folder exists, and that folder while it is held.

A mistyped path must not leave a folder behind: the corrected call has to find its ``--out`` free. What is trained, and
how, is for `pipeline.py`, `member_training.py` and `systems.py` to say.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from budwood.data.inputs.sources import check_source
from budwood.errors import UsageError
from budwood.events import Listener, Warned
from budwood.files import write_text
from budwood.models.backbones import check_name
from budwood.opening import Journal, command_line, new_run_path, opened_run
from budwood.recipe import Recipe
from budwood.runs import Run, RunDir


@dataclass(frozen=True, kw_only=True)
class Order:
    """A checked order. ``path`` is the run's folder; threads: None measures; split_file: None makes a new split."""

    photos: Path
    recipe: Recipe
    path: Path
    threads: int | None
    split_file: Path | None
    overwrite: bool
    resume: bool
    listen: Listener

    def finished(self) -> Run | None:
        """The run itself where it is to be gone on with and nothing is left to do, which is told."""
        run = RunDir(self.path)
        if not self.resume or not run.is_complete():
            return None
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        self.listen(Warned(text=f"{self.path} holds a run that is done: nothing was left to do"))
        return Run(self.path)

    @contextmanager
    def opened(self) -> Iterator[tuple[RunDir, Journal]]:
        """Take the run's folder; when all is done it is sealed, and what a resumed run would need is removed.

        Raises:
            OutputError: the folder cannot be had. Interrupted: see `opening.opened_run`.
        """
        with opened_run(
            self.path, photos=self.photos, overwrite=self.overwrite, resume=self.resume, command=command_line()
        ) as (run, journal):
            write_text(run.recipe, self.recipe.to_toml())
            yield run, journal
        run.seal()
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # last: a run that is killed before this loses nothing


def checked_order(
    photos: str | Path,
    *,
    recipe: Recipe,
    out: str | Path | None,
    threads: int | None,
    split_file: str | Path | None,
    overwrite: bool,
    resume: bool,
    listen: Listener,
) -> Order:
    """Check what can be checked without reading a picture; the arguments are those of `systems.fit`.

    Raises:
        UsageError: there are no such photos, split file or network, or ``resume`` lacks the run's folder.
    """
    photos = Path(photos).expanduser()
    check_source(photos)
    if split_file is not None and not Path(split_file).is_file():
        raise UsageError(f"the split file {split_file} does not exist; make one with: budwood split {photos}")
    check_name(recipe.model.backbone)
    if resume and out is None:
        raise UsageError("resume needs the run's folder: give it with --out")
    return Order(
        photos=photos,
        recipe=recipe,
        path=Path(out).expanduser() if out is not None else new_run_path(recipe.name),
        threads=threads,
        split_file=Path(split_file) if split_file is not None else None,
        overwrite=overwrite,
        resume=resume,
        listen=listen,
    )
