"""The cache folder: bounded, oldest out first, movable."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from budwood import cache
from budwood.data.preprocess import Preprocess
from budwood.errors import OutputError, UsageError
from budwood.train.features import FeatureCache, FeatureSource


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUDWOOD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BUDWOOD_CACHE_GB", raising=False)
    return tmp_path / "cache"


def entry(root: Path, kind: str, name: str, *, age: int, size: int = 1000) -> Path:
    """An entry of ``size`` bytes that was last used ``age`` seconds ago."""
    folder = root / kind / name
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "data").write_bytes(b"x" * size)
    used = folder.stat().st_mtime - age
    os.utime(folder, (used, used))
    return folder


def test_least_recently_used_goes_first_whatever_its_kind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = entry(root, "pictures", "new", age=10)
    older = entry(root, "features", "older", age=500)
    oldest = entry(root, "pixels", "oldest", age=900)
    middle = entry(root, "pictures", "middle", age=100)
    monkeypatch.setenv("BUDWOOD_CACHE_GB", "2e-6")
    assert cache.prune() == 2000
    assert [folder.exists() for folder in (kept, middle, older, oldest)] == [True, True, False, False]


def test_nothing_goes_while_all_fits(root: Path) -> None:
    folder = entry(root, "pictures", "a", age=10)
    assert cache.prune() == 0
    assert folder.exists()


def test_size_zero_empties_the_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(root, "pictures", "a", age=10)
    monkeypatch.setenv("BUDWOOD_CACHE_GB", "0")
    assert cache.prune() == 1000
    assert list((root / "pictures").iterdir()) == []


def test_nothing_but_entries_is_removed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(root, "pictures", "a", age=10)
    (root / "mine.txt").write_text("mine")
    (root / "other").mkdir()
    monkeypatch.setenv("BUDWOOD_CACHE_GB", "0")
    cache.prune()
    assert (root / "mine.txt").read_text() == "mine"
    assert (root / "other").is_dir()


@pytest.mark.parametrize("use", ["pictures", "pixels"])
def test_use_makes_an_entry_recent(root: Path, monkeypatch: pytest.MonkeyPatch, use: str) -> None:
    def folder() -> Path:
        return cache.pictures_folder(root, side=64) if use == "pictures" else cache.pixels_file("k" * 64).parent

    used = folder()
    (used / "data").write_bytes(b"x" * 1000)
    os.utime(used, (0, 0))
    other = entry(root, "features", "other", age=100)
    folder()
    monkeypatch.setenv("BUDWOOD_CACHE_GB", "1e-6")
    cache.prune()
    assert used.exists()
    assert not other.exists()


def test_read_features_are_recent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FeatureSource(
        module=nn.Identity(), num_features=4, preprocess=Preprocess(size=32), identity="a", bf16=False
    )
    features = FeatureCache(cache.features_folder())
    features.save(source, 0, ["a"], np.zeros((1, 4), np.float16))
    folder = cache.features_folder() / source.key
    os.utime(folder, (0, 0))
    other = entry(root, "pixels", "other", age=100)
    assert features.load(source, 0).keys() == {"a"}
    monkeypatch.setenv("BUDWOOD_CACHE_GB", "1e-6")
    cache.prune()
    assert folder.exists()
    assert not other.exists()


@pytest.mark.parametrize("text", ["ten", "", "10 GB", pytest.param("nan"), pytest.param("-1")])
def test_size_that_is_no_number_is_a_usage_error(root: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    folder = entry(root, "pictures", "a", age=10)
    monkeypatch.setenv("BUDWOOD_CACHE_GB", text)
    with pytest.raises(UsageError, match="BUDWOOD_CACHE_GB"):
        cache.prune()
    assert folder.exists()


def test_cache_lies_where_the_variable_says(root: Path) -> None:
    assert cache.cache_folder() == root
    assert root.is_dir()
    assert cache.pixels_file("k" * 64).is_relative_to(root)


def test_places_differ_by_folder_side_and_key(root: Path, tmp_path: Path) -> None:
    places = [
        cache.pictures_folder(tmp_path / "a", side=64),
        cache.pictures_folder(tmp_path / "b", side=64),
        cache.pictures_folder(tmp_path / "a", side=65),
        cache.pixels_file("a" * 64).parent,
        cache.pixels_file("b" * 64).parent,
    ]
    assert len(set(places)) == 5
    assert cache.pictures_folder(tmp_path / "x" / ".." / "a", side=64) == places[0]


def test_cache_that_cannot_be_written_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BUDWOOD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="cannot write into"):
        cache.cache_folder()
