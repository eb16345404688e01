"""`budwood sweep`: the table at the end, and refusals in the command's own words."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from budwood.cli import sweep as command
from budwood.errors import UsageError
from budwood.files import read_json

TINY = ("--tiny", "--threads", "1")


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(command.run)
    return made


def test_it_ends_with_a_table_the_verdict_and_the_command_that_trains_the_winner(
    app: typer.Typer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "sweep"
    called = ["--recipe", "probe", "--over", "train.views=1,2", "--seeds", "0,1", "--out", str(out), *TINY]
    done = CliRunner().invoke(app, [str(photos), *called], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for words in (
        "train.views",
        "± seeds",
        "winner",
        "came first",
        "No test picture was used",
        "budwood fit",
        str(out),
    ):
        assert words in done.stdout
    assert read_json(out / "sweep.json")["seeds"] == [0, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seeds", "a,b"], "whole numbers"),
        (["--over", "train.views"], "key=value,value"),
        (["--recipe", "nosuch"], "no recipe is called"),
        ([], "nothing to sweep over"),
    ],
)
def test_what_cannot_be_carried_out_says_what_to_give(
    app: typer.Typer, photos: Path, options: list[str], words: str
) -> None:
    with pytest.raises(UsageError) as error:
        CliRunner().invoke(app, [str(photos), *options, *TINY], catch_exceptions=False)
    assert words in str(error.value)
