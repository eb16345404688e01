"""A run whose disk fills up at any moment says so, keeps what is good, and goes on to the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from budwood.errors import UsageError
from budwood.files import sha256_file

ROOM = 64 << 20
RECIPE = """
name = "full-disk"
seed = 3
[model]
backbone = "test_efficientnet"
pretrained = false
size = 32
[head]
penalties = [0.01, 0.1]
folds = 2
[train]
stages = [{ trains = "head" }, { trains = "all", epochs = 6 }]
batch_size = 4
views = 2
precision = "float32"
checkpoint_seconds = 0.01
patience = 100
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fit(photos: Path, disk: Path) -> subprocess.CompletedProcess[str]:
    """One process of the run, with its folder, its cache and its scratch on ``disk``."""
    recipe = disk.with_name("recipe.toml")
    recipe.write_text(RECIPE)
    command = [sys.executable, "-m", "budwood.cli.main", "fit", str(photos), "--recipe", str(recipe)]
    command += ["--out", str(disk / "run"), "--threads", "1", "--resume"]
    scratch = disk / "scratch"
    scratch.mkdir(exist_ok=True)
    places = {"BUDWOOD_CACHE": str(disk / "cache"), "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **places}, cwd=disk.parent)


def used(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def fill(disk: Path, *, leave: int) -> Path:
    """Take all room but ``leave`` bytes."""
    ballast = disk / "ballast"
    found = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(4096, found.f_bavail * found.f_frsize - leave))
    return ballast


def check_every_shortage(photos: Path, disk: Path, *, shortages: int) -> int:
    """Fill the disk to several levels in turn; returns how many runs were refused for want of room."""
    whole = fit(photos, disk)
    assert whole.returncode == 0, whole.stderr
    expected, needed = sha256_file(disk / "run/bundle/model.safetensors"), used(disk)
    refused = 0
    for number in range(shortages):
        subprocess.run(["rm", "-rf", *(str(disk / name) for name in ("run", "cache", "scratch"))], check=True)
        ballast = fill(disk, leave=needed * (number + 1) // (shortages + 1))
        first = fit(photos, disk)
        assert first.returncode in (0, UsageError.exit_code), first.stderr
        assert "Traceback" not in first.stderr
        if first.returncode:
            refused += 1
            assert "No space left" in first.stderr
        ballast.unlink()
        again = fit(photos, disk)
        assert again.returncode == 0, again.stderr
        assert sha256_file(disk / "run/bundle/model.safetensors") == expected
        assert [file for file in disk.rglob("*") if file.suffix in (".tmp", ".checkpoint", ".partial")] == []
    return refused


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_full_disk_is_told_and_loses_nothing(photos: Path, disk: Path) -> None:
    assert check_every_shortage(photos, disk, shortages=1) == 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_levels_of_a_full_disk_lose_nothing(photos: Path, disk: Path) -> None:
    assert check_every_shortage(photos, disk, shortages=20) > 10
