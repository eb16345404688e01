"""What `predict` tells at its end: scores where labels are known, and a page of the least certain pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from budwood.answer_rows import Tally

_WIDEST = 12  # classes of which the whole matrix is printed
_PAIRS = 8


def print_scores(tally: Tally, *, bundle: Path, files: Sequence[Path], risk: float | None) -> None:
    """Accuracy and confusion of the labelled pictures, and what it is worth. To stderr: stdout has the answers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from budwood.evaluation.intervals import wilson

    console = Console(stderr=True, soft_wrap=True)
    if risk is not None:
        said = tally.num_answers - tally.num_abstained
        console.print(f"at a risk of {risk:g}: {said} answered, {tally.num_abstained} not certain enough")
    total, right = int(tally.confusion.sum()), int(tally.confusion.trace())
    if not total:
        return
    interval = wilson(right, total)
    console.print(
        f"[bold]{right} of {total} right[/]: accuracy {right / total:.3f} (95 % interval {interval.low:.3f}-"
        f"{interval.high:.3f}), by the folders that the pictures lie in"
    )
    console.print(_worth(own_pictures(bundle, files)), markup=False)
    if len(tally.classes) <= _WIDEST:
        table = Table("true \\ answered")
        for name in tally.classes:
            table.add_column(Text(name))
        for name, row in zip(tally.classes, tally.confusion.tolist(), strict=True):
            table.add_row(Text(name), *(str(count) if count else "·" for count in row))
        console.print(table)
        return
    wrong = tally.confusion.copy()
    wrong[range(len(wrong)), range(len(wrong))] = 0
    for flat in wrong.ravel().argsort()[::-1][:_PAIRS]:
        true, said = divmod(int(flat), len(wrong))
        if wrong[true, said]:
            line = f"  {tally.classes[true]} taken for {tally.classes[said]}: {wrong[true, said]} times"
            console.print(line, markup=False)


def own_pictures(bundle: Path, files: Sequence[Path]) -> Counter[str]:
    """How many of ``files`` are pictures of the run that ``bundle`` belongs to, by part; empty where it is of none."""
    from budwood.files import read_json
    from budwood.runs import RunDir

    run = RunDir(bundle.resolve().parent if bundle.resolve().name == "bundle" else bundle.resolve())
    if not run.split.is_file() or not run.environment.is_file():
        return Counter()
    root = Path(read_json(run.environment)["root"])
    parts = {name: part for part, names in read_json(run.split)["parts"].items() for name in names}
    found: Counter[str] = Counter()
    for file in files:
        place = file.resolve()
        part = parts.get(place.relative_to(root).as_posix()) if place.is_relative_to(root) else None
        if part:
            found[part] += 1
    return found


def _worth(own: Counter[str]) -> str:
    if not own:
        return (
            "This is no look at the run's test part: none of these pictures is known to be the run's own. It is a score"
            " only if the model has never seen them."
        )
    listed = ", ".join(f"{own[part]} {word}" for part, word in _PARTS.items() if own[part])
    looked = " Its test pictures are among them: this is one more look at the test part." if own["test"] else ""
    return (
        f"These hold the run's own pictures ({listed}): what it was trained on it knows, so this is no score.{looked}"
    )


_PARTS = {"train": "for training", "val": "for validation", "test": "for the test"}


def write_page(page: Path, tally: Tally, files: Mapping[str, Path], *, bundle: Path, title: str) -> None:
    """Write thumbnails of the least certain pictures."""
    from budwood.data.decode import decode_file
    from budwood.errors import UnreadableImage
    from budwood.files import write_text
    from budwood.machine import versions
    from budwood.opening import command_line
    from budwood.report.answers_page import Tile, render_answers
    from budwood.report.thumbnails import thumbnail

    tiles = []
    for shown in tally.least_certain():
        try:
            image = thumbnail(decode_file(files[shown.path]).image)
        except UnreadableImage:  # gone since it was answered
            image = None
        tiles.append(
            Tile(
                path=shown.path,
                image=image,
                predicted=shown.predicted,
                answer=shown.answer,
                target=shown.target,
                probability=shown.probability,
            )
        )
    text = render_answers(
        tiles,
        total=tally.num_answers,
        title=title,
        model=str(bundle),
        version=versions()["budwood"],
        command=command_line(),
    )
    write_text(page, text)
