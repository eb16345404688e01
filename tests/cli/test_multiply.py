"""`budwood multiply`: what it prints, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def test_counts_are_printed_and_the_folder_can_be_split_again(call: Callable, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "x4"
    outcome = call("multiply", photos, "--times", "4", "--out", out)
    outcome.refused(0, "of originals", "most of one", "copies hold nothing new", f"budwood fit {out}/copies.csv")
    assert (out / "copies.csv").is_file()
    pictures = [p for p in out.glob("*/*/*") if p.is_file()]
    assert len(pictures) > 60
    for again in (out, out / "copies.csv"):
        call("split", again, "--out", tmp_path / "split.json").refused(0, "written to")


def test_balanced_to_a_number(call: Callable, photos: Path, tmp_path: Path) -> None:
    outcome = call("multiply", photos, "--to", "90", "--balanced", "--flips", "none", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.text
    assert [len(list(folder.iterdir())) for folder in sorted((tmp_path / "out/train").iterdir())] == [30, 30, 30]


def test_a_wrong_call_is_refused_in_its_own_words(call: Callable, photos: Path, tmp_path: Path) -> None:
    call("multiply", photos, "--out", tmp_path / "a").refused(2, "--times 8 or --to 10000")
    call("multiply", photos, "--out", tmp_path / "a", "--times", 2, "--flips", "all").refused(2, "flips")
    call("multiply", photos, "--out", photos / "a", "--times", 2).refused(2, "never written to")
    call("multiply", photos / "no", "--out", tmp_path / "a", "--times", 2).refused(2, "does not exist")
    assert not (tmp_path / "a").exists()
