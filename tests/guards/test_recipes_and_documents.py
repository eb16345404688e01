"""Packaged recipes run; the README's and the documents' commands, options, settings and Python blocks exist."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer.main

import budwood
from budwood.cli.main import app, run
from budwood.config import known_keys
from budwood.data.split import SplitSpec
from budwood.recipe import Recipe, load_recipe, parse_recipe
from budwood.recipes import own_recipes, packaged_recipes

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("CONTRIBUTING.md"))]
COMMANDS = typer.main.get_command(app).commands
BLOCK = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def blocks(kind: str) -> list[tuple[str, str]]:
    """(where, text) of all fenced blocks of a language."""
    found = []
    for file in DOCUMENTS:
        for match in BLOCK.finditer(file.read_text(encoding="utf-8")):
            if match[1] in kind.split():
                found.append(
                    (f"{file.relative_to(ROOT)}:{file.read_text()[: match.start()].count(chr(10)) + 1}", match[2])
                )
    return found


def command_lines() -> list[tuple[str, list[str]]]:
    """(where, words) of every line of a shell block that calls budwood."""
    lines = []
    for where, text in blocks("bash sh shell console"):
        for line in text.replace("\\\n", " ").splitlines():
            words = re.split(r"\s[|;>]|&&", line.strip().removeprefix("$ "))[0]
            if words.startswith("budwood"):
                lines.append((where, shlex.split(words, comments=True)))
    return lines


LINES = command_lines()
PYTHON = blocks("python py")


def test_documents_were_found() -> None:
    assert (ROOT / "README.md").is_file()
    assert sorted(own_recipes()) == ["demo", "probe", "transfer"]
    assert set(own_recipes()) < set(packaged_recipes())


@pytest.mark.parametrize(("where", "words"), LINES, ids=[f"{w} {' '.join(x)[:60]}" for w, x in LINES])
def test_every_documented_command_and_option_exists(where: str, words: list[str]) -> None:
    if len(words) == 1 or words[1] == "--help":
        return
    assert words[1] in COMMANDS, f"{where}: there is no command {words[1]}"
    known = {name for option in COMMANDS[words[1]].params for name in option.opts} | {"--help"}
    for word in words[2:]:
        if word.startswith("-") and not re.fullmatch(r"-[\d.]+", word):
            assert word.split("=")[0] in known, f"{where}: budwood {words[1]} has no {word}"
    for setting in (after for word, after in pairwise(words) if word == "--set"):
        key = re.sub(r"\.\d+(?=\.|$)", ".*", setting.split("=")[0])
        settings = known_keys(Recipe) | (known_keys(SplitSpec) if words[1] == "split" else set())
        assert key in settings, f"{where}: there is no setting {key}"
    if "--recipe" in words and not words[words.index("--recipe") + 1].endswith(".toml"):
        name = words[words.index("--recipe") + 1]
        assert name in packaged_recipes()
        own_sweep = name not in own_recipes() and load_recipe(name).sweep.over
        assert not own_sweep or words[1] == "sweep", f"{where}: {name} is run by budwood sweep"


@pytest.mark.parametrize(("where", "text"), PYTHON, ids=[w for w, _ in PYTHON])
def test_every_documented_python_block_compiles_and_names_what_exists(where: str, text: str) -> None:
    compile(text, where, "exec")
    for name in re.findall(r"\bbudwood\.([A-Za-z_]\w*)", text):
        inside = (ROOT / "src" / "budwood" / name).is_dir() or (ROOT / "src" / "budwood" / f"{name}.py").is_file()
        assert name in budwood.__all__ or name == "__version__" or inside, f"{where}: budwood.{name}"


@pytest.mark.parametrize("name", sorted(packaged_recipes()))
def test_every_packaged_recipe_parses_and_comes_back_from_its_own_text(name: str) -> None:
    text = packaged_recipes()[name]
    assert text.startswith("#"), "a recipe opens with its command and what it suits"
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert parse_recipe(recipe.to_toml(), source=name) == recipe


# The others are run by tests/cli/conftest.py.
@pytest.mark.parametrize("name", sorted(own_recipes().keys() - {"probe", "transfer"}))
def test_every_recipe_of_our_own_runs(name: str, photos: Path, tmp_path: Path) -> None:
    options = ("--tiny", "--threads", "1", "--out", str(tmp_path / "run"))
    assert run(["fit", str(photos), "--recipe", name, *options]) == 0
    assert (tmp_path / "run" / "report.html").is_file()


def test_each_packaged_recipe_is_what_its_name_says() -> None:
    probe, transfer, demo = (load_recipe(name) for name in ("probe", "transfer", "demo"))
    assert [stage.trains for stage in probe.train.stages] == ["head"]
    assert [stage.trains for stage in transfer.train.stages] == ["head", "all"]
    assert demo.train.num_epochs < transfer.train.num_epochs
    assert {recipe.model.backbone for recipe in (probe, transfer, demo)} <= {"lite0", "lite1", "lite2"}
    assert all(recipe.model.pretrained for recipe in (probe, transfer, demo))
