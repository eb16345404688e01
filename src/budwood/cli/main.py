"""The ``budwood`` command: one file a command beside this one, and the exit codes.

0 done · 1 a check failed (``audit --strict``, ``verify``) · 2 usage or settings · 3 data not usable · 4 interrupted ·
5 internal error. Only the last prints a traceback. No torch is imported here.
"""

from __future__ import annotations

import sys
import traceback

import click
import typer

from budwood.cli import audit, demo, evaluate, fit, models, predict, recipes, report, split, verify
from budwood.errors import BudwoodError, Interrupted

app = typer.Typer(
    name="budwood",
    help="A folder of labelled pictures in, an image classifier that can be trusted out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (demo, fit, audit, split, evaluate, predict, report, verify, models, recipes):
    app.command(name=command.__name__.rpartition(".")[2])(command.run)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code and prints what went wrong, in the user's words, to stderr."""
    try:
        result = app(arguments, standalone_mode=False)
        return int(result) if isinstance(result, int) else 0
    except BudwoodError as error:
        _say("stopped" if isinstance(error, Interrupted) else "error", str(error))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("stopped", "interrupted; nothing that was finished is lost")
        return Interrupted.exit_code
    except BrokenPipeError:
        return 0  # the reader of our output has gone: `budwood models | head`
    except Exception:
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
