"""Fixtures for all tests: small drawn pictures, a cache of the test's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from budwood.herbarium import SPECIES, draw_herbarium


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep every test out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    patch = pytest.MonkeyPatch()
    patch.setenv("BUDWOOD_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tests share a busy machine, where more threads are slower; a test may change the number for itself."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three species, eight pictures each, 32 px, without faults."""
    folder = tmp_path_factory.mktemp("photos")
    return draw_herbarium(folder, seed=3, num_pictures=24, size=32, species=SPECIES[:3], faults=False).photos
