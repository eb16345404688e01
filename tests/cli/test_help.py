"""Help: every command and option has a text, and asking for it is quick because torch stays out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import typer.main

from budwood.cli.main import app

COMMANDS = typer.main.get_command(app).commands
OPTIONS = [(name, option) for name, command in sorted(COMMANDS.items()) for option in command.params]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str, call: Callable) -> None:
    outcome = call(name, "--help")
    assert outcome.code == 0
    assert COMMANDS[name].help.strip().split("\n")[0].rstrip(".") in outcome.text
    for option in COMMANDS[name].params:
        assert max(option.opts, key=len).lower() in outcome.text.lower()


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=[f"{n} {o.name}" for n, o in OPTIONS])
def test_every_option_has_a_help_text(name: str, option: object) -> None:
    assert len(option.help or "") > 8, f"{name}: {option.name}"


def test_without_arguments_the_commands_are_listed(call: Callable) -> None:
    bare, asked = call(), call("--help")
    assert asked.code == 0
    assert bare.text == asked.text
    assert bare.code in (0, 2)  # Typer's choice
    assert all(name in bare.text for name in COMMANDS)


def test_every_command_is_a_file_of_the_cli() -> None:
    assert {f"budwood.cli.{name.replace('-', '_')}" for name in COMMANDS} <= set(sys.modules)


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from budwood.cli.main import run; assert run(['fit', '--help']) == 0; "
        "print('HEAVY', [m for m in ('torch', 'numpy', 'pydantic.main', 'PIL', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    heavy = done.stdout.rsplit("HEAVY ", 1)[1]
    assert "torch" not in heavy
    assert "timm" not in heavy


def test_models_and_recipes_list_what_is_packaged(call: Callable) -> None:
    call("models").refused(0, "lite0", "lite1", "lite2", "no network needed")
    call("models", "test_efficient*").refused(0, "test_efficientnet", "test_efficientnet_ln")
    call("models", "test_efficientnet").refused(0, "trains = 1 or more", "parameters")
    call("recipes").refused(0, "probe", "transfer", "demo")
    call("recipes", "probe").refused(0, 'name = "probe"', "[train]")


BUFFERED = "-c \"from budwood.cli import main; main.run = lambda _: print('an answer') or 0; main.main()\""


@pytest.mark.parametrize(
    "program",
    ["-m budwood.cli.main recipes probe", "-m budwood.cli.main models", BUFFERED],
    ids=["echo", "rich", "plain"],
)
def test_a_reader_that_goes_away_is_no_error(program: str) -> None:
    line = f"(sleep 0.2; PYTHONUNBUFFERED= {sys.executable} {program}) | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
