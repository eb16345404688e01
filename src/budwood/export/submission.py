"""``export --to submission``: what challenges ask for, a folder with ``model.py`` that answers arrays.

It runs on onnxruntime and NumPy alone, without Budwood or torch. The class in it is `submission_model.py`, copied as it
stands, so what is tested is what is handed in.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np

from budwood.errors import IntegrityError, OutputError
from budwood.export import submission_model
from budwood.export.answer_graph import NetworkGraph
from budwood.export.bundle import Bundle
from budwood.export.onnx import OnnxExport, export_onnx
from budwood.export.parity import NUM_PICTURES, random_images
from budwood.export.torch_graph import network_graph
from budwood.files import scratch_folder, write_text

_TRIED = 4  # pictures that the finished folder is asked for


def export_submission(
    bundle: Bundle, out: Path, *, network: NetworkGraph = network_graph, num_pictures: int = NUM_PICTURES
) -> OnnxExport:
    """Write ``model.py``, ``model.onnx``, ``classes.txt`` and ``requirements.txt`` into ``out``.

    ``Model(path).predict(X)`` takes ``N x H x W x 3`` arrays, 0-255, and gives class indices ``[N]``.

    Args:
        network, num_pictures: see `export_onnx`.

    Raises:
        OutputError: ``out`` holds something. UsageError, IntegrityError: as `export_onnx`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} already holds something; choose another --out")
    with scratch_folder() as scratch:
        made = export_onnx(bundle, scratch / "model.onnx", network=network, num_pictures=num_pictures)
        shutil.copyfile(submission_model.__file__, scratch / "model.py")
        write_text(scratch / "classes.txt", "".join(f"{name}\n" for name in bundle.classes))
        write_text(scratch / "requirements.txt", "numpy\nonnxruntime\n")
        refuse_other_answers(scratch, bundle)
        out.mkdir(parents=True, exist_ok=True)
        for file in sorted(scratch.iterdir()):
            shutil.copyfile(file, out / file.name)
    return OnnxExport(path=out, num_bytes=made.num_bytes, parity=made.parity)


def refuse_other_answers(folder: Path, bundle: Bundle) -> None:
    """Import ``folder``'s model.py and compare what it answers to a few pictures.

    Raises:
        IntegrityError: the indices are not the bundle's.
    """
    spec = importlib.util.spec_from_file_location("budwood_submission", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    height, width = 96, 120
    images = [np.resize(image, (height, width, 3)) for image in random_images(_TRIED, seed=1)]
    wanted = bundle.predict_images(images).argmax(axis=1)
    found = module.Model(str(folder)).predict(np.stack(images))
    if not np.array_equal(found, wanted):
        raise IntegrityError(f"the submission answers {found.tolist()}, the bundle {wanted.tolist()}: not written")
