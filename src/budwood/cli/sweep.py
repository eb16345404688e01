"""``budwood sweep``: one recipe, some settings in several values, compared fairly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budwood.cli import options
from budwood.cli.before_torch import make_ready
from budwood.cli.progress import progress

if TYPE_CHECKING:
    from rich.console import Console

    from budwood.sweep_result import SweepResult

_SHOWN = 20  # arms in the printed table; the page has more

Over = Annotated[
    list[str] | None,
    typer.Option(
        "--over",
        help="A setting and its values: train.lr=1e-4,1e-3; a range for --trials: train.lr=log:1e-5..1e-2; or"
        " freeze: every depth of the backbone (may be repeated).",
        show_default="the recipe's [sweep]",
    ),
]
Trials = Annotated[
    int | None, typer.Option(min=1, help="So many trials chosen by Optuna, instead of every combination.")
]
Folds = Annotated[
    int | None, typer.Option(min=2, help="Judge by folds of the training and validation part, not by the latter.")
]
Seeds = Annotated[
    str | None, typer.Option(help="Train each arm with each of these: 0,1,2.", show_default="the recipe's")
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="The sweep's folder.", show_default="runs/<time>-<recipe>-sweep")
]
Tiny = Annotated[bool, typer.Option("--tiny", help="A sweep of seconds with untrained networks, to try things.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the stopped sweep in --out.")]


def run(
    photos: options.Photos,
    recipe: options.RecipeName = "probe",
    over: Over = None,
    trials: Trials = None,
    folds: Folds = None,
    seeds: Seeds = None,
    overrides: options.Overrides = None,
    out: Out = None,
    seed: options.Seed = None,
    tiny: Tiny = False,
    threads: options.Threads = None,
    resume: Resume = False,
) -> None:
    """Train a recipe with several values of some settings, on the same pictures and from the same first weights.

    budwood sweep photos/ --recipe transfer --over train.lr=1e-4,1e-3,1e-2 --folds 3
    budwood sweep photos/ --recipe transfer --over freeze
    budwood sweep photos/ --over train.lr=log:1e-5..1e-2 --over model.dropout=0..0.5 --trials 20
    """
    wanted = _numbers(seeds)
    make_ready(recipe, overrides or (), tiny=tiny)
    from budwood.sweeping import sweep

    with progress() as listen:
        found = sweep(
            photos,
            recipe=recipe,
            over=over or (),
            trials=trials,
            folds=folds,
            seeds=wanted,
            out=out,
            overrides=overrides or (),
            seed=seed,
            tiny=tiny,
            threads=threads,
            resume=resume,
            listen=listen,
        )
    _print(found)


def _numbers(text: str | None) -> tuple[int, ...]:
    from budwood.errors import UsageError

    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise UsageError(f'--seeds takes whole numbers from 0 up, such as 0,1,2; found "{text}"')
    return tuple(map(int, parts))


def _print(found: SweepResult) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    _print_table(console, found)
    words = Console(soft_wrap=True)
    words.print(Text(found.judgement.lead, style="bold"))
    for note in found.judgement.notes():
        words.print(Text(f"  {note}"))
    words.print(Text("train the winner, and score the test part once:"))
    words.print(Text(f"  {found.fit_command}"))
    words.print(Text(f"report  {found.report}", style="bold green"))


def _print_table(console: Console, found: SweepResult) -> None:
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    judgement = found.judgement
    several = (("± folds", judgement.num_folds > 1), ("± seeds", judgement.num_seeds > 1))
    keys = tuple(found.arms[0].settings)
    extra = [name for name, there in several if there]
    table = Table(*map(escape, keys), "accuracy", "95 % interval", *extra, "time", "against the winner")
    for arm, standing in found.ranked[:_SHOWN]:
        settings = [Text(found.shown[found.arms.index(arm)][key]) for key in keys]
        if standing is None:
            table.add_row(*settings, "", "", *[""] * len(extra), "", Text(f"{arm.state}: {arm.reason}"))
            continue
        deviations = [
            f"{value:.3f}" for value in (standing.fold_deviation, standing.seed_deviation) if value is not None
        ]
        interval, against = standing.accuracy.interval, standing.against
        table.add_row(
            *settings,
            f"{standing.accuracy.value:.3f}",
            f"{interval.low:.3f}-{interval.high:.3f}",
            *deviations,
            f"{arm.seconds:.0f} s",
            f"{against.value:+.3f}: {against.verdict}" if against else "winner",
        )
    console.print(table)
    if len(found.ranked) > _SHOWN:
        typer.echo(f"the best {_SHOWN} of {len(found.ranked)} arms; all are in the report")
