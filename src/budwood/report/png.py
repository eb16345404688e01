"""From a matplotlib figure to the bytes of a PNG, for documents and folders; pages take SVG (`svg.py`)."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def to_png(figure: Figure, *, scale: float = 2.0) -> bytes:
    """The figure on white, ``scale`` pixels for each CSS pixel; equal figures give equal bytes."""
    out = io.BytesIO()
    figure.set_canvas(FigureCanvasAgg(figure))
    figure.savefig(out, format="png", dpi=72 * scale, facecolor="white", metadata={"Software": None})
    return out.getvalue()
