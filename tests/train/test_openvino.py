"""OpenVINO carries out frozen networks where it is installed: with torch's answers, or torch does it and says so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budwood.data.preprocess import Preprocess
from budwood.events import Warned
from budwood.models.backbones import load_backbone
from budwood.train import frozen_network, openvino
from budwood.train.features import FeatureCache, FeatureSource, frozen_features
from budwood.train.frozen_network import default_backend, open_network

PREPROCESS = Preprocess(size=32)
needs_openvino = pytest.mark.skipif(not openvino.is_installed(), reason="the extra budwood[openvino] is not installed")


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """Each test compiles anew."""
    frozen_network._opened.cache_clear()
    yield
    frozen_network._opened.cache_clear()


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return load_backbone("test_efficientnet", pretrained=False).module.eval()


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)


def source(module: nn.Module, **more: Any) -> FeatureSource:
    settings = {"identity": "net 1", "bf16": False, "backend": "openvino", **more}
    return FeatureSource(module=module, num_features=256, preprocess=PREPROCESS, **settings)


class Standing:
    """Stands for a network of OpenVINO's: torch's answers times ``factor``."""

    def __init__(self, network: nn.Module, factor: float) -> None:
        self.network, self.factor, self.seen = network, factor, 0

    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        self.seen += len(images)
        with torch.no_grad():
            return self.network(images).numpy() * np.float32(self.factor)


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[Standing]]:
    """Replace OpenVINO by something that is ``factor`` times torch; returns what gets compiled."""

    def replace(factor: float) -> list[Standing]:
        compiled: list[Standing] = []

        def compile_network(network: nn.Module, **settings: Any) -> Standing:
            compiled.append(Standing(network, factor))
            return compiled[-1]

        monkeypatch.setattr(frozen_network, "compile_network", compile_network)
        return compiled

    return replace


def features(asked: FeatureSource, pixels: NDArray[np.uint8], heard: list[str] | None = None, **more: Any) -> Any:
    def listen(event: object) -> None:
        if isinstance(event, Warned) and heard is not None:
            heard.append(event.text)

    digests = [str(i) for i in range(len(pixels))]
    return frozen_features(asked, pixels, digests, views=(0, 1), listen=listen, **more)


def test_equal_answers_are_trusted_and_the_network_is_compiled_once(
    standing: Callable[[float], list[Standing]], module: nn.Module, pixels: NDArray[np.uint8]
) -> None:
    compiled, heard = standing(1.001), []
    first = features(source(module), pixels, heard)
    features(source(module), pixels)
    assert len(compiled) == 1
    assert compiled[0].seen == 8 + 2 * 2 * 11  # eight pictures were compared, once
    wanted = features(source(module, backend="torch"), pixels)
    np.testing.assert_allclose(first, wanted * 1.001, rtol=2e-3, atol=1e-3)
    assert not heard


@pytest.mark.parametrize("factor", [1.1, float("nan")])
def test_other_answers_are_refused_with_a_warning_and_torch_does_it(
    factor: float,
    standing: Callable[[float], list[Standing]],
    module: nn.Module,
    pixels: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    standing(factor)
    heard: list[str] = []
    asked = source(module)
    found = features(asked, pixels, heard, cache=FeatureCache(tmp_path))
    np.testing.assert_array_equal(found, features(source(module, backend="torch"), pixels))
    (text,) = heard
    assert "computed by torch instead of OpenVINO: its features differ from torch's by" in text
    assert not (tmp_path / asked.key).exists()  # what torch computed is kept as torch's
    assert (tmp_path / source(module, backend="torch").key).is_dir()


def test_a_network_that_cannot_be_converted_is_told_and_torch_does_it(
    monkeypatch: pytest.MonkeyPatch, module: nn.Module, pixels: NDArray[np.uint8]
) -> None:
    def refuse(network: nn.Module, **settings: Any) -> None:
        raise openvino.ConversionError("No conversion rule found for operations: aten.strange")

    monkeypatch.setattr(frozen_network, "compile_network", refuse)
    heard: list[str] = []
    assert np.isfinite(features(source(module), pixels, heard)).all()
    assert "instead of OpenVINO: No conversion rule found for operations: aten.strange" in heard[0]


def test_features_of_two_backends_are_kept_apart_and_torch_keeps_its_place(module: nn.Module) -> None:
    by_torch, by_other = source(module, backend="torch"), source(module, backend="openvino")
    assert by_torch.key != by_other.key
    assert by_other.key != source(module, bf16=True).key


def test_openvino_is_taken_where_it_is_installed_and_the_cpu_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    for installed, cuda, wanted in ((True, False, "openvino"), (True, True, "torch"), (False, False, "torch")):
        monkeypatch.setattr(frozen_network, "is_installed", lambda installed=installed: installed)
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        assert default_backend() == wanted


@needs_openvino
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
def test_openvino_gives_the_features_of_torch_without_the_network(
    bf16: bool, module: nn.Module, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"the network was asked for: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    heard: list[str] = []
    found = features(source(module, bf16=bf16), pixels, heard)
    wanted = features(source(module, backend="torch"), pixels)
    assert not heard
    difference = np.linalg.norm(found - wanted, axis=2) / np.linalg.norm(wanted, axis=2)
    assert difference.max() < (0.05 if bf16 else 2e-3)


@needs_openvino
def test_importing_openvino_tells_nobody(tmp_path: Path) -> None:
    package = tmp_path / "openvino_telemetry"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('it would have told')", encoding="utf-8")
    code = "from budwood.train.openvino import _library as get; print(get().__version__); import openvino_telemetry"
    paths = os.pathsep.join((str(tmp_path), *sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.stdout
    assert done.stderr.strip() == "it would have told"  # by the last import only, which is not hindered


@needs_openvino
def test_openvino_takes_batches_of_any_size(module: nn.Module, pixels: NDArray[np.uint8]) -> None:
    network = open_network(module, preprocess=PREPROCESS, bf16=False, backend="openvino", pictures=pixels)
    whole = network(pixels)
    for size in (1, 3):
        np.testing.assert_allclose(network(pixels[:size]), whole[:size], rtol=1e-4, atol=1e-5)


@needs_openvino
def test_a_step_that_openvino_does_not_know_is_named() -> None:
    class Strange(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.linalg.eigvals(images[:, 0]).abs()

    with pytest.raises(openvino.ConversionError, match=r"^No conversion rule .* aten\.linalg_eig"):
        openvino.compile_network(Strange(), size=4, bf16=False, threads=1)
