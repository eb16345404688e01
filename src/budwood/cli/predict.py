"""``budwood predict``: class probabilities of new pictures, in any number."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from budwood.cli import options
from budwood.cli.progress import progress

if TYPE_CHECKING:
    from budwood.answer_rows import AnswerSpec, Tally
    from budwood.answers import Sink
    from budwood.events import Listener
    from budwood.export.bundle import Bundle

_ENDINGS: dict[str, Literal["csv", "json", "jsonl"]] = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
Named = list[tuple[str, Path]]


def run(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or the folder of a run.", show_default=False)],
    pictures: Annotated[
        list[Path], typer.Argument(help="Pictures: files, folders, archives, tables.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .csv, .jsonl or .json file.", show_default="stdout")
    ] = None,
    form: Annotated[
        Literal["csv", "jsonl", "json"] | None, typer.Option("--format", help="csv, jsonl or json.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier call with this --out stopped.")
    ] = False,
    risk: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Answer only where at most this share is wrong.", show_default="always"),
    ] = None,
    page: Annotated[Path | None, typer.Option("--page", help="Also a page of the least certain pictures.")] = None,
    threads: options.Threads = None,
) -> None:
    """Name pictures: every class's probability for each, and a list of the files that could not be read.

    budwood predict runs/first new/ --out answers.csv             answers are written as they come
    budwood predict runs/first new/ --out answers.csv --resume    after Ctrl-C
    budwood predict runs/first new/ --out a.csv --risk 0.05 --page a.html
    """
    from budwood import machine

    tuned = machine.tune_allocator()  # before torch is imported
    from budwood.answer_rows import AnswerSpec, Tally
    from budwood.cli.predict_summary import print_scores, write_page
    from budwood.errors import DataError
    from budwood.export.bundle import load
    from budwood.judge import named_pictures

    chosen = form or (_ENDINGS.get(out.suffix.lower(), "csv") if out else "csv")
    opened = load(bundle)
    with progress() as listen:
        named = named_pictures(pictures, listen=listen)
        _check(out, page, named, resume=resume, form=chosen)
        machine.probe(threads=threads, tuned_allocator=tuned)
        tally = Tally(classes=opened.classes)
        spec = AnswerSpec(form="csv" if chosen == "csv" else "jsonl", risk=risk)
        _answer(opened, named, out, spec=spec, tally=tally, as_json=chosen == "json", resume=resume, listen=listen)
    if out:
        kept = f", {tally.num_kept} of them earlier" if tally.num_kept else ""
        typer.echo(f"{tally.num_answers} pictures answered{kept}, written to {out}", err=True)
    for failed in tally.unreadable:
        typer.echo(f"could not read {failed.path}: {failed.reason}", err=True)
    if not tally.num_answers:
        raise DataError(f"none of the {len(tally.unreadable)} files could be read; the reasons are listed above")
    print_scores(tally, bundle=bundle, files=[file for _, file in named], risk=risk)
    if page:
        write_page(page, tally, dict(named), bundle=bundle, title=", ".join(path.name for path in pictures[:3]))
        typer.echo(f"the page is {page}", err=True)


def _answer(
    bundle: Bundle,
    named: Named,
    out: Path | None,
    *,
    spec: AnswerSpec,
    tally: Tally,
    as_json: bool,
    resume: bool,
    listen: Listener,
) -> None:
    """Write all answers, stopping within seconds where that is asked for."""
    from budwood.answers import answer_file, answer_to
    from budwood.errors import Interrupted
    from budwood.events import StepAdvanced, StepFinished, StepStarted
    from budwood.stopping import stoppable

    begun = time.perf_counter()
    whole = io.BytesIO()  # JSON is one value: it cannot be written before all is known
    streamed = out is not None and not as_json

    def steps() -> Iterator[int]:
        if out and streamed:
            yield from answer_file(bundle, named, out, spec=spec, tally=tally, resume=resume)
        else:
            sink: Sink = whole if as_json else _Stdout()
            for batch in answer_to(bundle, named, sink, spec=spec, tally=tally):
                yield len(batch)

    def stopped() -> str:
        if not streamed:
            return "interrupted; nothing was kept: with --out FILE.csv or .jsonl a call can be resumed"
        return f"interrupted; {tally.num_answers} answers are in {out}: go on with the same call and --resume"

    listen(StepStarted(step="predict", total=len(named)))
    with stoppable(lambda: print(stopped(), file=sys.stderr, flush=True), exit_code=Interrupted.exit_code) as dealt:
        try:
            for count in steps():
                listen(StepAdvanced(step="predict", count=count))
        except KeyboardInterrupt:
            dealt()
            raise Interrupted(stopped()) from None
    seconds = time.perf_counter() - begun
    rate = (len(named) - tally.num_kept) / max(seconds, 1e-9)
    listen(StepFinished(step="predict", seconds=seconds, note=f"{rate:.0f} images/s"))
    if as_json:
        _write_json(whole.getvalue(), out, tally)


class _Stdout:
    """Bytes to ``sys.stdout``, which tests and notebooks replace by one without a buffer."""

    def write(self, data: bytes, /) -> None:
        """Write and flush."""
        sys.stdout.write(data.decode("utf-8"))
        sys.stdout.flush()


def _write_json(lines: bytes, out: Path | None, tally: Tally) -> None:
    import json

    from budwood.files import to_json, write_text

    text = to_json(
        {
            "classes": list(tally.classes),
            "predictions": [json.loads(line) for line in lines.splitlines()],
            "unreadable": [{"path": item.path, "reason": item.reason} for item in tally.unreadable],
        }
    )
    if out:
        write_text(out, text)
    else:
        sys.stdout.write(text)


def _check(out: Path | None, page: Path | None, named: Named, *, resume: bool, form: str) -> None:
    """Refuse places that cannot be written, or that are pictures."""
    from budwood.errors import OutputError, UsageError
    from budwood.files import ensure_writable

    if resume and (out is None or form == "json"):
        raise UsageError("--resume goes on with a file of answers: give --out with a .csv or .jsonl file")
    for place, option in ((out, "--out"), (page, "--page")):
        if place is None:
            continue
        if place.is_dir():
            raise OutputError(f"{place} is a folder; give a file with {option}")
        if place.exists() and any(place.samefile(file) for _, file in named if file.exists()):
            raise OutputError(
                f"{place} is one of the pictures, which are never written to; give another file with {option}"
            )
        ensure_writable(place.parent)
