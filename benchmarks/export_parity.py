"""How far each way out is from the bundle on real pictures, in several file formats, and how fast each is in one run.

python benchmarks/export_parity.py RUN [--pictures 32] [--rounds 3] [--threads 1]

RUN is a run whose validation pictures are still where they were. Each is written anew in every format, with an EXIF
turn where the format keeps one. What is timed is the answer to files: reading, decoding, resizing, the network.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budwood import machine
from budwood.data.decode import decode_file
from budwood.export.bundle import Bundle, load
from budwood.export.onnx import export_onnx
from budwood.export.onnx_runtime import OnnxBundle
from budwood.export.submission import export_submission
from budwood.measuring import run_pictures

FORMATS = {"as it is": "", "jpg": "jpg", "png": "png", "webp": "webp", "tiff": "tiff", "bmp": "bmp", "gif": "gif"}
TURNED = ("jpg", "png", "webp", "tiff")
Way = Callable[[Sequence[Path]], NDArray[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    machine.probe(threads=options.threads)
    bundle = load(options.run)
    sources = run_pictures(bundle).files[: options.pictures]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = {name: written(sources, suffix, Path(folder)) for name, suffix in FORMATS.items()}
        ways = opened(bundle, Path(folder), threads=options.threads, stack=stack)
        report(bundle, files, ways, rounds=options.rounds)


def written(sources: Sequence[Path], suffix: str, folder: Path) -> list[Path]:
    """The pictures in another format, in the eight orientations in turn."""
    if not suffix:
        return list(sources)
    made = []
    for number, source in enumerate(sources):
        exif = Image.Exif()
        exif[0x0112] = number % 8 + 1
        made.append(folder / f"{number}.{suffix}")
        Image.fromarray(decode_file(source).image).save(made[-1], **({"exif": exif} if suffix in TURNED else {}))
    return made


def opened(bundle: Bundle, folder: Path, *, threads: int, stack: contextlib.ExitStack) -> dict[str, Way]:
    """Every way to ask for files; the first is what the others are compared with."""
    export_onnx(bundle, folder / "m.onnx", num_pictures=4)
    export_submission(bundle, folder / "submission", num_pictures=4)
    ways: dict[str, Way] = {"predict": lambda files: bundle.predict(files).probs}
    ways["onnx"] = of_arrays(OnnxBundle(folder / "m.onnx", threads=threads).predict_images)
    if importlib.util.find_spec("openvino"):
        from budwood.export.openvino import export_openvino
        from budwood.export.openvino_runtime import OpenvinoBundle

        export_openvino(bundle, folder / "openvino", num_pictures=4)
        ways["openvino"] = of_arrays(OpenvinoBundle(folder / "openvino", threads=threads).predict_images)
    spec = importlib.util.spec_from_file_location("submitted", folder / "submission" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.Model(str(folder / "submission"))
    ways["submission"] = lambda files: np.concatenate([model.predict_proba(decode_file(f).image[None]) for f in files])
    if importlib.util.find_spec("fastapi") and importlib.util.find_spec("httpx2"):
        ways["server, in this process"] = served(bundle, stack)
    return ways


def of_arrays(answer: Callable[[list[NDArray[np.uint8]]], NDArray[np.float32]]) -> Way:
    return lambda files: answer([decode_file(file).image for file in files])


def served(bundle: Bundle, stack: contextlib.ExitStack) -> Way:
    from fastapi.testclient import TestClient

    from budwood.serve.answer_app import answer_app
    from budwood.serve.answering import Answerer
    from budwood.serve.limits import Limits
    from budwood.serve.torch_engine import TorchEngine

    app = answer_app(Answerer(TorchEngine(bundle), limits=Limits()), title="parity")
    client = stack.enter_context(TestClient(app, base_url="http://127.0.0.1:8000"))

    def answer(files: Sequence[Path]) -> NDArray[Any]:
        rows = []
        for at in range(0, len(files), 8):
            sent = [("files", (file.name, file.read_bytes())) for file in files[at : at + 8]]
            rows += client.post("/predict", files=sent).json()["answers"]
        return np.array([[row["probabilities"][name] for name in bundle.classes] for row in rows])

    return answer


def report(bundle: Bundle, files: dict[str, list[Path]], ways: dict[str, Way], *, rounds: int) -> None:
    """Print one row a way: the largest difference in each format, and pictures a second over all rounds."""
    wanted = {name: ways["predict"](some) for name, some in files.items()}
    print(f"{len(files['as it is'])} pictures, {len(bundle.classes)} classes; largest difference of a probability")
    print(f"{'way':<26}" + "".join(f"{name:>10}" for name in files) + "   changed  pictures/s of files as they are")
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, answer in ways.items():
            start = perf_counter()
            answer(files["as it is"])
            speeds[name].append(len(files["as it is"]) / (perf_counter() - start))
    for name, answer in ways.items():
        found = {form: answer(some) for form, some in files.items()}
        cells = "".join(f"{np.abs(found[form] - wanted[form]).max():>10.1e}" for form in files)
        changed = sum(int((found[form].argmax(1) != wanted[form].argmax(1)).sum()) for form in files)
        low, middle, high = np.quantile(speeds[name], [0, 0.5, 1])
        print(f"{name:<26}{cells}{changed:>10}  {middle:.1f} ({low:.1f}-{high:.1f})")


if __name__ == "__main__":
    main()
