"""From a matplotlib figure to an inline ``<svg>`` that belongs to the page: its colours, its fonts, its ids.

What is drawn is the matter of `report/plots.py`. An artist's ``gid`` that begins with
`TIP` becomes a hover title.
"""

from __future__ import annotations

import io
import warnings
from contextlib import AbstractContextManager
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Each colour has a CSS variable of the page; the value here is what the SVG falls back to outside of it. The
# parts differ in lightness; right and wrong are close to Okabe and Ito's green and vermilion: both hold for
# colour-blind eyes.
INK, MUTED, GRID, PAPER = "#1d2a22", "#64716a", "#dde4da", "#fffffe"
LEAF, SAGE, AMBER, WRONG = "#21794b", "#a9cba4", "#d98b2b", "#cf5512"
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "line",
    PAPER: "on-accent",
    LEAF: "leaf",
    SAGE: "sage",
    AMBER: "amber",
    WRONG: "wrong",
}
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "figure.constrained_layout.w_pad": 0.08,  # inches
    "figure.dpi": 72,  # so that one point is one CSS pixel
    "font.size": 12,
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "budwood",
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$x$"
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.color": GRID,
    "ytick.labelcolor": MUTED,
}
TIP = "tip:"


def page_style() -> AbstractContextManager[None]:
    """Matplotlib's settings for as long as a plot is drawn."""
    return matplotlib.rc_context(_STYLE)


def plain(text: str) -> str:
    """Text that XML can hold: control characters and lone surrogates become a replacement mark."""
    return "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "\ufffd" for c in text)


def to_svg(figure: Figure, name: str, *, alt: str) -> str:
    """The figure as one ``<svg>`` element for an HTML page; ``name`` becomes the prefix of its ids.

    Args:
        alt: what the plot shows, for those who do not see it.
    """
    out = io.StringIO()
    with warnings.catch_warnings():
        # The browser has fonts for scripts that matplotlib has not; only the layout is a little off.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.set_canvas(FigureCanvasSVG(figure))
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(out.getvalue())
    _strip_namespaces(root)
    for child in [child for child in root if child.tag == "metadata" or child.find("style") is not None]:
        root.remove(child)
    _tidy_ids(root, prefix=name)
    for element in root.iter():
        if "style" in element.attrib:
            element.set("style", _page_style(element.attrib["style"]))
        if element.tag == "path":
            element.set("d", " ".join(element.get("d", "").split()))
        if element.tag != "text":
            element.text = element.text if element.tag == "title" else None
        element.tail = None
    _, _, width, height = root.attrib["viewBox"].split()
    # A plot may shrink by a quarter; on a still narrower screen it is scrolled, so that its text can be read.
    root.set("style", f"min-width: {0.75 * float(width):.0f}px")
    root.attrib.update({"class": "plot", "width": width, "height": height, "role": "img", "aria-label": plain(alt)})
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _strip_namespaces(root: ElementTree.Element) -> None:
    # HTML knows inline SVG by its tag names; without the declarations the page holds no address at all.
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}


def _tidy_ids(root: ElementTree.Element, *, prefix: str) -> None:
    """Turn ``tip:`` ids into hover titles, drop ids that nothing refers to, and prefix the others."""
    used = {value[1:] for e in root.iter() for key, value in e.attrib.items() if key == "href"}
    used |= {value[5:-1] for e in root.iter() for key, value in e.attrib.items() if key == "clip-path"}
    for element in root.iter():
        own = element.attrib.pop("id", "")
        if own.startswith(TIP):
            title = ElementTree.Element("title")
            title.text = own[len(TIP) :]
            element.insert(0, title)
        elif own in used:
            element.set("id", f"{prefix}-{own}")
        if "href" in element.attrib:
            element.set("href", f"#{prefix}-{element.attrib['href'][1:]}")
        if "clip-path" in element.attrib:
            element.set("clip-path", f"url(#{prefix}-{element.attrib['clip-path'][5:-1]})")


def _page_style(style: str) -> str:
    kept = [part.strip() for part in style.split(";") if not part.strip().startswith("font-family")]
    style = "; ".join(part for part in kept if part)
    for colour, variable in _VARIABLES.items():
        style = style.replace(colour, f"var(--{variable}, {colour})")
    return style
