"""``budwood clean``: plan what to leave out, print it, and move files only when told to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress
from budwood.cli.reading import Model, read_and_audit

if TYPE_CHECKING:
    from budwood.data.cleaning.clean import CleanResult
    from budwood.data.cleaning.clean_spec import CleanSpec
    from budwood.data.cleaning.decisions import DecisionJournal
    from budwood.data.cleaning.quarantine import MoveResult, Quarantine
    from budwood.data.records import Catalog, Finding

_SHOWN = 3  # paths in a row of the table, and files that could not be moved
Checks = list[str] | None


def run(
    photos: options.Photos,
    exclude: Annotated[
        Checks, typer.Option("--exclude", help="Leave out what these checks find: too_dark,blurred,odd_dimensions")
    ] = None,
    keep_one: Annotated[
        Checks, typer.Option("--keep-one", help="Keep one picture of each group that these checks find: near_duplicate")
    ] = None,
    relabel: Annotated[
        Checks, typer.Option("--relabel", help="Take the class that this check suggests: label_error")
    ] = None,
    keep: Annotated[Checks, typer.Option("--keep", help="Leave alone what these checks find: exact_duplicate")] = None,
    model: Model = False,
    overrides: options.Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to write the ledger.", show_default=".budwood/.../catalog.csv"),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Move the excluded files to the quarantine in .budwood/.")
    ] = False,
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="You looked at the plan: take it as your own decision, for every part."),
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Bring every file back from the quarantine.")] = False,
) -> None:
    """Plan what to leave out; without --apply nothing is moved, and --undo brings everything back.

    budwood clean photos/                             the plan: copies, and equal pictures of two classes
    budwood clean photos/ --exclude too_dark,blurred  more of it
    budwood clean photos/ --apply                     and move the files
    """
    from budwood.errors import UsageError
    from budwood.files import ensure_writable, refuse_inside
    from budwood.workspace import writable_workspace

    asked = (exclude, keep_one, relabel, keep, model, overrides, out, apply, confirm)
    if undo and any(asked):
        raise UsageError("--undo stands alone: it brings back every file that --apply moved")
    place = writable_workspace(photos)
    if undo:
        _undo(photos)
        return
    spec = policy(exclude=exclude, keep_one=keep_one, relabel=relabel, keep=keep, overrides=overrides)
    ledger = out or place.catalog
    if out:
        refuse_inside(out, photos)
    ensure_writable(ledger.parent)
    _refuse_without_model(spec, model=model)
    with progress() as listen:
        reading = read_and_audit(photos, model=model, listen=listen)
    carry_out(photos, reading.scanned, reading.result.findings, spec, ledger=ledger, apply=apply, confirm=confirm)


def policy(
    *, exclude: Checks, keep_one: Checks, relabel: Checks, keep: Checks, overrides: Iterable[str] | None
) -> CleanSpec:
    """`TIDY`, changed by the flags, then by ``--set``.

    Raises:
        SettingsError: there is no such check, or it has two fates.
    """
    from budwood.config import apply_overrides, validate
    from budwood.data.cleaning.clean_spec import TIDY, CleanSpec, refuse_unknown
    from budwood.errors import SettingsError

    named = {"exclude": exclude, "keep_one": keep_one, "relabel": relabel, "keep": keep}
    lists = {fate: [name for text in texts or () for name in text.split(",") if name] for fate, texts in named.items()}
    try:
        refuse_unknown(lists["keep"])
    except ValueError as error:
        raise SettingsError(f"--keep: {error}") from error
    values = apply_overrides(TIDY.changed(**lists), [text.removeprefix("clean.") for text in overrides or ()])
    return validate(CleanSpec, values, source="clean")


def _refuse_without_model(spec: CleanSpec, *, model: bool) -> None:
    from budwood.data.checks import OPINION_CHECKS
    from budwood.errors import UsageError

    needing = [name for name in (*spec.exclude, *spec.relabel) if name in OPINION_CHECKS]
    if needing and not model:
        raise UsageError(f"{needing[0]} is found by asking a network: add --model")


def carry_out(
    photos: Path,
    scanned: Catalog,
    findings: Sequence[Finding],
    spec: CleanSpec,
    *,
    ledger: Path,
    apply: bool,
    confirm: bool,
) -> None:
    """Plan with the findings of any audit, print, write the ledger, and move files if ``apply``."""
    from budwood.data.cleaning.clean import clean
    from budwood.data.cleaning.decisions import DecisionJournal
    from budwood.data.cleaning.quarantine import refuse_unmovable
    from budwood.data.ledger import write_catalog
    from budwood.workspace import writable_workspace

    if apply:
        refuse_unmovable(photos, scanned)
    journal = DecisionJournal(writable_workspace(photos).decisions)
    result = clean(scanned, findings, spec=spec, decisions=journal.decisions())
    if confirm:
        _confirm(journal, scanned, result)
        result = clean(scanned, findings, spec=spec, decisions=journal.decisions())
    _print_plan(scanned, result)
    write_catalog(result.catalog, ledger)
    typer.echo(f"every picture with its state and why: {ledger}")
    excluded = {a.path: a.reason for a in result.actions if a.action == "exclude" and a.in_every_part}
    stay = sum(not a.in_every_part for a in result.actions)
    if stay:
        typer.echo(
            f"{stay} pictures are changed in the training part only, so their files stay: a test without odd pictures"
            " promises too much. Look at them; --confirm makes the plan your own decision, for every part"
        )
    if not apply:
        typer.echo("nothing was moved; --apply moves the excluded files, --undo brings them back")
        return
    quarantine = _quarantine(photos)
    _report(quarantine.apply(scanned, excluded), f"were moved to {quarantine.folder}")
    typer.echo(f"to bring them back: budwood clean {photos} --undo")


def _confirm(journal: DecisionJournal, scanned: Catalog, result: CleanResult) -> None:
    """Write down what checks of looks or a network planned as a person's decisions."""
    from budwood.data.cleaning.decisions import Decision, content_digest

    digests = {record.path: content_digest(record) for record in scanned.records}
    decisions = [
        Decision(
            path=action.path,
            digest=digests[action.path],
            action=action.action,
            label=action.label,
            check=action.check,
            reason=action.reason.removesuffix(" (for training only)") + " (confirmed)",
        )
        for action in result.actions
        if not action.in_every_part
    ]
    journal.record(*decisions)
    typer.echo(f"{len(decisions)} decisions were written to {journal.file}")


