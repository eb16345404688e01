"""The ``budwood`` command: one file a command beside this one, and the exit codes.

0 done · 1 a check failed (``audit --strict``, ``verify``) · 2 usage or settings · 3 data not usable · 4 interrupted ·
5 internal error. Only the last prints a traceback. No torch is imported here.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback

import typer

from budwood.cli import (
    audit,
    clean,
    compare,
    demo,
    drift,
    ensemble,
    evaluate,
    explain,
    export,
    fit,
    learning_curve,
    models,
    multiply,
    predict,
    rates,
    recipes,
    report,
    review,
    serve,
    split,
    sweep,
    verify,
)
from budwood.errors import BudwoodError, Interrupted, UsageError
from budwood.files import escape_name

app = typer.Typer(
    name="budwood",
    help="A folder of labelled pictures in, an image classifier that can be trusted out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_COMMANDS = (
    *(demo, fit, sweep, rates, learning_curve, audit, clean, review, split, multiply),
    *(compare, ensemble, explain, drift, evaluate, predict, serve, export, report, verify, models, recipes),
)
for command in _COMMANDS:
    app.command(name=command.__name__.rpartition(".")[2].replace("_", "-"))(command.run)


# What Typer ends with after Ctrl-C: 128 and the signal's number.
_CTRL_C = 130
# The system's refusals that the user can do something about; any other OSError is a fault of ours.
_REFUSALS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO}
)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone: `budwood models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if code == Interrupted.exit_code:
        # CPython remembers an interrupt that came inside code made of text (a lazy import makes some), even when it was
        # caught, and `python -m budwood` would then end by the signal instead of the code.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code and prints what went wrong, in the user's words, to stderr."""
    try:
        app(arguments)
        return 0
    except SystemExit as end:  # Typer has shown help or a usage error, or a command raised typer.Exit
        if end.code == _CTRL_C:
            _say("stopped", "interrupted; nothing that was finished is lost")
            return Interrupted.exit_code
        return end.code if isinstance(end.code, int) else 0
    except BudwoodError as error:
        _say("stopped" if isinstance(error, Interrupted) else "error", str(error))
        return error.exit_code
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            place = f"{escape_name(os.fsdecode(error.filename))[:200]}: " if error.filename else ""
            _say("error", f"the system refused {place}{error.strerror}; free the disk, or give another path")
            return UsageError.exit_code
        traceback.print_exc()
        _say("internal error", "this is a fault of Budwood's, not yours; please report the lines above")
        return BudwoodError.exit_code


def _say(kind: str, text: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text.assemble((f"{kind}: ", "bold red" if kind != "stopped" else "bold yellow"), text))


if __name__ == "__main__":
    main()
