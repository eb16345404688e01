"""Every example compiles, stays short, and two of them run from start to end."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.rglob("*.py"))
MAX_LINES = 60


def test_examples_were_found() -> None:
    assert len(EXAMPLES) >= 6
    assert [path.name[:2] for path in EXAMPLES] == [f"{number:02}" for number in range(1, len(EXAMPLES) + 1)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_compiles_is_short_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    compile(text, str(path), "exec")
    assert len(text.splitlines()) <= MAX_LINES
    assert f"Run it: python examples/{path.name}" in text


def test_example_02_answers_pictures_and_lists_the_damaged_one(capsys: pytest.CaptureFixture[str]) -> None:
    out = _run("02_predict", capsys)
    assert out.count(".jpg: ") == 2
    assert "damaged.jpg could not be read: not a picture" in out


def test_example_04_sees_a_leaking_split_refused(capsys: pytest.CaptureFixture[str]) -> None:
    out = _run("04_split", capsys)
    assert "'train': " in out
    assert "refused: " in out
    assert "belong together" in out


def _run(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out