def _undo(photos: Path) -> None:
    quarantine = _quarantine(photos)
    held = len(quarantine.held())
    if not held:
        typer.echo(f"there is nothing to bring back in {quarantine.folder}")
        return
    _report(quarantine.restore(), f"were brought back to {photos}")


def _quarantine(photos: Path) -> Quarantine:
    from budwood.data.cleaning.quarantine import Quarantine
    from budwood.workspace import writable_workspace

    place = writable_workspace(photos)
    return Quarantine(place.quarantine, place.quarantine_log, root=photos)


def _report(result: MoveResult, words: str) -> None:
    from budwood.errors import OutputError

    shown = "; ".join(f"{path}: {why}" for path, why in result.left[:_SHOWN])
    more = f"; and {len(result.left) - _SHOWN} more" if len(result.left) > _SHOWN else ""
    if result.left and not result.moved:
        raise OutputError(f"none of {len(result.left)} files could be moved: {shown}{more}")
    typer.echo(f"{len(result.moved)} files {words}")
    if result.left:
        typer.echo(f"{len(result.left)} files were left alone: {shown}{more}")


def _print_plan(scanned: Catalog, result: CleanResult) -> None:
    """A row for each action and check: how many pictures, of which classes, and the first of them."""
    from collections import Counter, defaultdict

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    labels = {record.path: record.label for record in scanned.records}
    rows = defaultdict(list)
    for action in result.actions:
        rows[action.action, action.check, action.in_every_part].append(action)
    table = Table("action", "asked for by", "holds for", "pictures", "of the classes", "first of them")
    for (what, check, everywhere), actions in sorted(rows.items()):
        counts = Counter(labels[action.path] for action in actions).most_common()
        classes = ", ".join(f"{name} {count}" for name, count in counts[:_SHOWN])
        more = f" and {len(counts) - _SHOWN} more classes" if len(counts) > _SHOWN else ""
        first = "; ".join(action.path for action in actions[:_SHOWN])
        cells = (what, check, "every part" if everywhere else "training", str(len(actions)), classes + more, first)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table if rows else "this policy changes nothing")
    before, after = scanned.usable(), result.catalog.usable()
    console.print(Text(f"{len(before)} usable pictures, {len(after)} after cleaning"))
    for note in result.notes:
        console.print(Text(note))
