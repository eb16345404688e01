"""`export`: a bundle written as something that runs elsewhere; which exporter makes it, and what is said of it."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from budwood.errors import UsageError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.export.bundle import Bundle, load
from budwood.measuring import given_pictures, run_pictures

if TYPE_CHECKING:
    from budwood.export.cost import LabelledFiles
    from budwood.export.precision import Precision

Target = Literal["onnx", "openvino", "submission", "hub"]
_ONNX = ("onnx", "onnxscript", "onnxruntime")
_NEEDED = {"onnx": _ONNX, "openvino": ("openvino", *_ONNX), "submission": _ONNX, "hub": ()}
_EXTRAS = {"openvino": "openvino,onnx"}


def export(
    bundle: str | Path | Bundle,
    to: Target,
    out: str | Path,
    *,
    precision: Precision = "fp32",
    measure: str | Path | None = None,
    listen: Listener = silent,
) -> str:
    """Write ``bundle`` to ``out`` in another form, checked against the bundle; returns sentences of what was written.

    Args:
        precision: of an ONNX file's networks. Below fp32 the cost in accuracy is measured and written down.
        measure: labelled pictures (any input of `scan`) to measure it on, unseen in training; without them the run's
            validation part is taken.

    Raises:
        UsageError: a package is missing, the network cannot be written in this form, or there is nothing to measure on.
        OutputError: ``out`` cannot be written. IntegrityError: what was made answers otherwise than the bundle.
        DataError: the pictures to measure on are gone, were changed, or are of classes that the bundle does not know.
    """
    if to not in EXPORTERS:
        raise UsageError(f"there is no export to {to}; known are {', '.join(EXPORTERS)}")
    if to != "onnx" and precision != "fp32":
        raise UsageError(f"--precision {precision} is for --to onnx; {to} is written in fp32")
    if precision == "fp32" and measure is not None:
        raise UsageError("--measure is for --precision fp16 or int8: fp32 answers as the bundle does")
    missing = [name for name in _NEEDED[to] if importlib.util.find_spec(name) is None]
    if missing:
        extra = _EXTRAS.get(to, "onnx")
        raise UsageError(f"exporting to {to} needs {', '.join(missing)}: pip install 'budwood[{extra}]'")
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    if precision == "fp32":
        return EXPORTERS[to](opened, Path(out))
    pictures = run_pictures(opened) if measure is None else given_pictures(measure, opened, listen=listen)
    return _reduced(opened, Path(out), precision=precision, pictures=pictures, listen=listen)


def _reduced(bundle: Bundle, out: Path, *, precision: Precision, pictures: LabelledFiles, listen: Listener) -> str:
    from budwood.export.reduced import cost_file, export_reduced

    listen(StepStarted(step="export", total=len(pictures.files)))
    start = time.perf_counter()
    made = export_reduced(
        bundle,
        out,
        precision=precision,
        pictures=pictures,
        advance=lambda count: listen(StepAdvanced(step="export", count=count)),
    )
    note = f"{precision}, measured on {len(pictures.files)} pictures"
    listen(StepFinished(step="export", seconds=time.perf_counter() - start, note=note))
    return (
        f"written to {out} ({made.num_bytes / 1e6:.1f} MB), and {cost_file(out).name} beside it; in fp32 its"
        f" {made.parity.words}\n{made.cost.words}"
    )


def _onnx(bundle: Bundle, out: Path) -> str:
    from budwood.export.onnx import export_onnx

    made = export_onnx(bundle, out)
    return f"written to {out} ({made.num_bytes / 1e6:.1f} MB); {made.parity.words}"


def _openvino(bundle: Bundle, out: Path) -> str:
    from budwood.export.openvino import export_openvino

    made = export_openvino(bundle, out)
    return f"written to {out} ({made.num_bytes / 1e6:.1f} MB); {made.parity.words}"


def _submission(bundle: Bundle, out: Path) -> str:
    from budwood.export.submission import export_submission

    made = export_submission(bundle, out)
    return f"written to {out} ({made.num_bytes / 1e6:.1f} MB); {made.parity.words}"


def _hub(bundle: Bundle, out: Path) -> str:
    from budwood.export.hub import export_hub

    export_hub(bundle, out)
    return f"written to {out}; upload it with: hf upload USER/NAME {out}"


EXPORTERS: dict[str, Callable[[Bundle, Path], str]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "submission": _submission,
    "hub": _hub,
}
