"""Fixtures for the commands: a call with its outcome, shared tiny runs, digests of folders."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from budwood.cli.main import run
from budwood.files import sha256_file

TINY = ("--tiny", "--threads", "1")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Outcome:
    """What a call of the command line gave."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that was printed, on one line."""
        return " ".join(_COLOUR.sub("", f"{self.out} {self.err}").split())

    def refused(self, code: int, *words: str) -> None:
        """The call ended with ``code``, said all ``words``, and showed no traceback."""
        assert self.code == code, self.text
        assert "Traceback" not in self.text
        for word in words:
            assert word in self.text, f"{word!r} is not in: {self.text}"


Call = Callable[..., Outcome]


def tree(folder: Path) -> dict[str, str]:
    """Path -> digest and time of each file below ``folder``."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {p.relative_to(folder).as_posix(): f"{sha256_file(p)} {p.stat().st_mtime_ns}" for p in files}


@pytest.fixture
def tree_of() -> Callable[[Path], dict[str, str]]:
    """The digests of a folder."""
    return tree


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Call:
    """Run the command line in this process, in an empty working folder: ``call("fit", photos, ...)``."""
    monkeypatch.setenv("COLUMNS", "400")  # messages on one line
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))

    def do(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        shown = capsys.readouterr()
        return Outcome(code, shown.out, shown.err)

    return do


@pytest.fixture(autouse=True)
def photos_stay(photos: Path) -> object:
    """No test may change the shared photos."""
    before = tree(photos)
    yield
    assert tree(photos) == before


@pytest.fixture(scope="session")
def transfer_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny transfer run; copy it before damaging it."""
    folder = tmp_path_factory.mktemp("runs") / "transfer"
    assert run(["fit", str(photos), "--recipe", "transfer", "--out", str(folder), *TINY]) == 0
    return folder


@pytest.fixture(scope="session")
def probe_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny probe run; copy it before damaging it."""
    folder = tmp_path_factory.mktemp("runs") / "probe"
    assert run(["fit", str(photos), "--recipe", "probe", "--out", str(folder), *TINY]) == 0
    return folder


@pytest.fixture
def copied_run(probe_run: Path, tmp_path: Path) -> Path:
    """A copy of the probe run that may be damaged."""
    return Path(shutil.copytree(probe_run, tmp_path / "copied"))


@pytest.fixture(scope="session")
def local_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of timm's smallest network in a local file: 'pretrained' without a network."""
    import timm
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = timm.create_model("test_efficientnet", pretrained=False)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(model.state_dict(), str(path))
    return path


@pytest.fixture(scope="session")
def steady(local_weights: Path) -> tuple[str, ...]:
    """Options of a short, fully fixed run: weights from a file, float32, one thread."""
    settings = {
        "model.backbone": "test_efficientnet",
        "model.weights": str(local_weights),
        "model.size": "32",
        "train.stages.1.epochs": "2",
        "train.precision": "float32",
        "train.batch_size": "8",
    }
    chosen = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ("--recipe", "transfer", "--threads", "1", *chosen)
