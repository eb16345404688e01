"""`export`: a bundle written as something that runs elsewhere; which exporter makes it, and what is said of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from budwood.errors import UsageError
from budwood.export.bundle import Bundle, load

Target = Literal["onnx", "submission", "hub"]
_ONNX = ("onnx", "onnxscript", "onnxruntime")


def export(bundle: str | Path | Bundle, to: Target, out: str | Path) -> str:
    """Write ``bundle`` to ``out`` in another form, checked against the bundle; returns a sentence of what was written.

    Raises:
        UsageError: a package is missing, or the network cannot be written in this form.
        OutputError: ``out`` cannot be written. IntegrityError: what was made answers otherwise than the bundle.
    """
    if to not in EXPORTERS:
        raise UsageError(f"there is no export to {to}; known are {', '.join(EXPORTERS)}")
    needed = {"onnx": _ONNX, "submission": _ONNX, "hub": ()}[to]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"exporting to {to} needs {', '.join(missing)}: pip install 'budwood[onnx]'")
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    return EXPORTERS[to](opened, Path(out))


def _onnx(bundle: Bundle, out: Path) -> str:
    from budwood.export.onnx import export_onnx

    made = export_onnx(bundle, out)
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
    "submission": _submission,
    "hub": _hub,
}
