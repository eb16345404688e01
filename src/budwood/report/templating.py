"""What every page is made with: the template environment, its filters, the style sheets, pictures as data URIs.

Names of files and classes are hostile input: Jinja2 escapes every value, pictures are embedded only when their first
bytes say what they are, and `printable` takes out what would turn or break the text around a name.
"""

from __future__ import annotations

import base64
import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
}
# What UTF-8 cannot hold, control characters that HTML forbids, and marks that turn the text around a name.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    """One plot for a screen and, narrower, for a phone."""

    screen: Markup = field(default_factory=Markup)
    phone: Markup = field(default_factory=Markup)


def both(draw: Callable[..., str], shown: object) -> Wide:
    """A plot drawn at both widths by ``draw(shown, narrow=...)``."""
    return Wide(screen=Markup(draw(shown)), phone=Markup(draw(shown, narrow=True)))


@functools.cache
def environment(package: str = "budwood.report") -> Environment:
    """Jinja2 with autoescape over ``templates/`` of a package, and the filters that pages share; one for all pages."""
    made = Environment(
        autoescape=True,
        loader=PackageLoader(package, "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        percent=percent,
        hundred=of_hundred,
        duration=duration,
        data_uri=data_uri,
        words=lambda text: text.replace("_", " "),
        count=count,
        size=size,
        basename=lambda path: path.rpartition("/")[2] or path,
        file_and_folder=lambda path: "/".join(path.split("/")[-2:]),
        thousands=lambda number: f"{number:,}".replace(",", "\u202f"),
    )
    return made


def stylesheet(*names: str) -> Markup:
    """Style sheets of the report's templates, one after the other, to be placed in ``<style>``."""
    folder = resources.files("budwood.report").joinpath("templates")
    return Markup("".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names))


def printable(page: str) -> str:
    """``page`` with a replacement mark for control characters, lone surrogates and marks that turn text around."""
    return _UNPRINTABLE.sub("\ufffd", page)


def data_uri(image: bytes | None) -> str | None:
    """``image`` as a data URI; None where there is none, or none of a raster format we know."""
    if image is None:
        return None
    kind = next((kind for magic, kind in _MAGIC.items() if image.startswith(magic)), None)
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        kind = "image/webp"
    return kind and f"data:{kind};base64,{base64.b64encode(image).decode('ascii')}"


def percent(value: float, digits: int = 1) -> str:
    """``0.8917`` -> ``"89.2 %"``, with a space that does not break."""
    return f"{100 * value:.{digits}f}\u00a0%"


def of_hundred(value: float) -> str:
    """``0.8917`` -> ``"89"``; a value that is not 0 or 1 is never rounded to 0 or 100."""
    whole = round(100 * value)
    if whole == 100 and value < 1:
        return f"{math.floor(1000 * value) / 10:.1f}"
    if whole == 0 and value > 0:
        return f"{math.ceil(1000 * value) / 10:.1f}"
    return str(whole)


def duration(seconds: float) -> str:
    """``75.2`` -> ``"1 min 15 s"``."""
    if seconds < 10:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}\u00a0h {minutes}\u00a0min"
    return f"{minutes}\u00a0min {rest}\u00a0s" if minutes else f"{rest}\u00a0s"


def size(num_bytes: int) -> str:
    """``61_400_000`` -> ``"61 MB"``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            value = num_bytes / scale
            return f"{value:.0f}\u00a0{unit}" if value >= 10 else f"{value:.1f}\u00a0{unit}"
    return f"{num_bytes}\u00a0bytes"


def count(number: int, noun: str, plural: str = "") -> str:
    """``(1, "class", "classes")`` -> ``"1 class"``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
