"""``budwood report``: make a run's page again from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from budwood.runs import RunDir


def run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)],
) -> None:
    """Render report.html again from a run's files; the model is not needed, thumbnails are where photos still are."""
    from budwood.errors import UsageError
    from budwood.runs import RunDir

    run_dir = RunDir(folder)
    if not run_dir.status.is_file():
        raise UsageError(f"{folder} is no run (no status.json in it); give a folder that `budwood fit` made")
    state = run_dir.read_status().get("state")
    if state != "done":
        raise UsageError(f"the run {folder} is {state}, not done: there is nothing to report yet")
    problems = [p for p in run_dir.verify() if not p.startswith("report.html")]
    if problems:
        from budwood.errors import IntegrityError

        raise IntegrityError(f"the run {folder} is not what was written: {'; '.join(problems[:3])}")
    _write(run_dir)
    run_dir.seal()
    typer.echo(run_dir.report)


def _write(run_dir: RunDir) -> None:
    """The page of a run of its kind."""
    from budwood.cache import pictures_folder
    from budwood.data.store import PictureStore
    from budwood.ensemble_report import is_ensemble, write_ensemble_report
    from budwood.files import read_json
    from budwood.page import write_report

    if is_ensemble(run_dir):
        write_ensemble_report(run_dir)
        return
    if run_dir.system() != "classifier":
        from budwood.system_page import write_system_report

        write_system_report(run_dir)
        return
    side = int(read_json(run_dir.training)["preprocess"]["store_side"])
    photos = Path(read_json(run_dir.environment)["photos"])
    write_report(run_dir, PictureStore(pictures_folder(photos, side=side), side=side))
